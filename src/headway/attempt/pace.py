"""Limits respected: a try waits here until its quota scope can afford it, and what comes back teaches the limits.

A scope is what a provider counts by. Until something is known of it, that is a credential, for one model. Two upstreams
with the same `quota` are one scope, by configuration; so are two credentials at one address whose answers name the same
organisation and the same limits, once they have said so. Keys of one organisation under different limits (projects
have their own) stay apart: each is held to its own, and sees in its readings what the other takes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from math import inf

from headway.errors import Overloaded
from headway.policy.limits import Charge, Limits, LimitSettings
from headway.policy.queue import FairQueue
from headway.types import Call, Handler, Reply, RequestView, Trace
from headway.wire import reader_for
from headway.wire.rate_headers import RateSnapshot, read_limits

__all__ = ["RETRY_BONUS", "Lane", "Pace", "Scope", "scope_of", "tokens_estimate"]

LANES_MAX = 1024
RETRY_BONUS = 0.5
"""What puts a retry ahead of its own class, and behind any higher one."""


class _Waiter:
    __slots__ = ("booked", "charge", "entered_at_s", "future", "lane", "tokens")

    def __init__(self, lane: Lane, tokens: Tokens, future: asyncio.Future[None], entered_at_s: float) -> None:
        self.lane = lane  # another one, when its scope turns out to be part of a greater
        self.tokens = tokens
        self.future = future
        self.entered_at_s = entered_at_s
        self.booked = False
        self.charge: Charge | None = None


class Lane:
    """One quota scope: its limits and who waits for them."""

    __slots__ = ("_loop", "_timer", "limits", "queue", "tokens_queued")

    def __init__(self, limits: Limits, queue_max: int, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.queue: FairQueue[_Waiter] = FairQueue(queue_max)
        self.tokens_queued = 0.0
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, tokens: Tokens, now_s: float) -> Charge | None:
        """Be charged and go at once; None where there is a wait."""
        if self.queue or self.limits.wait_s(tokens[0], now_s, tokens[1], tokens[2]) > 0.0:
            return None
        return self.limits.charge(tokens[0], now_s, tokens[1], tokens[2])

    async def enter(self, tokens: Tokens, priority: float, deadline_at_s: float, trace: Trace) -> tuple[Lane, Charge]:
        """Wait for a turn and be charged for it, here or where the queue has been moved to.

        Cancelled while waiting: the place or the charge is given back.
        """
        waiter = _Waiter(self, tokens, self._loop.create_future(), self._loop.time())
        if not self.queue.push(waiter, priority=priority, deadline_at_s=deadline_at_s):
            raise Overloaded(
                f"{len(self.queue)} requests already wait for this provider's limits; "
                "send fewer at once, or raise queue_max"
            )
        self.tokens_queued += tokens[0]
        trace.hurry = lambda higher, sooner_s: waiter.lane.queue.move(
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
            waiter.lane._leave(waiter)
            raise
        finally:
            book(trace)
            trace.hurry = None
        assert waiter.charge is not None  # the pump charges before it wakes
        return waiter.lane, waiter.charge

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Seconds until one more could go, behind all that wait already."""
        return self.limits.backlog_s(len(self.queue) + 1.0, self.tokens_queued + tokens, now_s)

    def absorb(self, other: Lane) -> None:
        """Take over who waits in another lane; what is under way there ends there."""
        for waiter in other.queue:
            waiter.lane = self
        self.queue.absorb(other.queue)
        self.tokens_queued += other.tokens_queued
        other.tokens_queued = 0.0
        other.limits.scope = self.limits.scope
        other.close()
        self.wake()

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
            self.tokens_queued -= whole
            waiter.charge = self.limits.charge(whole, now_s, prompt, answer_max)
            if not waiter.future.done():
                waiter.future.set_result(None)

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.charge is not None:
            self.limits.refund(waiter.charge, self._loop.time())
        elif self.queue.remove(waiter):
            self.tokens_queued -= waiter.tokens[0]
        self._pump()


