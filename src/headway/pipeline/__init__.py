"""Pipelines: steps that start when what they need is there, stream into each other, and explain where the time went."""
