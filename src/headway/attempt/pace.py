"""Limits respected: a try waits here until its quota scope can afford it, and what comes back teaches the limits."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from math import inf

from headway.errors import Overloaded
from headway.policy.limits import Charge, Limits, LimitSettings
from headway.policy.queue import FairQueue
from headway.types import Call, Handler, Reply, RequestView, Trace
from headway.wire import reader_for
from headway.wire.rate_headers import read_limits

__all__ = ["RETRY_BONUS", "Lane", "Pace", "tokens_estimate"]

LANES_MAX = 1024
RETRY_BONUS = 0.5
"""What puts a retry ahead of its own class, and behind any higher one."""


class _Waiter:
    __slots__ = ("booked", "charge", "entered_at_s", "future", "tokens")

    def __init__(self, tokens: Tokens, future: asyncio.Future[None], entered_at_s: float) -> None:
        self.tokens = tokens
        self.future = future
        self.entered_at_s = entered_at_s
        self.booked = False
        self.charge: Charge | None = None


class Lane:
    """One quota scope: its limits and who waits for them."""

    __slots__ = ("_loop", "_timer", "limits", "queue")

    def __init__(self, limits: Limits, queue_max: int, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.queue: FairQueue[_Waiter] = FairQueue(queue_max)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, tokens: Tokens, now_s: float) -> Charge | None:
        """Be charged and go at once; None where there is a wait."""
        if self.queue or self.limits.wait_s(tokens[0], now_s, tokens[1], tokens[2]) > 0.0:
            return None
        return self.limits.charge(tokens[0], now_s, tokens[1], tokens[2])

    async def enter(self, tokens: Tokens, priority: float, deadline_at_s: float, trace: Trace) -> Charge:
        """Wait for a turn and be charged for it. Cancelled while waiting: the place or the charge is given back."""
        waiter = _Waiter(tokens, self._loop.create_future(), self._loop.time())
        if not self.queue.push(waiter, priority=priority, deadline_at_s=deadline_at_s):
            raise Overloaded(
                f"{len(self.queue)} requests already wait for this provider's limits; "
                "send fewer at once, or raise queue_max"
            )
        trace.hurry = lambda higher, sooner_s: self.queue.move(
            waiter, priority=higher + (RETRY_BONUS if trace.attempt_index else 0.0), deadline_at_s=sooner_s
        )

        def book(trace: Trace) -> None:
            if not waiter.booked:
                waiter.booked = True
                trace.wait_s += self._loop.time() - waiter.entered_at_s

        trace.on_end(book)  # a call may be ended (by its deadline) while it still waits here
        self._pump()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.charge is not None:
                self.limits.refund(waiter.charge, self._loop.time())
            else:
                self.queue.remove(waiter)
            self._pump()
            raise
        finally:
            book(trace)
            trace.hurry = None
        assert waiter.charge is not None  # the pump charges before it wakes
        return waiter.charge

    def wake(self) -> None:
        """What the limits allow may have changed."""
        if self.queue:
            self._pump()

    def close(self) -> None:
        """Stop the timer; whoever still waits is cancelled by its own task."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pump(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (waiter := self.queue.peek()) is not None:
            now_s = self._loop.time()
            whole, prompt, answer_max = waiter.tokens
            wait_s = self.limits.wait_s(whole, now_s, prompt, answer_max)
            if wait_s > 0.0:
                self._timer = self._loop.call_at(now_s + wait_s, self._pump)
                return
            self.queue.pop()
            waiter.charge = self.limits.charge(whole, now_s, prompt, answer_max)
            if not waiter.future.done():
                waiter.future.set_result(None)


class Pace:
    """One lane per (upstream, credential, model)."""

    __slots__ = ("_lanes", "_loop", "_next", "_queue_max", "_settings")

    def __init__(self, next_: Handler, settings: LimitSettings, queue_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._settings = settings
        self._queue_max = queue_max
        self._lanes: OrderedDict[tuple[str, str, str], Lane] = OrderedDict()

    @property
    def lanes(self) -> dict[tuple[str, str, str], Lane]:
        """The lanes by (origin, tenant digest, model), for live figures."""
        return self._lanes

    def limits(self, call: Call) -> Limits:
        """What is known of the quota that a call counts towards."""
        return self._lane(call).limits

    async def __call__(self, call: Call) -> Reply:
        lane = self._lane(call)
        trace = call.trace
        loop = self._loop
        tokens = tokens_estimate(call.view)
        charge = lane.admit(tokens, loop.time())
        if charge is None:
            # A retry has waited before: it goes ahead of its own class, never ahead of a higher one.
            priority = call.priority + (RETRY_BONUS if trace.attempt_index else 0.0)
            charge = await lane.enter(tokens, priority, call.deadline_at_s, trace)

        def leave(trace: Trace) -> None:
            if trace.sent_at_s is None:
                lane.limits.refund(charge, loop.time())
            else:
                lane.limits.ended(charge, trace.usage, trace.ended_at_s or loop.time())
            if lane.queue:
                lane.wake()

        trace.on_end(leave)
        reply = await self._next(call)
        readings = read_limits(reply.headers, trace.start_wall_s)
        now_s = loop.time()
        if readings is not None:
            trace.retry_after_s = readings.retry_after_s
            trace.request_id = readings.request_id
            trace.provider_processing_s = readings.provider_processing_s
            trace.provider_estimated = readings.provider_processing_s is None
        if reply.status == 429:
            # The text of a 429 is an exact reading of the bucket, so it is read here, before anybody else acts on it.
            body = await reply.read()
            reader = reader_for(call.path)
            error = reader.read_answer(429, body).error if reader is not None else None
            if error is not None and error.outcome == "throttled":
                lane.limits.refused(charge, readings, error, now_s=now_s)
                lane.wake()
            elif error is not None and error.outcome == "overloaded":
                lane.limits.overloaded(now_s)
            return reply
        if reply.status in (503, 529):
            lane.limits.overloaded(now_s)
        if readings is not None:
            lane.limits.observe(charge, readings, sent_at_s=trace.sent_at_s or now_s, now_s=now_s)
            lane.wake()
        return reply

    def close(self) -> None:
        """Stop all timers."""
        for lane in self._lanes.values():
            lane.close()

    def _lane(self, call: Call) -> Lane:
        key = (call.origin, call.tenant, call.view.model)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(Limits(self._settings), self._queue_max, self._loop)
            if len(self._lanes) > LANES_MAX:
                self._drop_idle()
        return lane

    def _drop_idle(self) -> None:
        """Forget the oldest lane in which nobody waits; with all of them busy the bound gives way to the work."""
        for key, lane in self._lanes.items():
            if not lane.queue:
                lane.close()
                del self._lanes[key]
                return


Tokens = tuple[float, float, float]
"""What a request may take: of one bucket for all tokens; where they are apart, its prompt, and its answer at most."""


def tokens_estimate(view: RequestView) -> Tokens:
    """What the provider charges before it knows: max(max_tokens, an estimate from the characters).

    Source: FACTS section 2 (OpenAI's pre-charge). What it really charges is learned from there.
    """
    bound, prompt = view.output_tokens_max, view.input_tokens
    return float(max(bound or 0, prompt, 1)), float(prompt), inf if bound is None else float(bound)
