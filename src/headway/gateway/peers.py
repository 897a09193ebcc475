"""What all workers of a gateway know together: a page or a scrape reaches one of them and is told of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

__all__ = ["Alone", "Peers", "WorkerState"]


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's live figures."""

    pid: int
    state: dict[str, Any]
    """`Engine.snapshot()`; empty for one that has ended, or does not answer, whose last counts are in `meters`."""
    meters: bytes = b""
    """What its metrics stand at, as `headway.telemetry` packs them."""
    late: bool = False
    """They may be older than what somebody was told before."""


class Peers(Protocol):
    """Asks the workers."""

    async def states(self) -> list[WorkerState]:
        """Of every worker that answered in time, this one's among them. Never empty, never raises."""


class Alone:
    """The one process there is.

    Args:
        own: Its state.
    """

    def __init__(self, own: Callable[[], WorkerState]) -> None:
        self._own = own

    async def states(self) -> list[WorkerState]:
        return [self._own()]
