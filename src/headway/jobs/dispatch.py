"""Rows to lanes: each row goes where the policy says, comes back when its lane cannot do it, and is settled once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from math import inf

from headway.jobs.lane_online import OnlineLane
from headway.jobs.lanes import Item, Lane, LaneView
from headway.jobs.purse import Purse
from headway.policy.lanes import LaneName, LanePolicy, Outlook
from headway.types import Result

__all__ = ["Dispatcher", "Lanes"]

TICK_S = 1.0
"""How often it is looked whether rows have to be called back."""
PROBES_MAX_S = 60.0
_MEASURED_ROWS = 16
"""So many answers make a rate."""


class Lanes:
    """The lanes of a run, made when the first row needs them.

    Args:
        makers: How each is made, by name; "online" is always there.
    """

    def __init__(self, makers: Mapping[LaneName, Callable[[], Lane]]) -> None:
        self._makers = makers
        self.open: dict[LaneName, Lane] = {}

    @property
    def offers(self) -> frozenset[LaneName]:
        """The names of all."""
        return frozenset(self._makers)

    def get(self, name: LaneName) -> Lane:
        """The lane of that name."""
        lane = self.open.get(name)
        if lane is None:
            lane = self.open[name] = self._makers[name]()
        return lane

    def views(self) -> Sequence[LaneView]:
        """Live figures of those that are open."""
        return [lane.view() for lane in self.open.values()]

    async def aclose(self) -> None:
        """Close all."""
        await asyncio.gather(*[lane.aclose() for lane in self.open.values()])


class Dispatcher:
    """One run's rows on their way. `settled` is what lanes are made with; `run` returns when every row is.

    Args:
        policy: Which lane a row takes.
        take: Told every row's result, once.
        purse: Keeps the budget for rows in batches; None where there is none.
        rate: Rows a second that the provider's limits allow online, where that is known.
        rows_left: Rows of the input that were not read yet, where that is known.
    """

    def __init__(
        self,
        policy: LanePolicy,
        take: Callable[[Item, Result], None],
        *,
        purse: Purse | None,
        rate: Callable[[], float | None],
        rows_left: Callable[[], int | None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._policy = policy
        self._take = take
        self._purse = purse
        self._rate = rate
        self._rows_left = rows_left
        self._out: dict[LaneName, int] = {"online": 0, "flex": 0, "batch": 0}
        self._returned: deque[Item] = deque()
        self._changed = asyncio.Event()
        self._read = False
        self._stopped = False
        self._probed = False
        self._probes_back: asyncio.Event | None = None
        self._allowed: float | None = None
        self._allowed_at_s = -inf
        self._recalling: asyncio.Task[None] | None = None
        self._started_s = self._loop.time()
        self._busy_s = 0.0
        self._busy_since_s: float | None = None
        self.reason = ""
        """Why it stopped by itself, as a sentence."""
        self.moved = 0
        """Rows that went from one lane to another."""

    @property
    def out(self) -> int:
        """Rows in the lanes."""
        return sum(self._out.values())

    def settled(self, lane: LaneName) -> Callable[[Item, Result | None], None]:
        """What a lane of that name tells about its items."""

        def settle(item: Item, result: Result | None) -> None:
            self._out[lane] -= 1
            if lane == "batch" and self._purse is not None:
                self._purse.release(item)
            if lane != "batch" and not self._out[lane] and self._busy_since_s is not None:
                self._busy_s += self._loop.time() - self._busy_since_s
                self._busy_since_s = None
            if result is None:
                self._returned.append(item)
                self.moved += 1
            else:
                self._take(item, result if item.took is None else item.took.added(result))
            if self._probes_back is not None and not self._out["online"]:
                self._probes_back.set()
            if result is None or (not self._out[lane] and not self.out):
                self._changed.set()

        return settle

    def stop(self, lanes: Lanes, reason: str = "") -> None:
        """Place nothing more, and wait for nothing: what is in the lanes stays owed."""
        self._stopped = True
        self.reason = reason
        for lane in lanes.open.values():
            if isinstance(lane, OnlineLane):
                lane.closed.cancel()
        self._changed.set()

    async def run(self, items: AsyncGenerator[Item, None], lanes: Lanes) -> None:
        """Place every item, and whatever comes back, until all are settled.

        Raises:
            HeadwayError: A lane broke, or the input did.
        """
        workers: set[asyncio.Future[None]] = {
            asyncio.create_task(self._feed(items, lanes)),
            asyncio.create_task(self._watch(lanes)),
        }
        try:
            while True:
                watched = workers | {lane.closed for lane in lanes.open.values()}
                if self._recalling is not None and self._recalling.done():
                    self._recalling.result()
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED, timeout=TICK_S)
                if self._stopped:
                    return
                for task in done:
                    task.result()
                workers -= done
                if self._read and not self.out and not self._returned:
                    return
        finally:
            if self._recalling is not None:
                workers.add(self._recalling)
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _feed(self, items: AsyncGenerator[Item, None], lanes: Lanes) -> None:
        async with aclosing(items):
            async for item in items:
                await self._place(item, lanes)
        self._read = True
        self._flush(lanes)
        self._changed.set()

    async def _watch(self, lanes: Lanes) -> None:
        """What comes back goes out again; rows are called back in time. Ends when all is settled."""
        while not (self._stopped or (self._read and not self.out and not self._returned)):
            try:
                # `wait_for` would swallow a cancellation that comes with the event (Python 3.11)
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            self._refusals(lanes)
            while self._returned and not self._stopped:
                await self._place(self._returned.popleft(), lanes, again=True)
            if self._read:
                self._flush(lanes)
            batch = lanes.open.get("batch")
            if batch is not None and self._policy.recall(self._outlook(lanes)):
                # cancelling takes minutes, and rows that come back meanwhile go on at once
                self._recalling = asyncio.create_task(batch.recall())

    def _refusals(self, lanes: Lanes) -> None:
        """A lane that takes nothing any more: another one does, unless this one was asked for by name."""
        for name, lane in lanes.open.items():
            if lane.refused and self._policy.asked == name:
                self.stop(lanes, f"{lane.refused.rstrip('.')}; --lane online or --lane auto goes on without")
            elif lane.refused:
                self._policy.without(name)

    async def _place(self, item: Item, lanes: Lanes, *, again: bool = False) -> None:
        name: LaneName
        batch = lanes.open.get("batch")
        owed = not again and batch is not None and batch.owes(item.key)
        if again:
            name = "online"
        elif owed:
            name = "batch"
        else:
            name = self._policy.fixed or self._policy.choose(self._outlook(lanes))
            if name != "online" and self._policy.asked == "auto" and not self._probed:
                await self._probes()
                name = self._policy.choose(self._outlook(lanes))
        if name == "batch" and not owed and not await self._affordable(item):
            return
        self._out[name] += 1
        if name != "batch" and self._busy_since_s is None:
            self._busy_since_s = self._loop.time()
        await lanes.get(name).put(item)

    async def _probes(self) -> None:
        """Let the first rows come back: they tell what a row costs; and money for later ones must not hold them up."""
        self._probed = True
        if self._out["online"]:
            self._probes_back = asyncio.Event()
            try:
                async with asyncio.timeout(PROBES_MAX_S):
                    await self._probes_back.wait()
            except TimeoutError:
                pass

    async def _affordable(self, item: Item) -> bool:
        """Whether the row's worst case is set aside, perhaps after a wait; if it can never be, the row is settled."""
        while self._purse is not None and not self._stopped:
            told = self._purse.reserve(item)
            if told is True:
                return True
            if told is not False:
                self._take(item, told)
                return False
            await asyncio.sleep(TICK_S)  # others may take less than was set aside for them
        return not self._stopped

    def _flush(self, lanes: Lanes) -> None:
        more = bool(self._out["batch"] or self._out["flex"] or self._returned)
        for name, lane in lanes.open.items():
            if name != "online" or not more:  # its round ends when nothing can come back any more
                lane.flush()

    def _outlook(self, lanes: Lanes) -> Outlook:
        now_s = self._loop.time()
        if now_s - self._allowed_at_s >= TICK_S:
            self._allowed, self._allowed_at_s = self._rate(), now_s
        busy_s = self._busy_s + (now_s - self._busy_since_s if self._busy_since_s is not None else 0.0)
        online = [lane for lane in lanes.open.values() if isinstance(lane, OnlineLane)]
        answered, dollars = sum(lane.answered for lane in online), sum(lane.dollars for lane in online)
        measured = answered / busy_s if answered >= _MEASURED_ROWS and busy_s > 0 else None
        rates = [rate for rate in (measured, self._allowed) if rate]  # a burst is faster than what is allowed for long
        return Outlook(
            now_s=now_s - self._started_s,
            rows_left=self._rows_left(),
            online_out=self._out["online"] + self._out["flex"],
            batch_out=self._out["batch"],
            answered=answered,
            online_per_s=min(rates, default=None),
            row_dollars=dollars / answered if answered else None,
            dollars_left=self._purse.dollars_left if self._purse is not None else inf,
        )
