"""What the panel of a job shows, as plain values, and what counts results for it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from headway.report.money import kind_of
from headway.types import Result

__all__ = ["BatchPanel", "LanePanel", "LaneView", "PanelCounts", "PanelState"]

_WINDOW = 64
_WINDOW_STEP_S = 0.25


class BatchPanel(msgspec.Struct, frozen=True, kw_only=True):
    """One batch at the provider."""

    id: str
    state: str
    rows: int
    age_s: float


class LanePanel(msgspec.Struct, frozen=True, kw_only=True):
    """Where a lane stands. Rows."""

    name: str
    done: int = 0
    out: int = 0
    waiting: int = 0
    batches: tuple[BatchPanel, ...] = ()
    trouble: str = ""
    """What the lane is waiting out."""


class PanelState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the panel shows. Times in seconds, money in US dollars; None: not known, or there is none."""

    label: str = ""
    total: int | None = None
    done: int = 0
    resumed: int = 0
    """Of those, rows that an earlier run had finished."""
    rows_per_s: float = 0.0
    requests_per_min: float | None = None
    """Requests sent, in relation to what the provider allows."""
    allowed_rpm: float | None = None
    tokens_per_min: float | None = None
    allowed_tpm: float | None = None
    in_flight: int = 0
    queued: int = 0
    lanes: tuple[LanePanel, ...] = ()
    eta_s: float | None = None
    deadline_left_s: float | None = None
    dollars: float | None = 0.0
    budget_usd: float | None = None
    hits: int = 0
    joined: int = 0
    throttled: int = 0
    retries: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    """Kind -> rows, the most frequent first."""


class BatchView(Protocol):
    """A batch of a lane; `jobs.lanes.BatchView` is one."""

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def rows(self) -> int: ...

    @property
    def age_s(self) -> float: ...


class LaneView(Protocol):
    """Where a lane stands; `jobs.lanes.LaneView` is one."""

    @property
    def name(self) -> str: ...

    @property
    def waiting(self) -> int: ...

    @property
    def out(self) -> int: ...

    @property
    def batches(self) -> Iterable[BatchView]: ...
    @property
    def trouble(self) -> str: ...


class PanelCounts:
    """Counts a run's results, half a microsecond each, and puts a `PanelState` together a few times a second.

    Args:
        now_s: When the run started, by the clock whose times `state` is given.
    """

    def __init__(self, now_s: float) -> None:
        self.done = self.resumed = self.failed = 0
        self.dollars: float | None = 0.0
        """Of this run's rows; None when one of them is unknown."""
        self.dollars_before = 0.0
        """Of the rows that earlier runs had finished."""
        self._hits = self._joined = self._retries = 0
        self._failures: Counter[str] = Counter()
        self._by_lane: Counter[str] = Counter()
        self._recent: deque[tuple[float, int, int]] = deque([(now_s, 0, 0)], maxlen=_WINDOW)

    def add(self, result: Result, resumed: bool = False) -> None:
        """Count a row that is done."""
        self.done += 1
        if result.outcome != "ok":
            self.failed += 1
            self._failures[result.outcome] += 1
        if resumed:
            self.resumed += 1
            self.dollars_before += result.dollars or 0.0
            return
        self._by_lane[result.lane or "online"] += 1
        if result.dollars is None:
            self.dollars = None
        elif self.dollars is not None:
            self.dollars += result.dollars
        kind = kind_of(result)
        if kind == "hit":
            self._hits += 1
        elif kind == "join":
            self._joined += 1
        elif result.attempts > 1 + result.repairs:
            self._retries += result.attempts - 1 - result.repairs

    def state(
        self,
        now_s: float,
        *,
        label: str = "",
        total: int | None = None,
        live: Mapping[str, Any] | None = None,
        lanes: Iterable[LaneView] = (),
        deadline_left_s: float | None = None,
        budget_usd: float | None = None,
    ) -> PanelState:
        """Where the run stands.

        Args:
            now_s: By the clock of the constructor.
            label: The panel's title.
            total: Rows in all; None while that is not known.
            live: `Engine.snapshot()`.
            lanes: Views of the open lanes.
            deadline_left_s: Seconds until the deadline; None: there is none.
            budget_usd: What the job may spend, earlier runs included.
        """
        live = live or {}
        fresh, attempts = self.done - self.resumed, int(live.get("attempts") or 0)
        if now_s - self._recent[-1][0] >= _WINDOW_STEP_S:
            self._recent.append((now_s, fresh, attempts))
        from_s, fresh_then, attempts_then = self._recent[0]
        span_s = now_s - from_s
        rate = (fresh - fresh_then) / span_s if span_s > 0 else 0.0
        views = tuple(self._lane(view) for view in lanes)
        # What is in batches comes all at once, whenever that is: a rate says nothing about it.
        told = total is not None and rate > 0 and not any(view.batches for view in views)
        spent = self.dollars
        if spent is not None and budget_usd is not None:
            spent += self.dollars_before
        return PanelState(
            label=label,
            total=total,
            done=self.done,
            resumed=self.resumed,
            rows_per_s=rate,
            requests_per_min=60.0 * (attempts - attempts_then) / span_s if span_s > 0 else None,
            allowed_rpm=live.get("allowed_rpm"),
            in_flight=int(live.get("in_flight") or 0),
            queued=int(live.get("queued") or 0),
            lanes=views,
            eta_s=((total or 0) - self.done) / rate if told else None,
            deadline_left_s=deadline_left_s,
            dollars=spent,
            budget_usd=budget_usd,
            hits=self._hits,
            joined=self._joined,
            throttled=int(live.get("throttled") or 0),
            retries=self._retries,
            failures=tuple(self._failures.most_common()),
        )

    def _lane(self, view: LaneView) -> LanePanel:
        return LanePanel(
            name=view.name,
            done=self._by_lane[view.name],
            out=view.out,
            waiting=view.waiting,
            trouble=view.trouble,
            batches=tuple(
                BatchPanel(id=one.id, state=one.state, rows=one.rows, age_s=one.age_s) for one in view.batches
            ),
        )
