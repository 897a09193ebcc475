"""Buckets that the workers of one gateway take from, a slice at a time, as `store.redis_limits` has them in Redis.

A scope's bucket holds requests and tokens, refills continuously, and is told what workers learn of the provider's
limit; the newest reading holds. A worker takes what it needs next, and some more where there is some: at most a slice
of the refill where the bucket is near its end, so that nobody waits for what another one only might need. What has to
wait is promised for then, in the order of asking. What is not used comes back.

While no limit is known, all workers together keep to the ramp that one would use. Source: FACTS section 2.
"""

from __future__ import annotations

from collections import OrderedDict
from math import floor, inf

import msgspec

from headway.policy.common_side import SLICE_S, Claim, Pair, Side
from headway.policy.ramp import Ramp
from headway.policy.shared_limits import SharedBucket, SharedMark

__all__ = ["SLICE_S", "CommonBucket", "CommonLimits", "Pair", "Slice"]

AHEAD_S = 10.0
"""How far ahead a turn may be promised; with rates of a few requests a minute, workers ask again instead."""
SCOPES_MAX = 1024
_RAMPED_MAX = 4096
_CLAIM_S = 10.0


class Slice(msgspec.Struct, frozen=True):
    """What a worker may use `wait_s` from now. Nothing: it asks again then."""

    requests: float = 0.0
    tokens: float = 0.0
    wait_s: float = 0.0
    mark: SharedMark | None = None
    """Where the bucket will stand then, all of the slice being spent; None where no limit is known."""
    refill: Pair = (0.0, 0.0)
    """A second."""
    most: Pair = (inf, inf)
    """What the bucket holds when full."""

    @property
    def empty(self) -> bool:
        """Whether nothing was granted."""
        return self.requests <= 0.0 and self.tokens <= 0.0


