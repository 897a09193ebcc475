"""One process asks the provider, others read along: a lease in Redis, and the answer as a stream of its own.

    lease   hw:3:l:<place>   a random token; who sets it leads, and must renew it (heartbeat)
    log     hw:3:s:<token>   head, chunks, end: what the leader got, read with XREAD BLOCK
    flag    hw:3:f:<token>   somebody follows: the leader goes on although its own callers left

Every value here expires by itself, so that a process that dies leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

import msgspec

from headway.store.redis_link import RedisLink
from headway.types import Headers, Usage

__all__ = ["BLOCK_S", "LEASE_S", "End", "Failed", "Head", "Lease", "Piece", "RedisFlights"]

LEASE_S = 3.0
"""How long a silent leader is believed in."""
BLOCK_S = 1.0
_POLL_S = 0.05
_AFTER_S = 10.0
"""How long a log that has ended stays for those who were told of it."""

Kind: TypeAlias = Literal["head", "chunk", "end", "failed", "gone"]


class Lease(msgspec.Struct):
    """The right to ask the provider for one place."""

    place: str
    token: str
    lost: bool = False
    followed: bool = False


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer begins."""

    status: int
    headers: Headers
    streaming: bool
    flight_id: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader knows when an answer is whole."""

    finish: str = ""
    usage: Usage | None = None
    dollars: float | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no (whole) answer: an error's code, see `headway.errors`."""

    code: str
    message: str
    maybe_billed: bool = False


class Piece(msgspec.Struct, frozen=True):
    """One entry of a log."""

    id: str
    kind: Kind
    data: bytes


_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {1, redis.call('GET', KEYS[2])}
end
return {0, redis.call('GET', KEYS[1])}
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('EXISTS', KEYS[3])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisFlights:
    """Leases and logs. Every method raises `RedisDown` where Redis is not there.

    Args:
        link: The way there.
        prefix: What its keys begin with, e.g. ``hw:3:``.
        lease_s: How long a silent leader is believed in.
    """

    def __init__(self, link: RedisLink, prefix: str, *, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self._link = link
        self._prefix = prefix
        self._acquire = link.script(_ACQUIRE)
        self._renew = link.script(_RENEW)
        self._release = link.script(_RELEASE)

    @property
    def down(self) -> bool:
        """Whether asking is pointless just now."""
        return self._link.down

    async def acquire(self, lease: Lease, entry_key: str) -> tuple[bool, bytes]:
        """Take the lead, or learn who has it.

        Returns:
            (True, what `entry_key` holds by now, b"" for nothing), or (False, the leader's token).
        """
        keys = [self._lease(lease.place), entry_key]
        first, value = await self._link.ask(self._acquire(keys, [lease.token, int(self.lease_s * 1000)]))
        return first == 1, value or b""

    async def renew(self, lease: Lease) -> None:
        """Hold on to the lead; sets `lost` where it is somebody else's, and `followed` where somebody reads along."""
        keys = [self._lease(lease.place), self._log(lease.token), self._flag(lease.token)]
        args = [lease.token, int(self.lease_s * 1000), int((self.lease_s + _AFTER_S) * 1000)]
        found = await self._link.ask(self._renew(keys, args))
        lease.lost, lease.followed = found < 0, found > 0

    async def release(self, lease: Lease) -> None:
        """Give the lead back, if it is still ours."""
        await self._link.ask(self._release([self._lease(lease.place)], [lease.token]))

    async def publish(self, lease: Lease, pieces: list[tuple[Kind, bytes]]) -> None:
        """Add to the log, in one round trip."""
        log, expire_ms = self._log(lease.token), int((self.lease_s + _AFTER_S) * 1000)

        async def add(client: Any) -> None:
            pipeline = client.pipeline(transaction=False)
            for kind, data in pieces:
                pipeline.xadd(log, {"k": kind, "d": data})
            pipeline.pexpire(log, expire_ms)
            await pipeline.execute()

        await self._link.ask(add)

    async def read(self, token: str, after: str) -> list[Piece]:
        """What the log holds after that id; waits up to `BLOCK_S` for it, and shows that somebody follows."""
        log, flag = self._log(token), self._flag(token)
        flag_ms = int((2 * BLOCK_S + self.lease_s) * 1000)
        await self._link.ask(lambda client: client.set(flag, b"1", px=flag_ms))
        if self._link.may_listen:
            block_ms = int(BLOCK_S * 1000)
            found = await self._link.listen(lambda client: client.xread({log: after}, block=block_ms), BLOCK_S)
        else:
            found = await self._link.ask(lambda client: client.xread({log: after}))
            if not found:
                await asyncio.sleep(_POLL_S)
        return _pieces(found)

    async def rest(self, token: str, after: str) -> list[Piece]:
        """What the log holds after that id, without waiting."""
        log = self._log(token)
        return _pieces(await self._link.ask(lambda client: client.xread({log: after})))

    async def led(self, place: str, token: str) -> bool:
        """Whether that leader still holds its lease."""
        name = self._lease(place)
        return await self._link.ask(lambda client: client.get(name)) == token.encode()

    def _lease(self, place: str) -> str:
        return f"{self._prefix}l:{place}"

    def _log(self, token: str) -> str:
        return f"{self._prefix}s:{token}"

    def _flag(self, token: str) -> str:
        return f"{self._prefix}f:{token}"


def _pieces(found: Any) -> list[Piece]:
    """XREAD's answer: [[log, [(id, fields)]]], or nothing."""
    if not found:
        return []
    return [
        Piece(id_.decode(), fields.get(b"k", b"gone").decode("utf-8", "replace"), fields.get(b"d", b""))
        for id_, fields in found[0][1]
    ]
