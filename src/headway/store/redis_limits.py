"""Limits that several processes share: one token bucket a quota scope in Redis, taken from by one atomic script.

A scope is what a provider counts by: upstream, credential, model. Its bucket holds requests and tokens; what is learned
about the provider's limit is published to it, and the newest reading holds. A grant is a lease: it is given back
whole where nothing was sent, and is taken for spent when it was neither given back nor settled within `lease_s`.

Source of the bucket: FACTS section 2 (a token bucket that starts full and refills continuously). Time is the
server's own, so that clocks of machines do not matter.
"""

from __future__ import annotations

import secrets

import msgspec

from headway.store.redis_link import RedisDown, RedisLink

__all__ = ["SharedBucket", "SharedLease", "SharedLimits"]

_LEASE_S = 60.0
_KEEP_S = 3600.0
_LEASES_MAX = 10_000
_WAIT_MAX_S = 60.0


class SharedBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a scope's limits: per minute, and how many seconds' worth the bucket holds when full."""

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    capacity_s: float = 60.0


class SharedLease(msgspec.Struct, frozen=True):
    """A grant. `id` is "" where Redis was not asked: then there is nothing to give back."""

    scope: str
    id: str
    tokens: float


# Levels are refilled up to now, then asked. A bucket without a rate lets everything through.
_REFILL = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local b = redis.call('HMGET', KEYS[1], 'at', 'r', 't', 'rpm', 'tpm', 'cap')
local rpm, tpm, cap = tonumber(b[4]), tonumber(b[5]), tonumber(b[6]) or 60
local rmax, tmax = (rpm or 0) / 60 * cap, (tpm or 0) / 60 * cap
local passed = math.max(0, now - (tonumber(b[1]) or now))
local r = math.min(rmax, (tonumber(b[2]) or rmax) + (rpm or 0) / 60000 * passed)
local t = math.min(tmax, (tonumber(b[3]) or tmax) + (tpm or 0) / 60000 * passed)
"""
_STORE = """
redis.call('HSET', KEYS[1], 'at', now, 'r', tostring(r), 't', tostring(t))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
# A request larger than the bucket is let through when it is full: the provider says no, or knows better.
_ACQUIRE = f"""{_REFILL}
local want = tonumber(ARGV[3])
local need = math.min(want, tmax)
local wait = 0
if rpm and r < 1 and r < rmax then wait = math.max(wait, (math.min(1, rmax) - r) / rpm * 60000) end
if tpm and t < need then wait = math.max(wait, (need - t) / tpm * 60000) end
if wait > 0 then return {{0, math.ceil(wait)}} end
if rpm then r = r - 1 end
if tpm then t = t - want end
{_STORE}
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[5] - 1)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {{1, 0}}
"""
_REFUND = f"""
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then return 0 end
{_REFILL}
if rpm then r = math.min(rmax, r + 1) end
if tpm then t = math.min(tmax, t + ARGV[3]) end
{_STORE}
return 1
"""
# A new rate starts from the share of the bucket that was left under the old one; a reading of the level is a bound.
_PUBLISH = f"""{_REFILL}
local had_r, had_t = rmax, tmax
local function set(name, value) if value == '' then redis.call('HDEL', KEYS[1], name)
  else redis.call('HSET', KEYS[1], name, value) end end
set('rpm', ARGV[2]) set('tpm', ARGV[3]) redis.call('HSET', KEYS[1], 'cap', ARGV[4])
rmax = (tonumber(ARGV[2]) or 0) / 60 * ARGV[4]
tmax = (tonumber(ARGV[3]) or 0) / 60 * ARGV[4]
r = had_r > 0 and r / had_r * rmax or rmax
t = had_t > 0 and t / had_t * tmax or tmax
if ARGV[5] ~= '' then r = math.min(r, tonumber(ARGV[5])) end
if ARGV[6] ~= '' then t = math.min(t, tonumber(ARGV[6])) end
{_STORE}
return 1
"""


class SharedLimits:
    """Buckets in Redis. Fails open: without Redis every request is granted, and each process paces itself alone.

    Args:
        link: The way there.
        prefix: What its keys begin with, e.g. ``hw:3:``.
        lease_s: After which a grant that was not given back is taken for spent.
    """

    def __init__(self, link: RedisLink, prefix: str, *, lease_s: float = _LEASE_S) -> None:
        self._link = link
        self._prefix = prefix
        self._lease_ms = int(lease_s * 1000)
        self._acquire = link.script(_ACQUIRE)
        self._refund = link.script(_REFUND)
        self._publish = link.script(_PUBLISH)

    async def acquire(self, scope: str, tokens: float) -> SharedLease | float:
        """Take one request and that many tokens: the lease, or how many seconds to wait before asking again."""
        id_ = secrets.token_hex(8)
        args = [int(_KEEP_S * 1000), id_, tokens, self._lease_ms, _LEASES_MAX]
        try:
            granted, wait_ms = await self._link.ask(self._acquire(self._keys(scope), args))
        except RedisDown:
            return SharedLease(scope, "", tokens)
        if granted:
            return SharedLease(scope, id_, tokens)
        return min(max(0.001, float(wait_ms) / 1000), _WAIT_MAX_S)

    async def refund(self, lease: SharedLease) -> bool:
        """Give a grant back: nothing was sent. True the first time, as long as the lease stands."""
        if not lease.id:
            return False
        args = [int(_KEEP_S * 1000), lease.id, lease.tokens]
        try:
            return bool(await self._link.ask(self._refund(self._keys(lease.scope), args)))
        except RedisDown:
            return False

    async def publish(
        self,
        scope: str,
        bucket: SharedBucket,
        *,
        requests_left: float | None = None,
        tokens_left: float | None = None,
    ) -> None:
        """Tell all processes what was learned: the rates, and what the provider says is left, if it says so."""
        args = [int(_KEEP_S * 1000), bucket.requests_per_min, bucket.tokens_per_min, bucket.capacity_s]
        args += [requests_left, tokens_left]
        try:
            await self._link.ask(self._publish(self._keys(scope), ["" if arg is None else arg for arg in args]))
        except RedisDown:
            return

    def _keys(self, scope: str) -> list[str]:
        return [f"{self._prefix}b:{scope}", f"{self._prefix}g:{scope}"]
