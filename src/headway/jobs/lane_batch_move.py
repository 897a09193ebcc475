"""Rows of a parcel on their way on: into the parcel that is being filled, or elsewhere; each under the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from headway.errors import BadReply
from headway.jobs.lane_batch_calls import BatchCalls
from headway.jobs.lane_batch_fill import Filling
from headway.jobs.lane_batch_results import Results
from headway.jobs.parcel import AGAIN, OWED, REPAIR, SETTLED, Kept, Parcel
from headway.jobs.purse import Purse
from headway.policy.parcels import MORE_TRIES_MAX

__all__ = ["Moving"]

_OPEN: Final = (OWED, AGAIN, REPAIR)
_ROWS_AT_ONCE: Final = 64
"""Rows moved before other tasks get their turn."""
_LOOK_S: Final = 1.0


class Moving:
    """Moves rows.

    Args:
        calls: Knows whether rows are wanted back.
        results: Settles rows.
        filling: Where rows go.
        purse: Sets money aside.
        lost_again: See `BatchLaneSettings`.
    """

    def __init__(self, calls: BatchCalls, results: Results, filling: Filling, purse: Purse, *, lost_again: bool):
        self.changed = asyncio.Event()
        """Something happened that the next parcel may have waited for."""
        self.refused = ""
        """Why nothing is put into batches any more, as a sentence; "" while it is."""
        self.busy = 0
        """How many parcels' rows are moved just now: what is half filled is not closed meanwhile."""
        self._calls = calls
        self._results = results
        self._filling = filling
        self._purse = purse
        self._lost_again = lost_again
        self._loop = asyncio.get_running_loop()

    async def again(self, parcel: Parcel, owed: list[int], *, lost: bool) -> None:
        """What an ended batch has left to do goes into another parcel, or elsewhere.

        Args:
            parcel: Whose.
            owed: Rows that were here before the results were read; others may be in them.
            lost: Whether answers may be lost that were paid for.
        """

        async def again(n: int) -> None:
            mark = parcel.marks[n]
            kept, was_lost = parcel.read(n), lost and mark == OWED
            kept = msgspec.structs.replace(kept, tries=kept.tries + (mark != REPAIR), lost=kept.lost + was_lost)
            if was_lost and not self._lost_again:
                gone = "the provider has lost the answer to this row, which may have been paid for"
                error = BadReply(f"{gone}; --retry-failed sends it again", maybe_billed=True)
                self._results.fail(parcel, n, error)
            elif kept.tries > MORE_TRIES_MAX:
                self._results.finish(parcel, n, None, kept)
            else:
                await self._move(parcel, n, kept)

        owed, holding, share = [n for n in owed if parcel.marks[n] == OWED], parcel.places(AGAIN), 1.0 / len(parcel)
        needing = parcel.places(REPAIR)
        for n in owed if lost else ():
            self._purse.lost(parcel.read(n).item, share * parcel.dollars)
        (needing if lost else holding).extend(owed)
        # Nobody waits for money that he, or one behind him, holds: what is done with is let go of before, those go
        # first who need none, and of an attached parcel only what is left in it is owed any more.
        left = len(parcel) - parcel.marks.count(SETTLED) - len(holding) - len(needing)
        self._purse.owe(parcel.part, min(self._purse.owed(parcel.part), left * share * parcel.dollars))
        await self._each(parcel, [*sorted(holding), *sorted(needing)], again)

    async def all(self, parcel: Parcel) -> None:
        """All that is open goes into other parcels, for it was in no batch."""
        self._purse.owe(parcel.part, 0.0)
        await self._each(parcel, parcel.places(*_OPEN), lambda n: self._move(parcel, n, parcel.read(n)))

    async def back(self, parcel: Parcel) -> None:
        """All that is open goes elsewhere."""

        async def back(n: int) -> None:
            self._results.finish(parcel, n, None)

        await self._each(parcel, parcel.places(*_OPEN), back)

    async def _move(self, parcel: Parcel, n: int, kept: Kept) -> None:
        """A row goes into the parcel that is being filled; elsewhere where that is not to be."""
        ask = self._results.ask(parcel, n, kept)
        broke = "" if self._closed else await self._afford(kept, ask.body)
        if broke:
            self._results.broke(parcel, n, broke)
            return
        placed = None if self._closed else self._filling.add(kept, ask, self._loop.time())
        if placed is None:
            self._results.finish(parcel, n, None, kept)
            return
        for other in parcel.waiting(n):
            placed[0].join(placed[1], other)
        parcel.settle(n)
        self.changed.set()

    async def _afford(self, kept: Kept, body: bytes) -> str:
        """Wait until what the row asks next is set aside; why that can never be, as a sentence."""
        while not self._closed:
            told = self._purse.again(kept.item, body)
            if told is True:
                break
            if told is not False:
                return told
            self.busy -= 1  # what was moved so far may go out: that is what room comes of
            self.changed.set()
            try:
                await asyncio.sleep(_LOOK_S)
            finally:
                self.busy += 1
        return ""

    async def _each(self, parcel: Parcel, places: Iterable[int], act: Callable[[int], Awaitable[None]]) -> None:
        """Do that for each of the rows; nothing half filled is closed meanwhile."""
        self.busy += 1
        try:
            for count, n in enumerate(places, 1):
                if parcel.marks[n] in _OPEN:
                    await act(n)
                if not count % _ROWS_AT_ONCE:
                    await asyncio.sleep(0)
        finally:
            self.busy -= 1
        self.changed.set()

    @property
    def _closed(self) -> bool:
        return self._calls.back.is_set() or bool(self.refused)
