"""Reading prompts for what costs and does nothing: rules, what each would save, and the fixes that are safe."""
