"""The batch lane: rows through the provider's batch API, at half the price, within a day.

Rows are collected into parcels on the disk; a parcel becomes a batch when there is room in the provider's queue, and
is asked about until it has ended. However it ends, its answers are taken, and what has none goes into a later parcel
or back to where it came from. What is done is in the journal before and after: a run that is started again goes on
with the batches that are at the provider.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from headway.engine.row import RowAsk
from headway.errors import HeadwayError
from headway.jobs.attach import Attached
from headway.jobs.lane_batch_calls import BatchCalls
from headway.jobs.lane_batch_fill import Filling
from headway.jobs.lane_batch_move import Moving
from headway.jobs.lane_batch_results import Results
from headway.jobs.lane_batch_run import Shipping
from headway.jobs.lane_batch_types import BatchEngine, JournalLike
from headway.jobs.lanes import BatchView, Item, LaneView, Settle
from headway.jobs.parcel import Kept
from headway.jobs.purse import Purse
from headway.policy.parcels import ParcelBounds, Quota
from headway.types import Tags, TaskLike
from headway.wire.batch import BatchFormat

__all__ = ["BatchLane", "BatchLaneSettings"]


class BatchLaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch lane works. Bounds are at most the provider's, each at least 1."""

    rows_max: int = 50_000
    """Rows of a batch."""
    bytes_max: int = 32 * 1024 * 1024
    """Bytes of a batch."""
    tokens_max: int | None = None
    """Estimated prompt tokens of a batch; None: learned when the provider's queue is full."""
    batches_max: int = 64
    """Batches at the provider at once."""
    waiting_max: int = 8
    """Parcels that wait to be sent; then `put` waits."""
    reuse: bool = True
    """Whether cached answers are used, and equal rows share one."""
    lost_again: bool = True
    """Whether rows whose answers were lost at the provider, and may be paid for, are sent again; else they fail."""
    keep: bool = True
    """Whether batches are left running when the lane is closed; else, for want of a journal that lasts, cancelled."""


