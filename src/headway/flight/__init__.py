"""Flights: one per answer being fetched, shared by its readers."""

from headway.flight.cursor import Cursor
from headway.flight.flight import Flight, FlightSettings

__all__ = ["Cursor", "Flight", "FlightSettings"]
