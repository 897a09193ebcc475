"""Steps that have become slower than they ever were, and what else has changed with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from headway.pipeline.explain.graph import Graph, Node, pacing_s
from headway.pipeline.explain.history import is_timed
from headway.pipeline.explain.shift import Shift, holm, shift_of
from headway.report import format as fmt

__all__ = ["END_TO_END", "Regression", "Watch", "picked", "regressions_of", "split"]

END_TO_END = "(end to end)"
"""Stands for the whole run where steps are named."""
_CHANGED = 0.15
"""A mean of tokens or requests that moved by less than this is not worth a word."""
_WAIT_SHARE = 0.3
"""Pacing is worth a word where so much of the slowdown is it."""
_HITS_LOST = 0.1


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as a regression."""

    recent_runs: int = 100
    """The youngest runs, which are compared with all before them."""
    recent_since_wall_s: float | None = None
    """Instead: the runs since then, Unix seconds."""
    slower: float = 0.2
    """By how much a p95 must be up, against its history and the worst stretch in it: 0.2 is 20 %."""
    false_alarms: float = 0.01
    """How likely one look at all steps may name any where nothing has changed."""


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """A step whose p95 has gone up."""

    pipeline: str
    step: str
    before_count: int
    before_p95_s: float
    worst_p95_s: float
    """Of the worst earlier stretch of as many runs; 0 where there is none."""
    now_count: int
    now_p95_s: float
    p: float
    """Corrected for the number of steps looked at."""
    why: tuple[str, ...]
    """What changed with it, e.g. "writes 40 % more tokens"."""

    @property
    def sentence(self) -> str:
        """It in a sentence or two."""
        who = f"{fmt.printable(self.pipeline)}: {fmt.printable(self.step)}"
        was, now = fmt.seconds(self.before_p95_s), fmt.seconds(self.now_p95_s)
        up = fmt.change(self.before_p95_s, self.now_p95_s)
        counts = f"last {self.now_count:,} runs against {self.before_count:,} before"
        told = f"{who} has become slower: p95 {was} -> {now} ({up}; {counts})"
        return f"{told}. It {', and '.join(self.why)}." if self.why else f"{told}."


class _Tested(NamedTuple):
    pipeline: str
    step: str
    shift: Shift
    before: list[Node]
    now: list[Node]


def split(graphs: Sequence[Graph], watch: Watch) -> tuple[Sequence[Graph], Sequence[Graph]]:
    """Runs, oldest first, as (before, recent)."""
    if watch.recent_since_wall_s is None:
        at = max(0, len(graphs) - watch.recent_runs)
    else:
        since = watch.recent_since_wall_s
        at = next((i for i, graph in enumerate(graphs) if graph.run.start_wall_s >= since), len(graphs))
    return graphs[:at], graphs[at:]


def regressions_of(pipelines: Mapping[str, Sequence[Graph]], watch: Watch) -> tuple[list[Regression], int]:
    """The steps, and whole pipelines, that have become slower; and how many there was enough history to judge.

    A run gives one value to a step's test: the time of the step in the middle of those of its name, for what runs side
    by side shares the same good or bad minute.

    Args:
        pipelines: Runs by pipeline, oldest first.
        watch: What counts.
    """
    tested: list[_Tested] = []
    for name, graphs in pipelines.items():
        before, now = split(graphs, watch)
        for step in dict.fromkeys(node.row.step for graph in now for node in graph.nodes.values()):
            was, has_become = picked(before, step), picked(now, step)
            shift = shift_of(_times(was), _times(has_become))
            if shift is not None:
                tested.append(_Tested(name, step, shift, was, has_become))
        whole = shift_of(_ends(before), _ends(now))
        if whole is not None:
            tested.append(_Tested(name, END_TO_END, whole, [], []))
    ps = holm([one.shift.p for one in tested])
    found = [
        Regression(
            pipeline=one.pipeline,
            step=one.step,
            before_count=one.shift.before_count,
            before_p95_s=one.shift.before_p95_s,
            worst_p95_s=one.shift.worst_p95_s,
            now_count=one.shift.now_count,
            now_p95_s=one.shift.now_p95_s,
            p=p,
            why=tuple(_why(one.before, one.now)) if one.before else (),
        )
        for one, p in zip(tested, ps, strict=True)
        if p <= watch.false_alarms and one.shift.beyond(watch.slower)
    ]
    return found, len(tested)


def _why(before: Sequence[Node], now: Sequence[Node]) -> list[str]:
    """What else has changed of a step that has become slower; at least one of each."""
    told = []
    written = _ratio(before, now, lambda node: node.row.output_tokens)
    pace = _ratio(before, now, lambda node: node.end_s - node.started_s) / written if written > 0 else 0.0
    if written >= 1 + _CHANGED:
        same = ", which explains it: a token takes as long as before" if pace <= 1 + _CHANGED else ""
        told.append(f"writes {_whole(written - 1)} more tokens{same}")
    read = _ratio(before, now, lambda node: node.row.input_tokens)
    if read >= 1 + _CHANGED:
        told.append(f"reads {_whole(read - 1)} more tokens")
    longer_s = _mean(now, lambda node: node.end_s - node.started_s) - _mean(before, lambda n: n.end_s - n.started_s)
    waits_s = _mean(now, pacing_s) - _mean(before, pacing_s)
    if waits_s > 0 and waits_s >= _WAIT_SHARE * longer_s:
        told.append(f"waits {fmt.seconds(waits_s)} longer for rate limits")
    tries = _ratio(before, now, lambda node: node.row.attempts + node.row.tries - 1)
    if tries >= 1 + _CHANGED:
        told.append(f"sends {_whole(tries - 1)} more requests")
    hits = _hit_share(before), _hit_share(now)
    if hits[0] is not None and hits[1] is not None and hits[0] - hits[1] >= _HITS_LOST:
        told.append(f"is answered from the cache in {fmt.percent(hits[1])} of its calls, not {fmt.percent(hits[0])}")
    return told


def _whole(ratio: float) -> str:
    return f"{ratio * 100:.0f} %"


def _ends(graphs: Sequence[Graph]) -> list[float]:
    return [graph.end_s for graph in graphs if graph.run.outcome == "ok" and graph.run.end_s is not None]


def picked(graphs: Sequence[Graph], step: str) -> list[Node]:
    """Of each run, the middle one of the steps of that name whose time counts."""
    found = []
    for graph in graphs:
        nodes = [node for node in graph.nodes.values() if node.row.step == step and is_timed(node)]
        if nodes:
            found.append(nodes[len(nodes) // 2])
    return found


def _times(nodes: Sequence[Node]) -> list[float]:
    return [node.end_s - node.started_s for node in nodes]


def _mean(nodes: Sequence[Node], value_of: Callable[[Node], float]) -> float:
    return sum(value_of(node) for node in nodes) / len(nodes)


def _ratio(before: Sequence[Node], now: Sequence[Node], value_of: Callable[[Node], float]) -> float:
    """The new mean over the old one; 0 where that was nothing."""
    was = _mean(before, value_of)
    return _mean(now, value_of) / was if was > 0 else 0.0


def _hit_share(nodes: Sequence[Node]) -> float | None:
    calls = sum(node.row.calls for node in nodes)
    return sum(node.row.hits for node in nodes) / calls if calls else None
