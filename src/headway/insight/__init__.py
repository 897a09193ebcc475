"""What the call log tells, worked out while it is being written: the figures behind the dashboard."""