class Pace:
    """One lane per quota scope; see the module."""

    __slots__ = ("_lanes", "_loop", "_next", "_pooled", "_queue_max", "_settings", "quotas")

    def __init__(self, next_: Handler, settings: LimitSettings, queue_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._settings = settings
        self._queue_max = queue_max
        self._lanes: OrderedDict[Scope, Lane] = OrderedDict()
        self._pooled: OrderedDict[Scope, Scope] = OrderedDict()  # a credential's -> its organisation's
        self.quotas: Mapping[str, str] = {}
        """What is configured: an upstream's name -> its quota's."""

    @property
    def lanes(self) -> dict[Scope, Lane]:
        """The lanes by scope, for live figures."""
        return self._lanes

    def know(self, scope: Scope, settings: LimitSettings) -> None:
        """Start with limits of its own for one scope."""
        self._lanes[scope] = Lane(Limits(settings, scope=_name(scope)), self._queue_max, self._loop)

    def queue_of(self, scope: Scope, tokens: float, now_s: float) -> tuple[float, int]:
        """Seconds until one more request would go there, and how many wait before it."""
        lane = self._lanes.get(self._pooled.get(scope, scope))
        return (0.0, 0) if lane is None else (lane.wait_s(tokens, now_s), len(lane.queue))

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
            lane, charge = await lane.enter(tokens, priority, call.deadline_at_s, trace)

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
            if readings.organisation:
                self._pool(call, readings)
        return reply

    def close(self) -> None:
        """Stop all timers."""
        for lane in self._lanes.values():
            lane.close()

    def _lane(self, call: Call) -> Lane:
        scope = self._scope(call)
        if self._pooled:
            scope = self._pooled.get(scope, scope)
        lane = self._lanes.get(scope)
        if lane is None:
            self.know(scope, self._settings)
            lane = self._lanes[scope]
            if len(self._lanes) > LANES_MAX:
                self._drop_idle()
        return lane

    def _scope(self, call: Call) -> Scope:
        quota = self.quotas.get(call.trace.upstream, "") if self.quotas else ""
        return scope_of(call.origin, call.tenant, quota, call.view.model)

    def _pool(self, call: Call, readings: RateSnapshot) -> None:
        """Move a credential's lane into its organisation's, the first time that an answer names it."""
        scope = self._scope(call)
        if not scope[0] or scope in self._pooled or (lane := self._lanes.get(scope)) is None:
            return  # declared, or known already
        limits = readings.requests.limit, readings.tokens.limit, readings.input_tokens.limit
        pooled = call.origin, f"{readings.organisation} {limits}", call.view.model
        self._pooled[scope] = pooled
        if len(self._pooled) > LANES_MAX:
            self._pooled.popitem(last=False)
        del self._lanes[scope]
        common = self._lanes.get(pooled)
        if common is None:
            lane.limits.scope = _name(pooled)
            self._lanes[pooled] = lane
        else:
            common.absorb(lane)

    def _drop_idle(self) -> None:
        """Forget the oldest lane in which nobody waits; with all of them busy the bound gives way to the work."""
        for key, lane in self._lanes.items():
            if not lane.queue:
                lane.close()
                del self._lanes[key]
                return


Scope = tuple[str, str, str]
"""Origin, tenant digest and model; ("", quota, model) where a quota is configured."""
Tokens = tuple[float, float, float]
"""What a request may take: of one bucket for all tokens; where they are apart, its prompt, and its answer at most."""


def scope_of(origin: str, tenant: str, quota: str, model: str) -> Scope:
    """What is counted together as far as it is known beforehand."""
    return ("", quota, model) if quota else (origin, tenant, model)


def _name(scope: Scope) -> str:
    """The same in all processes, and telling nobody a key."""
    return sha256("\n".join(scope).encode("utf-8", "replace")).hexdigest()[:32]


def tokens_estimate(view: RequestView) -> Tokens:
    """What the provider charges before it knows: max(max_tokens, an estimate from the characters).

    Source: FACTS section 2 (OpenAI's pre-charge). What it really charges is learned from there.
    """
    bound, prompt = view.output_tokens_max, view.input_tokens
    return float(max(bound or 0, prompt, 1)), float(prompt), inf if bound is None else float(bound)
