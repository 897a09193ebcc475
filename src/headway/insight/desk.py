"""Answers the questions of the gateway's pages: one call of `answer` for each, whatever it takes of the log."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from headway.errors import ConfigError
from headway.insight.calls import detail_of, failed, line_of
from headway.insight.details import PipelineLines, RunLines
from headway.insight.documents import CallLine, CallLines, Filters, Overview
from headway.insight.fold import Rollup
from headway.insight.follower import Follower
from headway.insight.overview import Now, overview_of
from headway.insight.view import View, matches, rounded
from headway.store.call_reader import CallLogReader
from headway.store.rows import Taken

__all__ = ["Ask", "Desk"]

VIEWS_MAX: Final = 64
WEIGHT_MAX: Final = 400_000
"""Of all views; some 60 MB."""
NO_KEY: Final = "no key"
_DIGEST: Final = re.compile("[0-9a-f]{16}")
"""What stands for whoever brought a credential that is no key of the gateway's."""
LINES: Final = 50
FIRST_S: Final = 0.6
"""How long after it was asked for the first view of a log waits for older calls."""
STEP_S: Final = 0.05
SCAN_ROWS, SCAN_S = 2_000, 0.1
"""How far a list of calls is looked for in one go."""
ATTEMPTS_MAX: Final = 200


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question."""

    what: str
    """"overview", "calls", "call", "pipelines", "runs", "run" or "names"."""
    filters: Filters = Filters()
    now: Now = Now()
    asked_wall_s: float | None = None
    """When, Unix seconds; None: just now."""
    id: str = ""
    """Of a call, a pipeline or a run."""
    outcome: str = ""
    before: str = ""
    limit: int = LINES
    names: dict[str, str] = {}
    """What keys are called, by id."""
    keyed: bool = True
    """The gateway has keys; where it has none, whoever calls has "no key"."""


class _Page:
    """A view, and the last calls that it shows, the latest first."""

    __slots__ = ("lines", "rollup", "view")

    def __init__(self, filters: Filters, rollup: Rollup) -> None:
        self.view = View(filters)
        self.rollup = rollup  # of one log; another log's needs another page
        self.lines: deque[CallLine] = deque(maxlen=LINES)


class Desk:
    """See the module. For one thread.

    Args:
        path: The call log; "" where none is written.
        wall_s: Unix seconds.
    """

    def __init__(self, path: str | os.PathLike[str], wall_s: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._wall_s = wall_s
        self._follower = Follower(path, wall_s) if str(path) else None
        self._pages: OrderedDict[Filters, _Page] = OrderedDict()
        self._nothing = Rollup(wall_s())
        self._names: dict[str, str] = {}
        self._keyed = True
        self._waited = 0  # the log whose first view was waited for
        self._encode = msgspec.json.Encoder().encode

    def follow(self) -> bool:
        """Read on a little; whether there is more to be read."""
        if self._follower is None:
            return False
        more = self._follower.step(STEP_S)
        self._hand_out()
        return more

    def answer(self, ask: Ask) -> tuple[int, bytes]:
        """A status and a JSON document: the answer, or what is wrong."""
        answers: dict[str, Callable[[Ask], tuple[int, Any]]] = {
            "overview": self._overview,
            "calls": self._calls,
            "call": self._call,
            "pipelines": self._pipelines,
            "runs": self._runs,
            "run": self._run,
            "names": self._keep_names,
        }
        try:
            status, document = answers[ask.what](ask)
        except ConfigError as problem:
            status, document = 503, _error(str(problem), "log_unreadable")
        return status, self._encode(document)

    # -- the first view --------------------------------------------------------------------------------------------

    def _overview(self, ask: Ask) -> tuple[int, Overview]:
        follower = self._follower
        if follower is not None:
            since_s = 0.0 if ask.asked_wall_s is None else max(0.0, self._wall_s() - ask.asked_wall_s)
            known = follower.number == self._waited and follower.there
            follower.step(STEP_S if known else max(STEP_S, FIRST_S - since_s))
            self._waited = follower.number
        self._hand_out()
        page = self._page(rounded(ask.filters))
        now_wall_s = self._wall_s()
        there = follower is not None and follower.there
        log = ("loading" if self._loading() else "on") if there else "off"
        document = overview_of(
            page.view,
            page.rollup,
            ask.now,
            now_wall_s=now_wall_s,
            name_of=self._name_of,
            log=log,
            log_note="" if there else self._why_none(),
            calls=[line for line in page.lines if _line_ended_s(line) >= now_wall_s - ask.filters.window_s],
        )
        self._make_room()
        return 200, replace(document, filters=ask.filters)

    def _why_none(self) -> str:
        return self._follower.log.problem if self._follower is not None else "The log is switched off (log)."

    def _loading(self) -> bool:
        return self._follower is not None and self._follower.loading

    def _page(self, filters: Filters) -> _Page:
        rollup = self._follower.rollup if self._follower is not None else self._nothing
        page = self._pages.get(filters)
        if page is None or page.rollup is not rollup:
            page = self._pages[filters] = _Page(filters, rollup)
            page.lines.extend(self._lines(filters, "", "", LINES)[0])
        self._pages.move_to_end(filters)
        return page

    def _make_room(self) -> None:
        """Forget the views that were not looked at for longest, but for the last one."""
        weight = sum(page.view.weight for page in self._pages.values())
        while len(self._pages) > VIEWS_MAX or (weight > WEIGHT_MAX and len(self._pages) > 1):
            weight -= self._pages.popitem(last=False)[1].view.weight

    def _name_of(self, id_: str) -> str:
        name = self._names.get(id_)
        if name is None:
            return NO_KEY if not self._keyed and _DIGEST.fullmatch(id_) else id_
        return name

    def _hand_out(self) -> None:
        """Put calls that have just come in front of the lists that they belong to."""
        if self._follower is None or not self._follower.fresh:
            return
        fresh, self._follower.fresh = self._follower.fresh, []
        for page in self._pages.values():
            found: list[CallLine] = []
            known = {line.id for line in page.lines}  # what came while the list was read
            for row in reversed(fresh):
                if len(found) == LINES:
                    break
                if row.id not in known and matches(page.view.filters, (row.tenant, row.model, row.path, row.upstream)):
                    found.append(line_of(row, self._name_of))
            page.lines.extendleft(reversed(found))

    def _keep_names(self, ask: Ask) -> tuple[int, None]:
        self._names, self._keyed = ask.names, ask.keyed
        self._pages.clear()
        return 200, None

    # -- calls -----------------------------------------------------------------------------------------------------

    def _calls(self, ask: Ask) -> tuple[int, CallLines]:
        lines, next_ = self._lines(ask.filters, ask.outcome, ask.before, ask.limit)
        return 200, CallLines(calls=lines, more=bool(next_), next=next_)

    def _lines(self, filters: Filters, outcome: str, before: str, limit: int) -> tuple[list[CallLine], str]:
        """Calls of the window that match, the latest first, and from where there may be more of them."""
        follower = self._follower
        if follower is None or not follower.log.look():
            return [], ""
        row = follower.log.row_of(before) if before else follower.log.last("calls") + 1
        since_s, until_s = self._wall_s() - filters.window_s, time.perf_counter() + SCAN_S
        found: list[CallLine] = []
        last, size = "", max(limit, LINES)
        while row > 0 and time.perf_counter() < until_s:
            row, rows = follower.log.before("calls", row, size)
            size = SCAN_ROWS
            for one in rows:
                if _wanted(one, filters, outcome):
                    if len(found) == limit:
                        return found, found[-1].id
                    found.append(line_of(one, self._name_of))
            if rows and _ended_s(rows[-1]) < since_s:
                return [line for line in found if _line_ended_s(line) >= since_s], ""
            last = rows[-1].id if rows else last
        return found, last if row > 0 else ""

    def _call(self, ask: Ask) -> tuple[int, Any]:
        row = self._follower.log.row_of(ask.id) if self._follower is not None and self._follower.log.look() else 0
        taken = self._follower.log.before("calls", row + 1, 1)[1] if self._follower is not None and row else []
        if not taken:
            return 404, _error("there is no call of that id in the log", "unknown_call")
        with CallLogReader(self._path) as log:
            calls = log.calls(id_=ask.id, limit=1)
            if not calls:
                return 404, _error("there is no call of that id in the log", "unknown_call")
            flight = calls[0].flight_id
            attempts = log.attempts(flight_id=flight, limit=ATTEMPTS_MAX) if flight else []
        return 200, detail_of(line_of(taken[0], self._name_of), calls[0], attempts)

    # -- pipelines -------------------------------------------------------------------------------------------------

    def _steps(self, **asked: Any) -> list[Any]:
        from headway.insight.runs import ROWS_MAX

        if self._follower is None or not self._follower.log.look():
            return []
        with CallLogReader(self._path) as log:
            return log.steps(limit=ROWS_MAX, **asked)

    def _pipelines(self, ask: Ask) -> tuple[int, PipelineLines]:
        from headway.insight.runs import pipelines_of

        rows = self._steps(since_wall_s=self._wall_s() - ask.filters.window_s)
        return 200, PipelineLines(pipelines=pipelines_of(rows))

    def _runs(self, ask: Ask) -> tuple[int, RunLines]:
        from headway.insight.runs import runs_of

        return 200, RunLines(runs=runs_of(self._steps(pipeline=ask.id)))

    def _run(self, ask: Ask) -> tuple[int, Any]:
        from headway.insight.runs import run_detail

        try:
            return 200, run_detail(self._steps(run=ask.id))
        except ValueError:
            return 404, _error("there is no run of that id in the log", "unknown_run")


def _wanted(row: Taken, filters: Filters, outcome: str) -> bool:
    if outcome and (outcome == "failed") != failed(row.outcome):
        return False
    if outcome == "ok" and row.outcome != "ok":
        return False
    return matches(filters, (row.tenant, row.model, row.path, row.upstream))


def _ended_s(row: Taken) -> float:
    return row.start_wall_s + (0.0 if row.ended_at_s is None else row.ended_at_s - row.started_at_s)


def _line_ended_s(line: CallLine) -> float:
    return line.start_wall_s + (line.total_s or 0.0)


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}
