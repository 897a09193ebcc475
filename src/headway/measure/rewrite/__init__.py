"""Changes to a task, tried one at a time and kept only where `compare` finds them no worse."""