class CommonBucket:
    """One scope's; see the module.

    Args:
        now_s: The time now, as all others.
    """

    __slots__ = ("_at_s", "_begun", "_claims", "_ramp", "_requests", "_tokens")

    def __init__(self, now_s: float) -> None:
        self._at_s = now_s
        self._requests = Side()
        self._tokens = Side()
        self._claims: dict[int, tuple[SharedBucket, float]] = {}
        self._begun: SharedBucket | None = None  # what is configured
        self._ramp = Ramp(double_s=0.7)  # by several at once, refusals come back later

    @property
    def known(self) -> bool:
        """Whether a limit is."""
        return self._requests.per_min is not None or self._tokens.per_min is not None

    @property
    def levels(self) -> Pair:
        """What the bucket holds, as of the last time that anybody asked."""
        return self._requests.level, self._tokens.level

    def take(self, least: Pair, wanted: Pair, now_s: float) -> Slice:
        """A slice.

        Args:
            least: What the request that goes next is short of; (0, 0): nothing waits, only what is to spare is taken.
            wanted: What all that wait are short of, and those that will come soon.
            now_s: The time now.
        """
        self._refill(now_s)
        wanted = max(least[0], wanted[0]), max(least[1], wanted[1])
        if not self.known:
            return self._ramped(least, wanted, now_s)
        requests, tokens = self._requests, self._tokens
        wait_s = max(requests.due_s(least[0], now_s), tokens.due_s(least[1], now_s))
        if wait_s > AHEAD_S:
            return Slice(wait_s=wait_s / 2.0)
        more = requests.more(least[0], wanted[0], waits=wait_s > 0.0)
        more = more if more == inf else max(least[0], float(floor(more + 1e-9)))  # a part of a request is none
        granted = more, tokens.more(least[1], wanted[1], waits=wait_s > 0.0)
        if wait_s > 0.0:
            wait_s = max(requests.due_s(granted[0], now_s), tokens.due_s(granted[1], now_s))
        for side, taken in zip((requests, tokens), granted, strict=True):
            side.spend(taken, now_s + wait_s)
        mark = SharedMark(
            requests.level + requests.per_s * wait_s,
            tokens.level + tokens.per_s * wait_s,
            requests.corrected,
            tokens.corrected,
        )
        per_s, most = (requests.per_s, tokens.per_s), (requests.most, tokens.most)
        return Slice(granted[0], granted[1], wait_s, mark, per_s, most)

    def give_back(self, unused: Pair, now_s: float, *, known: bool) -> None:
        """What was taken and not used; `known` is whether a limit was when it was taken."""
        self._refill(now_s)
        if known and self.known:
            for side, more in zip((self._requests, self._tokens), unused, strict=True):
                side.spend(-more, now_s)
        elif not known and not self.known and unused[0] < inf:
            for _ in range(min(round(unused[0]), _RAMPED_MAX)):
                self._ramp.refund(now_s)

    def tell(
        self,
        bucket: SharedBucket,
        now_s: float,
        *,
        who: int = 0,
        left: tuple[float | None, float | None] = (None, None),
        mark: SharedMark | None = None,
        larger: bool = False,
        full: bool = False,
    ) -> None:
        """What was learned; see `LimitsShared.publish`.

        Args:
            bucket: The limits.
            now_s: The time now.
            who: Of several that take a limit for different ones the smallest holds, while its worker goes on telling.
            left: Requests and tokens, as the provider says.
            mark: Of the request whose answer told that.
            larger: A capacity that the same worker told before has turned out to be larger.
            full: It is what is configured, and nobody has asked the provider for anything yet. Where it is as before,
                what was learned since stays; another configuration takes the place of all that was told under the old.
        """
        self._refill(now_s)
        if full:
            given = None if bucket.requests_per_min is None and bucket.tokens_per_min is None else bucket
            if given != self._begun:
                self._begun, larger = given, True
                self._claims.clear()
            elif self.known and (given is None or self._claims.get(who, (bucket,))[0] == bucket):
                return  # else what the worker told was of an older configuration, while others had this one
        requests, tokens = self._requests, self._tokens
        self._claims.pop(who, None)
        self._claims[who] = bucket, now_s
        self._claims = {one: claim for one, claim in self._claims.items() if now_s - claim[1] < _CLAIM_S}
        told = [claim[0] for claim in self._claims.values()]
        of_requests, of_tokens = [_requests_of(one) for one in told], [_tokens_of(one) for one in told]
        requests.tell(of_requests, now_s, larger=larger, full=full)
        tokens.tell(of_tokens, now_s, larger=larger, full=full)
        at_requests = None if mark is None else (mark.requests, mark.requests_corrected)
        at_tokens = None if mark is None else (mark.tokens, mark.tokens_corrected)
        requests.correct(left[0], at_requests, _requests_of(bucket), now_s)
        tokens.correct(left[1], at_tokens, _tokens_of(bucket), now_s)

    def _ramped(self, least: Pair, wanted: Pair, now_s: float) -> Slice:
        ramp, granted = self._ramp, 0
        if ramp.state == "off":
            return Slice(inf, inf)
        most = min(round(max(1.0, wanted[0])), _RAMPED_MAX)
        while granted < most and ramp.wait_s(now_s) <= 0.0:
            ramp.charge(now_s)
            granted += 1
        if granted == 0 and least[0] > 0.0:
            return Slice(wait_s=ramp.wait_s(now_s))
        return Slice(float(granted), inf)

    def _refill(self, now_s: float) -> None:
        passed_s, self._at_s = max(0.0, now_s - self._at_s), max(now_s, self._at_s)
        for side in (self._requests, self._tokens):
            side.advance(passed_s)


class CommonLimits:
    """All scopes. Those that were not used for longest are forgotten beyond `SCOPES_MAX`."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, CommonBucket] = OrderedDict()

    def bucket(self, scope: str, now_s: float) -> CommonBucket:
        """A scope's, made when it is first asked for."""
        found = self._buckets.get(scope)
        if found is None:
            found = self._buckets[scope] = CommonBucket(now_s)
            if len(self._buckets) > SCOPES_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(scope)
        return found


def _requests_of(bucket: SharedBucket) -> Claim:
    return Claim(bucket.requests_per_min, bucket.requests_capacity_s, bucket.requests_claimed_s)


def _tokens_of(bucket: SharedBucket) -> Claim:
    return Claim(bucket.tokens_per_min, bucket.tokens_capacity_s, bucket.tokens_claimed_s)
