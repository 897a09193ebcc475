"""Flights: one per answer being fetched, shared by its readers."""

from headway.flight.cursor import Cursor
from headway.flight.deadlines import Deadlines
from headway.flight.flight import Flight
from headway.flight.lone import Lone
from headway.flight.settings import FlightSettings

__all__ = ["Cursor", "Deadlines", "Flight", "FlightSettings", "Lone"]
