"""What an engine knows of its upstreams at this moment: limits and how much of them is used, who waits, breakers.

Plain values, for pages and metrics; the figures of several processes can be added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, floor, isfinite
from typing import Any, Final

from headway.attempt.choice import Choice
from headway.attempt.pace import Lane, Pace
from headway.attempt.upstreams import Upstream
from headway.policy.breaker import Breaker
from headway.policy.bucket import Bucket

__all__ = ["StateSampler", "breaker_state", "worst"]

UPSTREAMS_MAX: Final = 100
LIMITS_MAX: Final = 50
"""Of one upstream, those that are used most."""
_KINDS: Final = ("requests", "tokens", "input_tokens", "output_tokens")
_SAMPLE_S, _MEMORY_S = 0.5, 20.0
"""How far apart samples are at least, and how long one is remembered (mean lifetime)."""


class StateSampler:
    """Sees the buckets every time that it is asked, and so knows how fast they are used.

    Args:
        pace: Where the limits are.
        choice: Where the upstreams are chosen; None where none are configured.
    """

    def __init__(self, pace: Pace, choice: Choice | None) -> None:
        self._pace = pace
        self._choice = choice
        self._seen: dict[int, tuple[Bucket, float, float, float | None]] = {}

    def state(self, now_s: float) -> dict[str, Any]:
        """Figures to be added to a snapshot: `queued_by_priority` and `upstreams`.

        A breaker is "none" where there is none: it needs another upstream that could be taken instead.
        """
        classes = {"high": 0, "normal": 0, "low": 0}
        for lane in self._pace.lanes.values():
            for priority in lane.queue.priorities():
                rank = floor(priority)  # a retry's bonus is half a step
                classes["high" if rank > 0 else "low" if rank < 0 else "normal"] += 1
        return {"queued_by_priority": classes, "upstreams": self._upstreams(now_s)}

    def _upstreams(self, now_s: float) -> list[dict[str, Any]]:
        configured = self._choice.upstreams if self._choice is not None else ()
        found: dict[str, dict[str, Any]] = {}
        for upstream in configured:
            _entry(found, upstream.name, upstream.origin)["breaker"] = "closed"
        kept: dict[int, tuple[Bucket, float, float, float | None]] = {}
        for (origin, whose, model), lane in self._pace.lanes.items():
            name, address = _name(origin, whose, configured)
            entry = _entry(found, name, address)
            entry["queued"] += len(lane.queue)
            entry["limits"] += self._limits(model, lane, now_s, kept)
        self._seen = kept
        if self._choice is not None:
            for (name, _, _), way in self._choice.lanes.items():
                if name in found:
                    found[name]["breaker"] = worst((found[name]["breaker"], breaker_state(way.breaker, now_s)))
        for entry in found.values():
            entry["limits"] = sorted(entry["limits"], key=lambda limit: -(limit["share"] or 0.0))[:LIMITS_MAX]
        return list(found.values())[:UPSTREAMS_MAX]

    def _limits(
        self, model: str, lane: Lane, now_s: float, kept: dict[int, tuple[Bucket, float, float, float | None]]
    ) -> Iterable[dict[str, Any]]:
        for kind in _KINDS:
            bucket: Bucket = getattr(lane.limits, kind)
            if bucket.limit is None or not isfinite(bucket.limit) or bucket.limit <= 0:
                continue
            per_min = bucket.limit * 60.0 / bucket.window_s
            used_per_s = self._used_per_s(bucket, now_s, kept)
            if used_per_s is None:
                bucket.backlog_s(0.0, now_s)  # brings its level up to now
                share = 1.0 - bucket.level / bucket.capacity
            else:
                share = used_per_s * 60.0 / per_min
            yield {
                "scope": model,
                "kind": kind,
                "per_min": per_min,
                "share": min(1.0, max(0.0, share)),
                "learned": bucket.learned,
            }

    def _used_per_s(
        self, bucket: Bucket, now_s: float, kept: dict[int, tuple[Bucket, float, float, float | None]]
    ) -> float | None:
        """What was charged to it lately, a second; None where it is seen for the first time."""
        known = self._seen.get(id(bucket))
        if known is None or known[0] is not bucket:
            kept[id(bucket)] = bucket, now_s, bucket.charged, None
            return None
        _, at_s, charged, rate = known
        passed_s = now_s - at_s
        if passed_s >= _SAMPLE_S:
            latest = max(0.0, bucket.charged - charged) / passed_s
            rate = latest if rate is None else rate + (latest - rate) * (1.0 - exp(-passed_s / _MEMORY_S))
            known = bucket, now_s, bucket.charged, rate
        kept[id(bucket)] = known
        return rate


def breaker_state(breaker: Breaker, now_s: float) -> str:
    """Closed, open, or "half-open": a probe may go."""
    if breaker.closed:
        return "closed"
    return "half-open" if now_s >= breaker.opens_at_s else "open"


def worst(breakers: Iterable[str]) -> str:
    """Of several breakers' states, as `StateSampler.state` has them, the one that says most."""
    return max(breakers, key=("none", "closed", "half-open", "open").index)


def _entry(found: dict[str, dict[str, Any]], name: str, origin: str) -> dict[str, Any]:
    return found.setdefault(name, {"name": name, "origin": origin, "queued": 0, "limits": [], "breaker": "none"})


def _name(origin: str, whose: str, configured: Iterable[Upstream]) -> tuple[str, str]:
    """What the log calls the upstream that a quota belongs to, and its address."""
    there = [
        upstream for upstream in configured if upstream.origin == origin or (not origin and upstream.quota == whose)
    ]
    exact = [upstream for upstream in there if upstream.tenant == whose]
    if exact or len(there) == 1:
        return (exact or there)[0].name, (exact or there)[0].origin
    if there and not origin:
        return there[0].name, there[0].origin
    return origin or whose, origin
