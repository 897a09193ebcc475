"""Measuring models, settings and endpoints under load, through the transport that the application uses."""
