"""What is so at the moment, read out of the live figures of one or more engines (`Engine.snapshot`)."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import Any

from headway.telemetry.states import State, add_to

__all__ = ["gauges"]


def gauges(snapshots: Iterable[Mapping[str, Any]]) -> State:
    """Families of `GAUGES` that engines know of; what a snapshot lacks is left out."""
    from headway import __version__

    state: State = {}
    add_to(state, "headway_build_info", (__version__, platform.python_version()), (1.0,))
    for snapshot in snapshots:
        add_to(state, "headway_in_flight", (), (_number(snapshot.get("in_flight")),))
        _queued(state, snapshot)
        for upstream in _list(snapshot.get("upstreams")):
            _upstream(state, upstream)
    return state


def _queued(state: State, snapshot: Mapping[str, Any]) -> None:
    by_priority = snapshot.get("queued_by_priority")
    if isinstance(by_priority, Mapping):
        for priority in ("high", "normal", "low"):
            add_to(state, "headway_queued", (priority,), (_number(by_priority.get(priority)),))
    else:
        add_to(state, "headway_queued", ("normal",), (_number(snapshot.get("queued")),))


def _upstream(state: State, upstream: Mapping[str, Any]) -> None:
    name = str(upstream.get("name", ""))
    for limit in _list(upstream.get("limits")):
        labels = name, str(limit.get("scope", "")), str(limit.get("kind", ""))
        for family, key in (("headway_limit_use_ratio", "share"), ("headway_limit_per_minute", "per_min")):
            if limit.get(key) is not None:
                add_to(state, family, labels, (_number(limit[key]),))
    breaker = upstream.get("breaker")
    if breaker:
        for known in ("closed", "half-open", "open"):
            add_to(state, "headway_breaker_state", (name, known), (float(known == breaker),))


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