class BatchLane:
    """Implements `Lane`. Once it is recalled it takes nothing more; but see `owes`.

    Args:
        engine: Makes the calls, and books the answers.
        task: What is asked about each row.
        format_: The provider's batch API, see `wire.batch_format_for`.
        settle: See `lanes.Settle`. What it was told must be in the journal when it returns.
        journal: Where batches are noted; what earlier runs left open in it is gone on with.
        done: Whether the journal holds that key's row.
        told: Whether it holds any line of it, a failed one included; None: as `done`.
        purse: Sets money aside for what is asked again; None: there is no budget.
        folder: Where rows are spooled; None: the system's place for temporary files.
        wall_s: Calendar time, Unix seconds.
        tags: For the call log.
        settings: See `BatchLaneSettings`.
    """

    name = "batch"

    def __init__(
        self,
        engine: BatchEngine,
        task: TaskLike,
        format_: BatchFormat,
        *,
        settle: Settle,
        journal: JournalLike,
        done: Callable[[str], bool] = lambda _: False,
        told: Callable[[str], bool] | None = None,
        purse: Purse | None = None,
        folder: Path | None = None,
        wall_s: Callable[[], float] = time.time,
        tags: Tags | None = None,
        settings: BatchLaneSettings | None = None,
    ) -> None:
        self._settings = settings = settings or BatchLaneSettings()
        self._engine = engine
        self._task = task
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._calls = BatchCalls(engine, format_, journal, wall_s, tags)
        self._purse = purse = purse or Purse(None, task, lambda _: None)
        self._results = Results(engine, task, self._calls, settle, purse, tags)
        self._attached = Attached(journal.events, done, told or done, folder)
        self._calls.known |= self._attached.known
        self._parcels = dict(self._attached.parcels)
        bounds = ParcelBounds(
            rows_max=min(settings.rows_max, format_.rows_max),
            bytes_max=min(settings.bytes_max, format_.bytes_max),
            tokens_max=settings.tokens_max,
        )
        self._filling = Filling(
            task,
            format_,
            self._calls.name,
            bounds,
            self._parcels,
            following=self._attached.following,
            folder=folder,
            reuse=settings.reuse,
            worst=purse.worst_dollars,
        )
        self._shipping = Shipping(
            self._calls,
            self._results,
            self._filling,
            self._attached,
            self._parcels,
            moving=Moving(self._calls, self._results, self._filling, purse, lost_again=settings.lost_again),
            purse=purse,
            quota=Quota(parcels_max=settings.batches_max),
            start=self._start,
            wall_s=wall_s,
        )
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the lane is closed; failed when it broke: the job cannot go on, the batches stay where they are."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._shipping.resume()
        self._start(self._shipping.feed())

    @property
    def refused(self) -> str:
        """Why rows are not put into batches any more, as a sentence; "" while they are."""
        return self._shipping.refused

    @property
    def deadline_at_s(self) -> float | None:
        """Loop time by which all should be done; batches are asked about more often as it comes nearer."""
        return self._calls.deadline_at_s

    @deadline_at_s.setter
    def deadline_at_s(self, value: float | None) -> None:
        self._calls.deadline_at_s = value

    def owes(self, key: str) -> bool:
        """Whether that row is at the provider since an earlier run: it belongs into this lane, and no other."""
        return self._attached.find(key) is not None

    async def put(self, item: Item) -> None:
        """See `Lane`.

        Raises:
            HeadwayError: The lane broke or is closed, or the disk is full.
        """
        shipping = self._shipping
        if len(self._filling.line) >= self._settings.waiting_max and not self.owes(item.key):
            await self._room()
        self._check()
        kept = Kept(item.row, item.key, dict(item.data), self._loop.time(), took=item.took)
        shipping.put_at_s, shipping.flushed = kept.put_at_s, False
        found = self._attached.find(item.key)
        if found is not None:
            parcel, n = found
            parcel.bring(n, self._attached.took(kept, parcel, n))
            parcel.came.set()
            return
        kept = self._attached.took(kept)
        if self._turned_away(kept):
            return
        ask = RowAsk(self._task, item.data)
        if not ask.settled and self._settings.reuse:
            reply = await self._engine.cached(self._task.path, ask.body, key_body=ask.key_body)
            if reply is not None and reply.trace is not None:
                ask.answered(reply.status, await reply.read(), reply.trace)
            self._check()
        if ask.settled:
            self._settle(kept.item, self._results.result(ask, kept))
        elif not self._turned_away(kept):  # it may be by now
            self._place(kept, ask)

    def _turned_away(self, kept: Kept) -> bool:
        """Whether the row is given back at once."""
        away = self._calls.back.is_set() or bool(self._shipping.refused)
        if away:
            self._settle(kept.item, None)
        return away

    def flush(self) -> None:
        """See `Lane`."""
        self._shipping.flushed = True
        self._shipping.changed.set()

    async def recall(self) -> None:
        """See `Lane`: batches are cancelled; what was answered until then is kept, the other rows go elsewhere.

        Raises:
            HeadwayError: The lane broke meanwhile.
        """
        self._calls.back.set()
        self._shipping.changed.set()
        for parcel in self._filling.take_all():
            await self._shipping.give_back(parcel)
        await self._shipping.tell()
        async with self._shipping.moved:
            await self._shipping.moved.wait_for(lambda: self.closed.done() or not self._held())
        self._check()

    def view(self) -> LaneView:
        """Live figures."""
        waiting, now_s = self._filling.rows, self._loop.time()
        batches = [
            BatchView(
                id=parcel.batch_id, state=parcel.state, rows=len(parcel), age_s=max(0.0, now_s - parcel.sent_at_s)
            )
            for parcel in self._parcels.values()
            if parcel.batch_id
        ]
        return LaneView(
            name=self.name,
            waiting=waiting,
            out=self._held() - waiting,
            batches=tuple(batches),
            trouble=self._calls.trouble,
        )

    async def aclose(self) -> None:
        """See `Lane`: batches stay at the provider; a run of the same journal goes on with them. Idempotent.

        Without `BatchLaneSettings.keep` they are cancelled, as far as that can be said in a few seconds.
        """
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._settings.keep:
            await self._calls.cancel_all([parcel.batch_id for parcel in self._parcels.values() if parcel.batch_id])
        for parcel in self._parcels.values():
            parcel.close()
        self._parcels.clear()
        if not self.closed.done():
            self.closed.set_result(None)
        elif not self.closed.cancelled():
            self.closed.exception()  # it was there to be seen

    def _place(self, kept: Kept, ask: RowAsk) -> None:
        joined = self._filling.join(kept)
        if joined is not None:
            self._purse.release(kept.item)  # it costs nothing
            joined.came.set()
            return
        placed = self._filling.add(kept, ask, self._loop.time())
        if placed is None:
            self._settle(kept.item, None)  # larger than any batch
        elif not placed[1] or self._filling.line:
            self._shipping.changed.set()  # one is full, or a new one is to be closed in time

    async def _room(self) -> None:
        async with self._shipping.moved:
            await self._shipping.moved.wait_for(
                lambda: (
                    self.closed.done()
                    or self._calls.back.is_set()
                    or bool(self._shipping.refused)
                    or len(self._filling.line) < self._settings.waiting_max
                )
            )

    def _held(self) -> int:
        return sum(parcel.held for parcel in self._parcels.values())

    def _check(self) -> None:
        if self.closed.done():
            self.closed.result()
            raise HeadwayError("this batch lane is closed; open a new one")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.closed.done():
            self.closed.set_exception(error)
            self._start(self._shipping.tell())
