"""The engine: caller, flight and attempt layers put together, one line a layer; many rows; a twin for sync programs."""

from headway.engine.background import SyncEngine
from headway.engine.core import Engine

__all__ = ["Engine", "SyncEngine"]
