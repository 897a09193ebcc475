"""Parcels on their way: each is handed in when its turn has come, watched, and what is left of it sent on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final

import msgspec

from headway.jobs.attach import Attached, find_batch
from headway.jobs.lane_batch_calls import BROKEN_MAX, BatchCalls
from headway.jobs.lane_batch_fill import Filling
from headway.jobs.lane_batch_move import Moving
from headway.jobs.lane_batch_results import Results
from headway.jobs.parcel import OWED, Parcel
from headway.jobs.parcel_events import Ended, Refused
from headway.jobs.purse import Purse
from headway.policy.parcels import Quota, close_after_s, patience_s

__all__ = ["Shipping"]

_HOPELESS_MAX: Final = 3
"""So many parcels in a row that are refused for good: there is no batch API here."""
_STUCK_S: Final = 60.0
"""Nobody has asked for rows of an ended batch of an earlier run for so long: perhaps nobody will."""
_LOOK_S: Final = 1.0
_SOON_S: Final = 1e-3


class Shipping:
    """Sends parcels and follows them to their end.

    Args:
        calls: Makes the calls.
        results: Reads what came of a batch.
        filling: Collects rows.
        attached: What earlier runs left open.
        parcels: All that are alive, by number.
        moving: Moves rows.
        purse: Knows what parcels of earlier runs may cost.
        quota: When the next one may go.
        start: Runs work beside this.
        wall_s: Calendar time.
    """

    def __init__(
        self,
        calls: BatchCalls,
        results: Results,
        filling: Filling,
        attached: Attached,
        parcels: dict[int, Parcel],
        *,
        moving: Moving,
        purse: Purse,
        quota: Quota,
        start: Callable[[Coroutine[Any, Any, None]], None],
        wall_s: Callable[[], float],
    ) -> None:
        self.changed = moving.changed
        self.moved = asyncio.Condition()
        """Told when parcels were sent, and rows settled."""
        self.flushed = False
        """Whether no more rows come for now."""
        self.put_at_s = asyncio.get_running_loop().time()
        """When the last row came, loop time."""
        self._calls = calls
        self._results = results
        self._filling = filling
        self._attached = attached
        self._parcels = parcels
        self._moving = moving
        self._purse = purse
        self._quota = quota
        self._start = start
        self._wall_s = wall_s
        self._loop = asyncio.get_running_loop()
        self._hopeless = 0
        self._given = filling.bounds

    @property
    def refused(self) -> str:
        """Why nothing is put into batches any more, as a sentence; "" while it is."""
        return self._moving.refused

    def resume(self) -> None:
        """Go on with what earlier runs left open."""
        self._attached.age(self._loop.time(), self._wall_s())
        for parcel in list(self._parcels.values()):
            self._purse.owe(parcel.part, parcel.dollars)
            if parcel.done:
                self._end(parcel)
            else:
                self._start(self._live(parcel))

    async def feed(self) -> None:
        """Send parcels in their turn. Does not end."""
        filling = self._filling
        while True:
            self.changed.clear()
            now_s = self._loop.time()
            if not self._moving.busy and (self.flushed or not filling.closes_in_s(now_s)):
                filling.close(early=not self.flushed)
            wait_s = self._quota.wait_s(now_s) if filling.line else inf
            if filling.line and (self.refused or self._calls.back.is_set()):
                await self.give_back(filling.line.popleft())
                continue
            if not wait_s:
                await self._send(filling.line.popleft())
                continue
            wait_s = min(wait_s, filling.closes_in_s(now_s)) if not self._moving.busy else wait_s
            try:
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(None if wait_s == inf else wait_s):
                    await self.changed.wait()
            except TimeoutError:
                pass

    async def tell(self) -> None:
        """Wake those who wait for parcels to move on."""
        async with self.moved:
            self.moved.notify_all()

    async def give_back(self, parcel: Parcel) -> None:
        """Its rows go elsewhere, and it is forgotten."""
        await self._moving.back(parcel)
        await self._forget(parcel)

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, parcel: Parcel) -> None:
        sent = await self._calls.hand_in(parcel)
        if sent in ("out", "unsure"):
            self._hopeless = 0
            if sent == "out":
                self._count(parcel)
            self._start(self._live(parcel))
        elif sent == "full":
            self._queue_full(parcel, None)
        elif sent == "large" and len(parcel) > 1:
            self._given = msgspec.structs.replace(self._given, bytes_max=max(1, parcel.bytes // 2))
            await self._split(parcel)
        else:
            self._hopeless += sent != "stopped"
            if self._hopeless >= _HOPELESS_MAX or self._calls.absent:
                self._moving.refused = self._calls.reason
            await self.give_back(parcel)
        await self.tell()

    def _queue_full(self, parcel: Parcel, tokens_max: int | None) -> None:
        """It goes back to the front of the line; cut in two when it would never fit."""
        created, parcel.counted, parcel.state = parcel.counted, False, "waiting"
        cut = self._quota.refused(parcel.tokens, self._loop.time(), created=created, tokens_max=tokens_max)
        if cut and len(parcel) > 1:
            self._start(self._split(parcel))
        else:
            self._filling.line.appendleft(parcel)
        self.changed.set()

    async def _split(self, parcel: Parcel) -> None:
        """Its rows go into smaller ones."""
        self._bound()
        await self._moving.all(parcel)
        self._filling.close(early=False)
        await self._forget(parcel)

    def _bound(self) -> None:
        given, learned = self._given, self._quota.tokens_max
        if learned is not None:
            given = msgspec.structs.replace(given, tokens_max=min(learned, given.tokens_max or learned))
        self._filling.bounds = given

    def _count(self, parcel: Parcel) -> None:
        if not parcel.counted:
            parcel.counted = True
            self._quota.sent()

    # -- at the provider -------------------------------------------------------------------------------------------

    async def _live(self, parcel: Parcel) -> None:
        """A parcel that is, or may be, at the provider: until nothing more is to be had from it."""
        if not parcel.batch_id:
            found = await find_batch(self._calls, parcel, self._wall_s())
            if found is None:
                await self._not_there(parcel)
                return
            self._calls.created(parcel, found)
        self._count(parcel)
        view = await self._calls.watch(parcel, self._alive)
        if view is not None and view.over_queue and parcel.keys is None and not self._calls.back.is_set():
            self._calls.note(Refused(part=parcel.part, batch_id=parcel.batch_id))
            parcel.refused.add(parcel.batch_id)
            parcel.batch_id = ""
            self._queue_full(parcel, view.queue_tokens_max)
            return
        parcel.counted = False
        self._quota.ended()
        self.changed.set()
        passes = 0
        while not parcel.done:
            await self._quiet(parcel, passes)
            passes += 1
            owed = parcel.places(OWED)  # a row that comes while the file is read may have been passed over
            lost = view is None or await self._results.take(parcel, view)
            await self._moving.again(parcel, owed, lost=lost)
            await self.tell()
        await self._forget(parcel)

    def _alive(self) -> None:
        self._quota.taken()
        self._bound()
        self.changed.set()

    async def _not_there(self, parcel: Parcel) -> None:
        """No batch was made of it."""
        if self._calls.back.is_set():
            await self.give_back(parcel)
        elif parcel.keys is not None or not (parcel.has_lines or parcel.file_id):
            await self._moving.all(parcel)
            await self._forget(parcel)
        elif parcel.unsure >= BROKEN_MAX - 1:
            self._moving.refused = f"the batch API made no batch in {BROKEN_MAX} tries: {self._calls.unsure}"
            await self.give_back(parcel)
        else:
            parcel.unsure += 1
            await self._calls.pause(patience_s(parcel.unsure))
            self._filling.line.appendleft(parcel)
            parcel.state = "waiting"
            self.changed.set()
        await self.tell()

    async def _quiet(self, parcel: Parcel, passes: int) -> None:
        """Wait until the rows of an attached parcel are here: all of them, or as many as come for now."""
        while not parcel.whole:
            if not parcel.held:
                await self._comes(parcel)
            left_s = self.put_at_s + close_after_s(passes) - self._loop.time()
            if self.flushed or left_s <= _SOON_S:
                return
            await asyncio.sleep(min(left_s, _LOOK_S))

    async def _comes(self, parcel: Parcel) -> None:
        """Wait for a row of an attached parcel. What may be left in it is no money to wait for meanwhile."""
        parcel.came.clear()
        try:
            async with asyncio.timeout(_STUCK_S):
                await parcel.came.wait()
        except TimeoutError:
            self._purse.owe(parcel.part, self._purse.owed(parcel.part), stuck=True)
            await parcel.came.wait()
            self._purse.owe(parcel.part, self._purse.owed(parcel.part))

    async def _forget(self, parcel: Parcel) -> None:
        """Nothing more is to be had from it."""
        self._end(parcel)
        await self.tell()
        await self._calls.forget(parcel)

    def _end(self, parcel: Parcel) -> None:
        if parcel.at_wall_s and not parcel.may_run:
            self._calls.note(Ended(part=parcel.part))
        self._attached.drop(parcel)
        self._purse.owe(parcel.part, 0.0)
        self._parcels.pop(parcel.part, None)
        parcel.close()
