"""A key's requests and tokens a minute: who has to wait waits in a queue, and is refused only where waiting is no use.

A process takes requests and tokens out of the key's buckets (`ledger.py`) for the next moments, and serves its queue
from what it took, strictly in order: a large request is not overtaken by small ones of its own class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from headway.errors import Overloaded
from headway.gateway.keys.ledger import Ask, Given
from headway.policy.queue import FairQueue
from headway.types import Call, Trace

__all__ = ["QUEUE_MAX", "KeyOverloaded", "KeyRate", "KeyTooLate"]

QUEUE_MAX = 10_000


class KeyOverloaded(Overloaded):
    """A key's limits leave no room in time."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """When there would be room for this request, in seconds from now."""


class KeyTooLate(KeyOverloaded):
    """The request's turn would come after its deadline; others may still be served in time."""

    code = "deadline"


class _Waiter:
    __slots__ = ("deadline_at_s", "future", "taken", "tokens")

    def __init__(self, tokens: float, deadline_at_s: float, future: asyncio.Future[None]) -> None:
        self.tokens = tokens
        self.deadline_at_s = deadline_at_s
        self.future = future
        self.taken = False


class KeyRate:
    """One key's limits, in one process.

    Args:
        limits: Requests and tokens a minute; infinite for none.
        name: The key's, for messages.
        ask: Called when there should be an exchange soon.
        queue_max: How many may wait.
    """

    def __init__(
        self, limits: tuple[float, float], name: str, ask: Callable[[], None], *, queue_max: int = QUEUE_MAX
    ) -> None:
        self.limits = limits
        self._name = name
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self.queue: FairQueue[_Waiter] = FairQueue(queue_max)
        self._tokens_queued = 0.0
        self._pool = [0.0, 0.0]
        self._levels = limits
        self._levels_at_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._active = False

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.limits != (inf, inf)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to be given back, and nobody waits."""
        return not self.queue and not self._active and self._pool == [0.0, 0.0]

    def change(self, limits: tuple[float, float]) -> None:
        """Other limits, from now on."""
        if limits != self.limits:
            self.limits = limits
            self._pump()

    async def take(self, call: Call, tokens: float) -> None:
        """Be counted, perhaps after a wait.

        Raises:
            KeyOverloaded: Too many wait.
            KeyTooLate: The request's turn would come after its deadline.
        """
        self._active = True
        if not self.queue and self._fits(tokens):
            self._charge(tokens)
            return
        loop, trace = self._loop, call.trace
        now_s = loop.time()
        wait_s = self._backlog_s(tokens, now_s)
        if now_s + wait_s > call.deadline_at_s:
            raise self._late(wait_s)
        waiter = _Waiter(tokens, call.deadline_at_s, loop.create_future())
        if not self.queue.push(waiter, priority=call.priority, deadline_at_s=call.deadline_at_s):
            raise KeyOverloaded(
                f"{len(self.queue)} requests already wait for the limits of the key {self._name!r}; send fewer at once",
                self._backlog_s(tokens, now_s),
            )
        self._tokens_queued += tokens
        since_s: float | None = now_s

        def booked(trace: Trace) -> None:
            nonlocal since_s
            if since_s is not None:
                trace.wait_s += loop.time() - since_s
                since_s = None

        trace.on_end(booked)  # a call may be ended (by its deadline) while it still waits here
        trace.hurry = lambda higher, sooner_s: self.queue.move(waiter, priority=higher, deadline_at_s=sooner_s)
        if self._timer is None:
            self._ask()
        try:
            await waiter.future
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            booked(trace)
            trace.hurry = None

    def settle(self, tokens: float, trace: Trace) -> None:
        """A try has ended: what it was counted for too much comes back. What was never sent counts for nothing."""
        if trace.sent_at_s is None:
            self._give_back(1.0, tokens)
        elif trace.usage is not None and not trace.maybe_billed:
            self._give_back(0.0, tokens - trace.usage.input_tokens - trace.usage.output_tokens)

    def fill(self, ask: Ask) -> bool:
        """Put down what an exchange should bring; False where there is nothing to be done."""
        head = self.queue.peek()
        if not self.limited or self._timer is not None:
            return False
        if head is not None:
            requests, tokens = self._pool
            ask.limits = self.limits
            ask.next = max(0.0, 1.0 - requests), max(0.0, min(head.tokens, self.limits[1]) - tokens)
            ask.line = max(0.0, len(self.queue) - requests), max(0.0, self._tokens_queued - tokens)
            return True
        if self._active or self._pool == [0.0, 0.0]:
            self._active = False
            return False
        ask.limits = self.limits
        ask.back = self._pool[0], self._pool[1]
        self._pool = [0.0, 0.0]
        return True

    def filled(self, ask: Ask, given: Given | None) -> None:
        """An exchange brought that; None: it failed."""
        if given is None:
            self._give_back(*ask.back)
            return
        self._pool[0] += given.taken[0]
        self._pool[1] += given.taken[1]
        self._levels, self._levels_at_s = given.levels, self._loop.time()
        self._pump()
        if self.queue and given.wait_s > 0.0 and not self._sent_away():
            self._timer = self._loop.call_later(given.wait_s, self._due)
        elif self.queue:
            self._ask()

    def close(self) -> None:
        """Stop the timer; who still waits is cancelled by its own task."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._ask()

    def _fits(self, tokens: float) -> bool:
        requests_max, tokens_max = self.limits
        enough = self._pool[0] >= 1.0 - 1e-9 or requests_max == inf
        return enough and (tokens_max == inf or self._pool[1] >= min(tokens, tokens_max) - 1e-9)

    def _charge(self, tokens: float) -> None:
        self._pool[0] -= 1.0 if self.limits[0] < inf else 0.0
        self._pool[1] -= tokens if self.limits[1] < inf else 0.0

    def _give_back(self, requests: float, tokens: float) -> None:
        self._pool[0] += requests if self.limits[0] < inf else 0.0
        self._pool[1] += tokens if self.limits[1] < inf else 0.0
        self._pump()

    def _pump(self) -> None:
        while (waiter := self.queue.peek()) is not None and self._fits(waiter.tokens):
            self.queue.pop()
            self._tokens_queued -= waiter.tokens
            self._charge(waiter.tokens)
            waiter.taken = True
            if not waiter.future.done():
                waiter.future.set_result(None)

    def _sent_away(self) -> bool:
        """Send away those in front whose turn would come too late, while they can still ask elsewhere."""
        now_s, any_ = self._loop.time(), False
        while (waiter := self.queue.peek()) is not None:
            wait_s = self._missing_s(1.0, min(waiter.tokens, self.limits[1]), now_s)
            if now_s + wait_s <= waiter.deadline_at_s:
                break
            self.queue.pop()
            self._tokens_queued -= waiter.tokens
            any_ = True
            if not waiter.future.done():
                waiter.future.set_exception(self._late(wait_s))
        return any_

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.taken:
            self._give_back(1.0, waiter.tokens)
        elif self.queue.remove(waiter):
            self._tokens_queued -= waiter.tokens
            self._pump()

    def _backlog_s(self, tokens: float, now_s: float) -> float:
        """Seconds until one more would have its turn, behind all that wait, as far as this process knows."""
        return self._missing_s(len(self.queue) + 1.0, self._tokens_queued + min(tokens, self.limits[1]), now_s)

    def _missing_s(self, requests: float, tokens: float, now_s: float) -> float:
        """Seconds until there are so many requests and tokens."""
        found_s = 0.0
        for nth, total in enumerate((requests, tokens)):
            limit = self.limits[nth]
            if limit < inf:
                level = self._levels[nth] + (now_s - self._levels_at_s) * limit / 60.0
                found_s = max(found_s, (total - self._pool[nth] - min(limit, level)) * 60.0 / limit)
        return found_s

    def _late(self, wait_s: float) -> KeyTooLate:
        return KeyTooLate(
            f"the limits of the key {self._name!r} have room for this request in {wait_s:.1f} s, which is after its "
            "deadline; ask again then, or raise them",
            wait_s,
        )
