"""Processes that ask the same at the same time share one answer, by way of Redis.

Stands between cache and join. On a miss the first process takes a lease and leads: it asks the provider, and what it
gets it also puts into a log in Redis. The others follow that log. Who leads is in doubt only before the first byte:
then a leader that dies or gives up is replaced by one of those who wait; after it, they get `ConnectionLost`.
Without Redis every process asks for itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from headway.caller.feed import Feed
from headway.caller.spaces import Space
from headway.errors import HeadwayError, ProviderError
from headway.store.redis_flights import End, Failed, Head, Lease, RedisFlights
from headway.store.redis_link import RedisDown
from headway.types import Call, Reply, Trace

__all__ = ["Joining", "Shared"]

ROUNDS_MAX = 4
"""How often a call looks for a leader before it asks for itself."""
BYTES_MAX = 8 * 1024 * 1024
"""The largest answer that is shared."""
_CLOSE_S = 1.0

_encode = msgspec.msgpack.Encoder().encode


class Joining(Protocol):
    """What is needed of `caller.Join`: synchronous up to where the flight has been joined."""

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Start a flight, or join one; then wait for its reply."""
        ...

    def readers(self, call: Call) -> int:
        """How many read the flight that this call would join."""
        ...


class Shared:
    """See the module.

    Args:
        join: The join layer.
        flights: Leases and logs.
        spaces: The named caches, whose entries end what the leases are for.
    """

    def __init__(self, join: Joining, flights: RedisFlights, spaces: Mapping[str, Space]) -> None:
        self.arrived: Callable[[Call, bytes], Reply | None] = _nothing
        """Serves a call from an entry that another process has stored meanwhile: `Cache.arrived`."""
        self._join = join
        self._flights = flights
        self._spaces = spaces
        self._deciding: dict[str, asyncio.Future[None]] = {}
        self._leads: dict[str, tuple[Lease, Call, asyncio.Task[None]]] = {}
        self._feeds: dict[str, Feed] = {}
        self._beating: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def __call__(self, call: Call) -> Reply:
        if call.key is not None:
            place = _place(call, call.key)
            for _ in range(ROUNDS_MAX):
                while (decided := self._deciding.get(place)) is not None:
                    await asyncio.wait({decided})
                if self._flights.down or place in self._leads:
                    break
                feed = self._feeds.get(place)
                if feed is None or feed.state == "orphaned":
                    outcome = await self._decide(call, place)
                    if not isinstance(outcome, Feed):
                        if outcome is not None:
                            return outcome
                        break
                    feed = outcome
                reply = await feed.reply(call)
                if reply is not None:
                    return reply
        return await self._join(call)

    async def aclose(self) -> None:
        """Hand on what the ended flights still have to say, and let go of every lease. Idempotent."""
        tasks = {task for _, _, task in self._leads.values()} | self._background
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)
        tasks |= {feed.task for feed in self._feeds.values()}
        tasks |= {self._beating} if self._beating is not None else set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _decide(self, call: Call, place: str) -> Feed | Reply | None:
        """Lead (None, or the reply that came meanwhile), or follow. Others of this process wait for the outcome."""
        remote = self._spaces[call.namespace].remote
        if remote is None or call.key is None:
            return None
        decided = self._deciding[place] = asyncio.get_running_loop().create_future()
        lease = Lease(place, secrets.token_hex(12))
        try:
            leads, value = await self._flights.acquire(lease, remote.key(call.key))
            if not leads:
                return self._follow(place, value.decode())
            reply = self.arrived(call, value) if value else None
            if reply is not None:
                self._later(self._release(lease))
                return reply
            return await self._lead(call, lease, decided)
        except RedisDown:
            return None
        except BaseException:
            if place not in self._leads:
                self._later(self._release(lease))  # it may have been granted
            raise
        finally:
            self._decided(place, decided)

    def _decided(self, place: str, decided: asyncio.Future[None]) -> None:
        if not decided.done():
            decided.set_result(None)
            del self._deciding[place]

    def _follow(self, place: str, token: str) -> Feed:
        feed = self._feeds[place] = Feed(place, token, self._flights, bytes_max=BYTES_MAX)

        def over(_: object) -> None:
            if self._feeds.get(place) is feed:
                del self._feeds[place]

        feed.task.add_done_callback(over)
        return feed

    async def _lead(self, call: Call, lease: Lease, decided: asyncio.Future[None]) -> Reply:
        """Start (or join) the flight, with a reader more: the one that publishes."""
        own = self._join(call)
        if not self._join.readers(call):  # answered without a wait: there is nothing left to hand on but the entry
            self._later(self._release(lease))
            self._decided(lease.place, decided)
            return await own
        # A reader like any other: it keeps the flight going for the followers when our own callers leave.
        trace = Trace("call", call.trace.id, call.trace.started_at_s, call.trace.start_wall_s)
        theirs = replace(call, trace=trace)
        task = asyncio.get_running_loop().create_task(self._publish(lease, self._join(theirs), theirs))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # our own callers have raised it
        self._leads[lease.place] = lease, theirs, task
        self._decided(lease.place, decided)
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        return await own

    async def _publish(self, lease: Lease, coming: Awaitable[Reply], call: Call) -> None:
        flights = self._flights
        try:
            try:
                reply = await coming
                await self._hand_on(lease, reply, call)
            except ProviderError as error:
                failed = Failed(code=error.code, message=str(error), maybe_billed=error.maybe_billed)
                await flights.publish(lease, [("failed", _encode(failed))])
            except HeadwayError:
                await flights.publish(lease, [("gone", b"")])  # our own deadline, budget or end: not theirs
            remote = self._spaces[call.namespace].remote
            if remote is not None:
                await remote.flush()  # who asks from now on finds the entry, not a free lease
        except RedisDown:
            pass
        except BaseException:  # cancelled, or a handler's own bug
            self._later(self._give_up(lease))
            raise
        finally:
            del self._leads[lease.place]
        await self._release(lease)

    async def _hand_on(self, lease: Lease, reply: Reply, call: Call) -> None:
        body, trace = reply.body, call.trace
        head = Head(
            status=reply.status, headers=reply.headers, streaming=body is None, flight_id=trace.flight_id
        )  # fmt: skip
        async with reply:
            if body is None:
                await self._flights.publish(lease, [("head", _encode(head))])
                sent = 0
                async for chunk in reply:
                    sent += len(chunk)
                    await self._flights.publish(lease, [("chunk", chunk)])
                    if sent > BYTES_MAX:
                        return  # the followers have noticed as well
                await reply.aclose()  # leaving the flight fills in the trace
            chunks = [("head", _encode(head)), ("chunk", body)] if body is not None else []
            dollars = trace.dollars or trace.saved_dollars
            end = End(finish=trace.finish, usage=trace.usage, dollars=dollars)
            await self._flights.publish(lease, [*chunks, ("end", _encode(end))])  # type: ignore[list-item]

    async def _beat(self) -> None:
        """Renew the leases of all flights led; leave those that nobody wants any more."""
        while self._leads:
            await asyncio.sleep(self._flights.lease_s / 3)
            for lease, call, task in list(self._leads.values()):
                try:
                    await self._flights.renew(lease)
                except RedisDown:
                    break
                if lease.lost or (not lease.followed and self._join.readers(call) == 1):
                    task.cancel()
        self._beating = None

    async def _give_up(self, lease: Lease) -> None:
        """Best effort: whoever follows need not wait for the lease to expire."""
        try:
            await self._flights.publish(lease, [("gone", b"")])
        except RedisDown:
            return
        await self._release(lease)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._flights.release(lease)
        except RedisDown:
            pass  # it expires

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _place(call: Call, key: bytes) -> str:
    """As in `caller.join`, in characters that may stand in a Redis key."""
    limits_s = msgspec.structs.astuple(call.timeouts) if call.timeouts is not None else ()
    patience = "".join([f"-{limit_s:g}" for limit_s in limits_s])
    bound = call.view.output_tokens_max or ""
    return f"{key.hex()}{call.view.stream:d}{call.view.wants_usage:d}.{bound}{patience}"


def _nothing(call: Call, value: bytes) -> Reply | None:
    return None
