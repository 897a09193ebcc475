"""Limits that several processes share: below the pace of this process, a turn in the bucket that all of them use.

Each process learns as it would alone; what it has learned it tells the others, and no request goes before the shared
bucket has granted it. Where that bucket knows the limits, it alone decides about requests and tokens. In a process only
the first in line of a scope asks, by the same order as in `pace`, so that a crowd that waits does not ask in chorus;
turns are promised in the order of asking, so that processes take turns. Slices of a second are assumed until a process
has found out more. Where the shared bucket cannot be asked everything is granted, those who wait here at the rate that
this process knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine

from headway.attempt.pace import RETRY_BONUS, tokens_estimate
from headway.errors import Overloaded
from headway.policy.bucket import Bucket
from headway.policy.limits import Limits
from headway.policy.queue import FairQueue
from headway.policy.shared_limits import LimitsShared, SharedBucket, SharedLease, SharedMark
from headway.types import Call, Handler, Reply, Trace
from headway.wire.rate_headers import read_limits

__all__ = ["SharedPace"]

SCOPES_MAX = 1024
PUBLISH_S = 0.25
"""What is left of the limits is told at most that often; new limits at once."""


class _Waiter:
    __slots__ = ("future", "limits", "tokens")

    def __init__(self, limits: Limits, tokens: float, future: asyncio.Future[SharedLease]) -> None:
        self.limits = limits
        self.tokens = tokens
        self.future = future


class _Scope:
    """One quota as this process sees it."""

    __slots__ = ("asking", "bucket", "name", "published_at_s", "queue")

    def __init__(self, name: str, queue_max: int) -> None:
        self.name = name
        self.queue: FairQueue[_Waiter] = FairQueue(queue_max)
        self.asking: asyncio.Task[None] | None = None
        self.bucket: SharedBucket | None = None
        self.published_at_s = float("-inf")


class SharedPace:
    """See the module.

    Args:
        next_: The upstream.
        shared: The buckets, in Redis or in the process that started this one.
        limits: What this process knows of a call's quota.
        queue_max: Who may wait; one more is `Overloaded`.
    """

    def __init__(
        self, next_: Handler, shared: LimitsShared, limits: Callable[[Call], Limits], *, queue_max: int
    ) -> None:
        self._queue_max = queue_max
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._shared = shared
        self._limits = limits
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self._work: set[asyncio.Task[object]] = set()

    async def __call__(self, call: Call) -> Reply:
        limits = self._limits(call)
        scope = self._scope(limits)
        tokens = tokens_estimate(call.view)[0] * limits.charge_ratio
        lease = None if scope.queue else self._shared.at_hand(limits.scope, tokens)
        if lease is None:
            lease = await self._granted(scope, limits, tokens, call)

        limits.led = lease.mark is not None
        refused = False

        def leave(trace: Trace) -> None:
            if trace.sent_at_s is None:
                self._later(self._shared.refund(lease))
            elif refused:  # `pace` has learned from it by now
                self._tell(self._scope(limits), limits, limits.requests.level, limits.tokens.level, None)
            elif limits.scope != lease.scope:  # and whose quota it is
                self._tell(self._scope(limits), limits, None, None, lease.mark)

        call.trace.on_end(leave)
        reply = await self._next(call)
        refused = reply.status == 429
        readings = read_limits(reply.headers, call.trace.start_wall_s)
        if readings is not None and not refused and limits.scope == lease.scope:
            left = readings.requests.remaining, readings.tokens.remaining
            self._tell(
                self._scope(limits),  # it may have got another name while it waited
                limits,
                None if left[0] is None else left[0] - _hidden(limits.requests),
                None if left[1] is None else left[1] - _hidden(limits.tokens),
                lease.mark,
            )
        return reply

    @property
    def queued(self) -> int:
        """How many wait for their turn."""
        return sum(len(scope.queue) for scope in self._scopes.values())

    async def aclose(self) -> None:
        """Wait for what is being told; it is short, for Redis has its time-out."""
        for scope in self._scopes.values():
            if scope.asking is not None:
                scope.asking.cancel()
        if self._work:
            await asyncio.wait(self._work)

    async def _granted(self, scope: _Scope, limits: Limits, tokens: float, call: Call) -> SharedLease:
        trace, entered_at_s = call.trace, self._loop.time()
        waiter = _Waiter(limits, tokens, self._loop.create_future())
        priority = call.priority + (RETRY_BONUS if trace.attempt_index else 0.0)
        if not scope.queue.push(waiter, priority=priority, deadline_at_s=call.deadline_at_s):
            raise Overloaded(
                f"{len(scope.queue)} requests already wait for this provider's shared limits; "
                "send fewer at once, or raise queue_max"
            )
        booked = False

        def book(trace: Trace) -> None:
            nonlocal booked
            if not booked:
                booked = True
                trace.wait_s += self._loop.time() - entered_at_s

        trace.on_end(book)  # a call may be ended (by its deadline) while it still waits here
        if scope.asking is None:
            scope.asking = self._loop.create_task(self._ask(scope))
        try:
            return await waiter.future
        except asyncio.CancelledError:
            scope.queue.remove(waiter)
            if waiter.future.done() and not waiter.future.cancelled():
                self._later(self._shared.refund(waiter.future.result()))
            raise
        finally:
            book(trace)

    async def _ask(self, scope: _Scope) -> None:
        """Ask for whoever is first in line, until nobody is left."""
        try:
            while (first := scope.queue.peek()) is not None:
                # It may have got another name since.
                scope_name, waiting = first.limits.scope, len(scope.queue)
                granted = await self._shared.acquire(scope_name, first.tokens, waiting=waiting)
                if not isinstance(granted, SharedLease):
                    await asyncio.sleep(granted)
                    continue
                # Without Redis those who had passed our own pace, for Redis to decide, go at the rate that we know.
                wait_s = granted.wait_s if granted.id else first.limits.refill_s(first.tokens)
                if wait_s > 0.0:
                    await asyncio.sleep(wait_s)
                if scope.queue.peek() is not first:
                    await self._shared.refund(granted)  # it left, or a more urgent one came, while we waited
                elif scope.queue.remove(first) and not first.future.done():
                    first.future.set_result(granted)
                else:
                    await self._shared.refund(granted)  # it left while we asked
        finally:
            scope.asking = None

    def _tell(
        self,
        scope: _Scope,
        limits: Limits,
        requests_left: float | None,
        tokens_left: float | None,
        mark: SharedMark | None,
    ) -> None:
        requests, tokens = limits.requests, limits.tokens
        if requests.limit is None and tokens.limit is None:
            return
        bucket = _bucket(limits)
        told, now_s = scope.bucket, self._loop.time()
        if bucket == told and mark is not None and now_s - scope.published_at_s < PUBLISH_S:
            return
        larger = told is not None and (
            (told.requests_per_min == bucket.requests_per_min and told.requests_capacity_s < bucket.requests_capacity_s)
            or (told.tokens_per_min == bucket.tokens_per_min and told.tokens_capacity_s < bucket.tokens_capacity_s)
        )
        scope.bucket, scope.published_at_s = bucket, now_s
        self._later(
            self._shared.publish(
                scope.name,
                bucket,
                requests_left=None if requests.limit is None else requests_left,
                tokens_left=None if tokens.limit is None else tokens_left,
                mark=mark if requests_left is not None or tokens_left is not None else None,
                larger=larger,
            )
        )

    def _later(self, work: Coroutine[object, object, object]) -> None:
        task: asyncio.Task[object] = self._loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _scope(self, limits: Limits) -> _Scope:
        name = limits.scope
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = _Scope(name, self._queue_max)
            if not (limits.requests.learned or limits.tokens.learned):  # but configured, or not: that may have changed
                self._shared.begin(name, _bucket(limits))
            if len(self._scopes) > SCOPES_MAX:
                idle = next((old for old, other in self._scopes.items() if other.asking is None), name)
                if idle != name:
                    del self._scopes[idle]
        return scope


def _bucket(limits: Limits) -> SharedBucket:
    requests, tokens = limits.requests, limits.tokens
    return SharedBucket(
        requests_per_min=requests.limit and requests.limit * 60.0 / requests.window_s,
        tokens_per_min=tokens.limit and tokens.limit * 60.0 / tokens.window_s,
        requests_capacity_s=requests.capacity_s(),
        tokens_capacity_s=tokens.capacity_s(),
        requests_claimed_s=_claimed_s(requests),
        tokens_claimed_s=_claimed_s(tokens),
    )


def _claimed_s(bucket: Bucket) -> float:
    """What the provider says of the capacity, where that is doubted; else 0.0."""
    said_s = 0.0 if bucket.limit is None else bucket.capacity / bucket.limit * bucket.window_s
    return said_s if said_s > bucket.capacity_s() else 0.0


def _hidden(bucket: Bucket) -> float:
    """What headers claim and is not there, slices that are only suspected included."""
    limit = bucket.limit or 0.0
    return limit - limit / bucket.window_s * bucket.capacity_s()
