"""Reports: what a run came to, in the terminal and as one HTML page."""
