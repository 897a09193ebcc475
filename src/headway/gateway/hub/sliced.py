"""The provider's limits, shared by the workers of one gateway: what a request needs is at hand, or is asked for.

A worker keeps what it will use in the next tenth of a second, and asks for more before that is used up, so that hardly
a request waits for the answer. What it does not come to use goes back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf

import msgspec

from headway.gateway.hub.messages import Give, Take, Tell
from headway.policy.common_limits import SCOPES_MAX, SLICE_S, Pair, Slice
from headway.policy.shared_limits import SharedBucket, SharedLease, SharedMark

__all__ = ["SlicedLimits"]

LOOK_S = 0.2
"""How often what is not used is looked for."""
GRANT = "slice"
_LONGEST_S = 60.0


class _Pool:
    """One scope's, as this worker has it."""

    __slots__ = ("asking", "due_at_s", "mark", "most", "rate", "refill", "requests", "since_s", "tokens", "used")

    def __init__(self, now_s: float) -> None:
        self.requests = 0.0
        self.tokens = 0.0
        self.mark: SharedMark | None = None
        self.refill: Pair = (0.0, 0.0)
        self.most: Pair = (inf, inf)
        self.due_at_s = now_s
        self.asking = False
        self.since_s = now_s
        self.used: Pair = (0.0, 0.0)
        self.rate: Pair = (0.0, 0.0)

    def soon(self, now_s: float, within_s: float) -> Pair:
        """What will be used within that time, if it goes on as it did lately."""
        passed_s, used = now_s - self.since_s, self.used
        if passed_s > SLICE_S:
            self.rate = used[0] / passed_s, used[1] / passed_s
            self.used, self.since_s = (0.0, 0.0), now_s
            return self.rate[0] * within_s, self.rate[1] * within_s
        share = within_s / SLICE_S
        return max(self.rate[0] * within_s, used[0] * share), max(self.rate[1] * within_s, used[1] * share)

    def lease(self, scope: str, tokens: float, now_s: float) -> SharedLease:
        """One request less, and a mark of where the bucket should stand at the provider then."""
        self.requests -= 1.0
        self.tokens -= tokens
        self.used = self.used[0] + 1.0, self.used[1] + tokens
        mark = self.mark
        if mark is not None:  # what is still at hand is taken from the bucket, and the provider has yet to see it
            late_s = now_s - self.due_at_s
            mark = SharedMark(
                min(self.most[0], mark.requests + _finite(self.requests) + self.refill[0] * late_s),
                min(self.most[1], mark.tokens + _finite(self.tokens) + self.refill[1] * late_s),
                mark.requests_corrected,
                mark.tokens_corrected,
            )
        return SharedLease(scope, GRANT, tokens, 0.0, mark)


