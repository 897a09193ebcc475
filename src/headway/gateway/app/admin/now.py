"""What all workers of the gateway know at this moment, added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from headway.engine.state import worst
from headway.gateway.data.homes import Home
from headway.gateway.peers import WorkerState
from headway.insight.documents import LimitUse, Live
from headway.insight.overview import Now, NowUpstream

__all__ = ["now_of"]

LIMITS_MAX: Final = 50


def now_of(states: Sequence[WorkerState], homes: Iterable[Home], version: str) -> Now:
    """The figures of the first view that no log has.

    Args:
        states: Of all workers.
        homes: Where requests may go, so that an upstream that nobody has asked is shown as well.
        version: Of Headway.
    """
    found = [one.state for one in states]
    priorities: dict[str, int] = {"high": 0, "normal": 0, "low": 0}
    for state in found:
        for name, count in state.get("queued_by_priority", {}).items():
            priorities[name] = priorities.get(name, 0) + count
    live = Live(
        workers=len(found),
        in_flight=sum(state.get("in_flight", 0) for state in found),
        queued=sum(state.get("queued", 0) for state in found),
        queued_by_priority=priorities,
    )
    upstreams = _upstreams([one for state in found for one in state.get("upstreams", ())])
    there = {upstream.origin for upstream in upstreams}
    upstreams += [NowUpstream(name=home.origin, origin=home.origin) for home in homes if home.origin not in there]
    return Now(version=version, live=live, upstreams=upstreams)


def _upstreams(found: Sequence[dict[str, Any]]) -> list[NowUpstream]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        by_name.setdefault(one["name"], []).append(one)
    return [
        NowUpstream(
            name=name,
            origin=same[0]["origin"],
            queued=sum(one["queued"] for one in same),
            limits=_limits([limit for one in same for limit in one["limits"]]),
            breaker=worst(one["breaker"] for one in same),
        )
        for name, same in by_name.items()
    ]


def _limits(found: Sequence[dict[str, Any]]) -> list[LimitUse]:
    """Each worker knows the same limit, and uses its part of it."""
    limits: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        known = limits.setdefault((one["scope"], one["kind"]), {**one, "share": None})
        known["per_min"] = max(known["per_min"] or 0.0, one["per_min"] or 0.0) or None
        if one["share"] is not None:
            known["share"] = min(1.0, (known["share"] or 0.0) + one["share"])
    ranked = sorted(limits.values(), key=lambda limit: -(limit["share"] or 0.0))
    return [LimitUse(**limit) for limit in ranked[:LIMITS_MAX]]
