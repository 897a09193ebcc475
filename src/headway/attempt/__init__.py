"""Attempt layers, in order: route -> budget -> pace -> upstream. Each is one try's business and ends with it."""