class SlicedLimits:
    """See the module; a `LimitsShared`.

    Args:
        take: Asks the hub; None: it does not answer.
        tell: Tells it.
    """

    def __init__(
        self, take: Callable[[Take], Awaitable[Slice | None]], tell: Callable[[msgspec.Struct], object]
    ) -> None:
        self._take = take
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._pools: OrderedDict[str, _Pool] = OrderedDict()
        self._looking: asyncio.TimerHandle | None = None
        self._work: set[asyncio.Task[object]] = set()

    def at_hand(self, scope: str, tokens: float) -> SharedLease | None:
        """See `LimitsShared`; microseconds."""
        pool = self._pools.get(scope)
        if pool is None or pool.requests < 1.0 or pool.tokens < tokens:
            return None
        now_s = self._loop.time()
        lease = pool.lease(scope, tokens, now_s)
        if not pool.asking:
            soon = pool.soon(now_s, SLICE_S / 2.0)
            if pool.requests < soon[0] or pool.tokens < soon[1]:
                pool.asking = True
                self._later(self._stock_up(scope, pool))
        return lease

    async def acquire(self, scope: str, tokens: float, *, waiting: int = 1) -> SharedLease | float:
        """See `LimitsShared`."""
        pool = self._pool(scope)
        while (lease := self.at_hand(scope, tokens)) is None:
            least = max(0.0, 1.0 - pool.requests), max(0.0, tokens - pool.tokens)
            line = waiting - _finite(pool.requests), waiting * tokens - _finite(pool.tokens)
            taken = await self._ask(scope, pool, least, line)
            if taken is None:
                return SharedLease(scope, "", tokens)
            if taken.empty:
                return min(max(0.001, taken.wait_s), _LONGEST_S)
        return lease

    async def refund(self, lease: SharedLease) -> bool:
        """See `LimitsShared`."""
        pool = self._pools.get(lease.scope)
        if lease.id != GRANT or pool is None or (lease.mark is None) != (pool.mark is None):
            return False
        pool.requests += 1.0
        pool.tokens += lease.tokens
        self._look_soon()
        return True

    async def publish(
        self,
        scope: str,
        bucket: SharedBucket,
        *,
        requests_left: float | None = None,
        tokens_left: float | None = None,
        mark: SharedMark | None = None,
        larger: bool = False,
    ) -> None:
        """See `LimitsShared`."""
        pool = self._pools.get(scope)
        if pool is not None and pool.mark is None:
            pool.requests = pool.tokens = 0.0  # they were granted when nobody knew
        self._tell(Tell(scope, bucket, (requests_left, tokens_left), mark, larger))

    def begin(self, scope: str, bucket: SharedBucket) -> None:
        """Tell of limits that are configured, before anything is asked of the provider."""
        pool = self._pools.get(scope)
        if pool is not None and pool.mark is None:
            pool.requests = pool.tokens = 0.0  # they were granted when there was no limit
        self._tell(Tell(scope, bucket, full=True))

    def came_late(self, scope: str, taken: Slice) -> None:
        """A slice that nobody waits for any more goes back."""
        if not taken.empty:
            self._tell(Give(scope, (_finite(taken.requests), _finite(taken.tokens)), taken.mark is not None))

    async def aclose(self) -> None:
        """Give everything back."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._work:
            await asyncio.wait(self._work)
        for scope, pool in self._pools.items():
            self._give_back(scope, pool, (pool.requests, pool.tokens))

    async def _ask(self, scope: str, pool: _Pool, least: Pair, line: Pair) -> Slice | None:
        """Take a slice and wait until it may be used."""
        now_s = self._loop.time()
        soon = pool.soon(now_s, SLICE_S)
        wanted = max(0.0, line[0]) + soon[0], max(0.0, line[1]) + soon[1]
        taken = await self._take(Take(0, scope, least, wanted))
        if taken is None or taken.empty:
            return taken
        due_at_s = self._loop.time() + taken.wait_s
        if taken.wait_s > 0.0:
            await asyncio.sleep(taken.wait_s)
        if (taken.mark is None) != (pool.mark is None):
            pool.requests = pool.tokens = 0.0  # of a time when nobody knew the limit, or one that is gone
        pool.requests += taken.requests
        pool.tokens += taken.tokens
        pool.mark, pool.refill, pool.most, pool.due_at_s = taken.mark, taken.refill, taken.most, due_at_s
        self._look_soon()
        return taken

    async def _stock_up(self, scope: str, pool: _Pool) -> None:
        try:
            taken = await self._ask(scope, pool, (0.0, 0.0), (0.0, 0.0))
            if taken is None or taken.empty:
                await asyncio.sleep(SLICE_S / 10.0)  # there was nothing to spare: do not ask with every request
        finally:
            pool.asking = False

    def _look_soon(self) -> None:
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Give back what was not used, and will hardly be."""
        self._looking = None
        now_s = self._loop.time()
        for scope, pool in self._pools.items():
            soon = pool.soon(now_s, SLICE_S)
            unused = max(0.0, pool.requests - soon[0]), max(0.0, pool.tokens - soon[1])
            if not pool.asking and unused[0] >= 1.0:
                self._give_back(scope, pool, unused)
            if pool.requests > 0.0:
                self._look_soon()

    def _give_back(self, scope: str, pool: _Pool, unused: Pair) -> None:
        if unused[0] > 0.0 or unused[1] > 0.0:
            self._tell(Give(scope, (_finite(unused[0]), _finite(unused[1])), pool.mark is not None))
        if pool.mark is None:
            pool.requests = pool.tokens = 0.0  # somebody may have learned the limit by now
        else:
            pool.requests -= _finite(unused[0])
            pool.tokens -= _finite(unused[1])

    def _pool(self, scope: str) -> _Pool:
        pool = self._pools.get(scope)
        if pool is None:
            pool = self._pools[scope] = _Pool(self._loop.time())
            if len(self._pools) > SCOPES_MAX:
                old, gone = self._pools.popitem(last=False)
                self._give_back(old, gone, (gone.requests, gone.tokens))
        else:
            self._pools.move_to_end(scope)
        return pool

    def _later(self, work: Awaitable[object]) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _finite(value: float) -> float:
    return value if value < inf else 0.0
