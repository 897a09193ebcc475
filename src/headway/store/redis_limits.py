"""Limits that several processes share: one token bucket a quota scope in Redis, taken from by one atomic script.

A scope is what a provider counts by: upstream, credential, model. Its bucket holds requests and tokens; what is learned
about the provider's limit is published to it, and the newest reading holds. A grant is a lease: it is given back
whole where nothing was sent, and is taken for spent when it was neither given back nor settled within `lease_s`.

Source of the bucket: FACTS section 2 (a token bucket that starts full and refills continuously). Time is the
server's own, so that clocks of machines do not matter.
"""

from __future__ import annotations

import secrets

from headway.policy.shared_limits import SharedBucket, SharedLease, SharedMark
from headway.store.redis_link import RedisDown, RedisLink

__all__ = ["SharedBucket", "SharedLease", "SharedLimits", "SharedMark"]

_LEASE_S = 60.0
_KEEP_S = 3600.0
_LEASES_MAX = 10_000
_WAIT_MAX_S = 60.0
_AHEAD_MS = 10_000
"""How far ahead a turn may be promised; with rates of a few requests a minute, processes ask again instead."""


# Levels are refilled up to now, then asked. A bucket without a rate lets everything through.
_REFILL = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local b = redis.call('HMGET', KEYS[1], 'at', 'r', 't', 'rpm', 'tpm', 'rcap', 'tcap', 'rc', 'tc', 'n', 'from')
local function num(i) return tonumber(b[i] or nil) end
local rpm, tpm, rcap, tcap, rc, tc = num(4), num(5), num(6) or 60, num(7) or 60, num(8) or 0, num(9) or 0
local rmax, tmax = (rpm or 0) / 60 * rcap, (tpm or 0) / 60 * tcap
local passed = math.max(0, now - (num(1) or now))
local r = math.min(rmax, (num(2) or rmax) + (rpm or 0) / 60000 * passed)
local t = math.min(tmax, (num(3) or tmax) + (tpm or 0) / 60000 * passed)
local function text(value) return string.format('%.17g', value) end
"""
_STORE = """
redis.call('HSET', KEYS[1], 'at', text(now), 'r', text(r), 't', text(t), 'rc', text(rc), 'tc', text(tc))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
# A request that has to wait a little is granted for then: whoever asked first goes first, in whatever process, and a
# large one is not overtaken for ever. A request larger than the bucket is let through when it is full: the provider
# says no, or knows better. A tenth of a second's refill stays in the bucket, for clocks and networks that waver.
# While no rate is known, all processes together keep to the ramp that one would use (`policy.ramp`).
_ACQUIRE = f"""{_REFILL}
local want = tonumber(ARGV[3])
local function due(level, most, cost, per_min)
  local need = math.min(cost + math.min(most, per_min / 60) * 0.1, most)
  return level < need and (need - level) / per_min * 60000 or 0
end
local wait = 0
if rpm then wait = due(r, rmax, 1, rpm) end
if tpm then wait = math.max(wait, due(t, tmax, want, tpm)) end
if wait > tonumber(ARGV[6]) then return {{0, math.ceil(wait / 2)}} end
if not rpm and not tpm then
  local n, from = num(10) or 0, num(11)
  if not from or passed > 2000 then n, from = 0, now end
  n = n + 1
  if n > 24 then wait = math.max(0, from + 700 * math.log((n - 24) / 40.4 + 1) / math.log(2) - now) end
  redis.call('HSET', KEYS[1], 'n', n, 'from', text(from))
end
if rpm then r = r - 1 end
if tpm then t = t - want end
{_STORE}
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[5] - 1)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if not rpm and not tpm then return {{1, math.ceil(wait)}} end
local went_r, went_t = r + (rpm or 0) / 60000 * wait, t + (tpm or 0) / 60000 * wait
return {{1, math.ceil(wait), text(went_r), text(went_t), text(rc), text(tc)}}
"""
_REFUND = f"""
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then return 0 end
{_REFILL}
if rpm then r = math.min(rmax, r + 1) end
if tpm then t = math.min(tmax, t + ARGV[3]) end
{_STORE}
return 1
"""
# A limit that is told for the first time starts a little below empty: nobody knows what is under way. One that has
# changed starts from the share that was left under the old one. Of two capacities the smaller holds, for it was found
# out, unless who told the smaller one takes it back. A level is a bound; a level with the mark of the request that was
# answered corrects by a tenth of the difference: requests of several processes overtake one another, and each that was
# overtaken shows the other's charge. What is more than half a second's refill is another one's use: it counts at once.
_PUBLISH = f"""{_REFILL}
local function tell(name, cap_name, old, old_cap, had, level, per_min, cap)
  if per_min == '' then redis.call('HDEL', KEYS[1], name) return 0, 0 end
  per_min, cap = tonumber(per_min), tonumber(cap)
  if old and math.abs(old - per_min) <= 0.02 * old and ARGV[12] == '' then cap = math.min(cap, old_cap) end
  redis.call('HSET', KEYS[1], name, text(per_min), cap_name, text(cap))
  local most = per_min / 60 * cap
  if not old then return most, -0.2 * per_min / 60 end
  return most, had > 0 and level / had * most or most
end
local function correct(level, most, per_min, corrected, reading, mark, corrected_then)
  if reading == '' then return level, corrected end
  reading = tonumber(reading)
  if mark == '' then return math.min(level, reading), corrected end
  local off = reading - tonumber(mark) - (corrected - tonumber(corrected_then))
  local new = math.min(most, level + (off < -0.5 * per_min / 60 and off or 0.1 * off))
  return new, corrected + new - level
end
rmax, r = tell('rpm', 'rcap', rpm, rcap, rmax, r, ARGV[2], ARGV[4])
tmax, t = tell('tpm', 'tcap', tpm, tcap, tmax, t, ARGV[3], ARGV[5])
r, rc = correct(r, rmax, tonumber(ARGV[2]) or 0, rc, ARGV[6], ARGV[8], ARGV[10])
t, tc = correct(t, tmax, tonumber(ARGV[3]) or 0, tc, ARGV[7], ARGV[9], ARGV[11])
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

    def begin(self, scope: str, bucket: SharedBucket) -> None:
        """Nothing: the first answer tells of them."""

    def at_hand(self, scope: str, tokens: float) -> SharedLease | None:
        """Nothing is: every grant is asked for."""
        return None

    async def acquire(self, scope: str, tokens: float, *, waiting: int = 1) -> SharedLease | float:
        """Take one request and that many tokens: the lease, or how many seconds to wait before asking again.

        A lease may be for some seconds from now; whoever cannot use it then gives it back.
        """
        id_ = secrets.token_hex(8)
        args = [int(_KEEP_S * 1000), id_, tokens, self._lease_ms, _LEASES_MAX, _AHEAD_MS]
        try:
            granted, wait_ms, *mark = await self._link.ask(self._acquire(self._keys(scope), args))
        except RedisDown:
            return SharedLease(scope, "", tokens)
        if granted:
            known = SharedMark(*map(float, mark)) if mark else None
            return SharedLease(scope, id_, tokens, float(wait_ms) / 1000, known)
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
        mark: SharedMark | None = None,
        larger: bool = False,
    ) -> None:
        """Tell all processes what was learned: the rates, and what the provider says is left, if it says so.

        Args:
            scope: Which.
            bucket: The limits.
            requests_left, tokens_left: Levels; bounds where there is no mark.
            mark: Of the request whose answer told the levels.
            larger: A capacity that this process told before has turned out to be larger.
        """
        args = [int(_KEEP_S * 1000), bucket.requests_per_min, bucket.tokens_per_min]
        args += [bucket.requests_capacity_s, bucket.tokens_capacity_s, requests_left, tokens_left]
        args += [mark.requests, mark.tokens, mark.requests_corrected, mark.tokens_corrected] if mark else [None] * 4
        args += [1 if larger else None]
        try:
            await self._link.ask(self._publish(self._keys(scope), ["" if arg is None else arg for arg in args]))
        except RedisDown:
            return

    def _keys(self, scope: str) -> list[str]:
        return [f"{self._prefix}b:{scope}", f"{self._prefix}g:{scope}"]
