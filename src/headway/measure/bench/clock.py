"""Being on time: asyncio's own timers ring up to a millisecond late, which is half the gap of 500 arrivals a second."""

from __future__ import annotations

import asyncio
import gc
import select
import selectors
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import sqrt

from headway.measure.bench.run_types import Lag
from headway.policy.quantile import QuantileSketch

__all__ = ["Late", "LoopLag", "precise_loop", "unburdened", "until", "variation"]

TIMER_S = 0.001
"""How late asyncio's timers are where the system waits in whole milliseconds (epoll), at most."""
TICK_S = 0.01
"""How often the loop is asked how late it is."""


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers ring within some 0.1 ms: ``asyncio.Runner(loop_factory=precise_loop)``.

    Where the system has epoll, the wait is made by `select` on epoll's own descriptor, which counts in microseconds.
    Elsewhere (kqueue) asyncio is as exact by itself.
    """
    epoll = getattr(selectors, "EpollSelector", None)
    if epoll is None:
        return asyncio.SelectorEventLoop()
    loop = asyncio.SelectorEventLoop(_precise(epoll)())
    loop.__dict__["is_precise"] = True
    return loop


def _precise(base: type[selectors.BaseSelector]) -> type[selectors.BaseSelector]:
    class Precise(base):  # type: ignore[misc, valid-type]  # epoll's is not there on every system
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)  # type: ignore[no-any-return]

    return Precise


async def until(due_at_s: float) -> None:
    """Sleep until the loop's clock says so, exactly: the last millisecond of a coarse timer is waited out awake.

    Others run meanwhile. A moment that has passed is no wait at all, not even a turn of the loop.
    """
    loop = asyncio.get_running_loop()
    left_s = due_at_s - loop.time()
    if getattr(loop, "is_precise", False) or getattr(loop, "is_virtual", False):
        if left_s > 0:
            await asyncio.sleep(left_s)
        return
    if left_s > TIMER_S:
        await asyncio.sleep(left_s - TIMER_S)
    while loop.time() < due_at_s:  # noqa: ASYNC110 - there is no event to wait for: it is time itself
        await asyncio.sleep(0)


@contextmanager
def unburdened() -> Iterator[None]:
    """Meanwhile the collector of garbage leaves alone what is there already: going through it takes some 40 ms."""
    if getattr(asyncio.get_running_loop(), "is_virtual", False) or gc.get_freeze_count() > 0:
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Late:
    """How late things were, in bounded memory."""

    __slots__ = ("_sketch",)

    def __init__(self) -> None:
        self._sketch = QuantileSketch()

    def add(self, late_s: float) -> None:
        """One was so late; early counts as on time."""
        self._sketch.add(max(0.0, late_s))

    def lag(self) -> Lag:
        """Summed up."""
        sketch = self._sketch
        p50_s, p99_s = sketch.quantile(0.5) or 0.0, sketch.quantile(0.99) or 0.0
        return Lag(p50_s=p50_s, p99_s=p99_s, max_s=sketch.max or 0.0, count=sketch.count)


class LoopLag:
    """Asks the loop every 10 ms how late it is, from `start` to `stop`. Under virtual time it never is: not asked."""

    __slots__ = ("_due_at_s", "_handle", "_loop", "late")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._due_at_s = 0.0
        self.late = Late()

    def start(self) -> None:
        """Begin."""
        if not getattr(self._loop, "is_virtual", False):
            self._next()

    def stop(self) -> None:
        """End. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()

    def _next(self) -> None:
        self._due_at_s = self._loop.time() + TICK_S
        self._handle = self._loop.call_at(self._due_at_s, self._tick)

    def _tick(self) -> None:
        self.late.add(self._loop.time() - self._due_at_s)
        self._next()


def variation(moments_s: array[float]) -> float | None:
    """The coefficient of variation of the gaps between ascending moments; None below three, or without any gap."""
    gaps = [b - a for a, b in pairwise(moments_s)]
    if len(gaps) < 2:
        return None
    mean = sum(gaps) / len(gaps)
    if mean <= 0:
        return None
    return sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)) / mean
