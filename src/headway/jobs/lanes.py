"""What a lane is: one way to have rows answered, such as at once, at the flex tier, or in a provider's batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from headway.types import Result

__all__ = ["BatchView", "Item", "Lane", "LaneView", "Settle", "Took"]


class Took(msgspec.Struct, frozen=True, array_like=True):
    """What was paid for answers to a row that were of no use, before it went another way."""

    dollars: float | None = 0.0
    """None: unknown."""
    attempts: int = 0
    repairs: int = 0
    """How many of the questions were repairs."""

    def __add__(self, other: Took) -> Took:
        unknown = self.dollars is None or other.dollars is None
        dollars = None if unknown else (self.dollars or 0.0) + (other.dollars or 0.0)
        return Took(dollars, self.attempts + other.attempts, self.repairs + other.repairs)

    def added(self, result: Result) -> Result:
        """The row's result, with this."""
        took = self + Took(result.dollars, result.attempts, result.repairs)
        return msgspec.structs.replace(result, dollars=took.dollars, attempts=took.attempts, repairs=took.repairs)


class Item(msgspec.Struct, frozen=True):
    """A row that is owed."""

    row: int
    """Its index in the input."""
    key: str
    """Its request and constraint, and which of its equals it is: ``<32 hex digits>#<n>``."""
    data: Mapping[str, Any]
    took: Took | None = None
    """What was paid for it elsewhere; whoever settles it adds that."""


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """One batch at the provider, for those who watch."""

    id: str
    state: str
    rows: int
    age_s: float


class LaneView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a lane stands. Rows."""

    name: str
    waiting: int = 0
    """Taken, not sent yet."""
    out: int = 0
    """Sent, not answered yet."""
    batches: tuple[BatchView, ...] = ()
    trouble: str = ""
    """What the lane is waiting out, such as a provider that is down; "" while all is well."""


Settle: TypeAlias = Callable[[Item, Result | None], None]
"""Told once for each item what became of it; None: it is not done here, and has to go another way."""


class Lane(Protocol):
    """One way to have rows answered. Every item that was put in is settled once, unless the lane is closed before."""

    name: str

    @property
    def closed(self) -> asyncio.Future[None]:
        """Done when the lane is closed; failed when it broke, and the job cannot go on."""
        ...

    @property
    def refused(self) -> str:
        """Why the lane takes nothing any more, as a sentence; "" while it does. What it holds is given back."""
        ...

    def owes(self, key: str) -> bool:
        """Whether that row is in this lane since an earlier run, and belongs into no other."""
        ...

    async def put(self, item: Item) -> None:
        """Take a row; waits while there is no room."""
        ...

    def flush(self) -> None:
        """No more rows for now: what was collected goes out."""
        ...

    async def recall(self) -> None:
        """Give back what is not done yet, keeping what was answered and paid for."""
        ...

    def view(self) -> LaneView:
        """Live figures."""
        ...

    async def aclose(self) -> None:
        """Stop; what is not settled stays owed."""
        ...
