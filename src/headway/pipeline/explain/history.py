"""What many runs of a pipeline say of each step: times, how often it mattered, and what being faster would do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headway.pipeline.explain.critical import critical_path, slacks_s
from headway.pipeline.explain.graph import Graph, Node, pacing_s
from headway.pipeline.explain.lines import total_dollars
from headway.pipeline.explain.quantiles import quantile_or_none
from headway.pipeline.explain.replay import Replay
from headway.types.steps import StepRow

__all__ = ["Gain", "PipelineFigures", "StepFigures", "Times", "Window", "figures_of", "is_timed"]

_WINDOWS_MAX = 12
_WINDOW_RUNS_MIN = 20
_REPLAYED_MAX = 200_000
"""Steps moved on paper, all what-ifs of a pipeline together: about 2 s."""
_TIMED = ("ok", "default", "timeout")


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds. p95_s is None below 20 values, p99_s below 100: fewer do not reach so far."""

    count: int = 0
    mean_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One of at most 12 stretches of the history, each of as many runs."""

    start_wall_s: float
    times: Times


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What the end-to-end time would have come down by, had a step been faster; each run replayed as a graph."""

    faster: float
    """By how much the step's own time is shorter, 0..1."""
    runs: int
    """Runs replayed: the youngest."""
    mean_s: float
    p50_s: float
    p95_s: float | None
    """None below 20 runs."""


class StepFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A step over many runs. Several steps of one name in a run (a fan-out) are counted each."""

    step: str
    count: int
    runs: int
    """In which it was called."""
    times: Times
    """From start to end, of those that ended well, with a default or by their timeout."""
    first_chunk: Times
    """From start to first chunk, of those that stream."""
    limit_mean_s: float
    """Waited to start: for its own limit (`concurrency`), or for the event loop while that was busy."""
    pacing_mean_s: float
    """Its calls waited for the provider's limits, or for money."""
    critical_share: float
    """Of the runs in which it was called: those in which it was on the critical path."""
    path_share: float
    """What it took of the end-to-end time on the critical path, waits included; over all runs."""
    slack_mean_s: float | None
    outcomes: Mapping[str, int]
    input_tokens_mean: float
    output_tokens_mean: float
    hit_share: float | None
    """Of its calls, those answered from a cache or by joining; None: it makes none."""
    dollars: float | None
    """A run, on average; None where a part of it is unknown."""
    faster: Gain | None
    over_time: tuple[Window, ...]


class PipelineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline over many runs."""

    pipeline: str
    runs: int
    from_wall_s: float
    to_wall_s: float
    outcomes: Mapping[str, int]
    times: Times
    """End to end, of the runs that ended well."""
    first_chunk: Times
    """The same, of those that stream."""
    dollars: float | None
    """A run, on average."""
    program_share: float
    """What the program itself took of the end-to-end time, between steps."""
    steps: tuple[StepFigures, ...]
    """In the order in which they were first called."""
    over_time: tuple[Window, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def is_timed(node: Node) -> bool:
    """Whether its time says how long the step takes: a step that failed at once, or was cut off, says nothing."""
    return node.row.outcome in _TIMED and node.row.started_s is not None and node.row.end_s is not None


def figures_of(graphs: Sequence[Graph], *, faster: float = 0.3) -> PipelineFigures:
    """The figures of one pipeline.

    Args:
        graphs: Its runs, oldest first, at least one.
        faster: By how much a step is shortened to see what that would do, 0..1.
    """
    runs = [graph.run for graph in graphs]
    well = [graph for graph in graphs if graph.run.outcome == "ok" and graph.run.end_s is not None]
    paths = [critical_path(graph) for graph in well]
    names = dict.fromkeys(node.row.step for graph in graphs for node in graph.nodes.values())
    total_s = sum(path.end_s for path in paths)
    on_path: defaultdict[str, float] = defaultdict(float)
    critical: Counter[str] = Counter()
    for path in paths:
        critical.update({link.step for link in path.links})
        for link in path.links:
            on_path[link.step] += link.took_s
    gains = _gains(well, list(names), faster)
    slacks = _slacks(well)
    steps = tuple(
        _step(
            name,
            graphs,
            critical=critical[name],
            path_share=on_path[name] / total_s if total_s > 0 else 0.0,
            slack=slacks.get(name, []),
            gain=gains.get(name),
        )
        for name in names
    )
    firsts = [
        graph.run.first_chunk_s
        for graph in well
        if graph.run.first_chunk_s is not None and graph.run.first_chunk_s < graph.end_s
    ]
    return PipelineFigures(
        pipeline=runs[0].pipeline,
        runs=len(graphs),
        from_wall_s=runs[0].start_wall_s,
        to_wall_s=runs[-1].start_wall_s,
        outcomes=dict(Counter(run.outcome for run in runs)),
        times=_times_of([graph.end_s for graph in well]),
        first_chunk=_times_of(firsts),
        dollars=_per_run(graphs, [node.row for graph in graphs for node in graph.nodes.values()]),
        program_share=sum(path.program_s for path in paths) / total_s if total_s > 0 else 0.0,
        steps=steps,
        over_time=_over_time(well, lambda graph: [graph.end_s]),
    )


def _times_of(values: Sequence[float]) -> Times:
    """Mean and quantiles of times in seconds, in any order."""
    if not values:
        return Times()
    ranked = sorted(values)
    return Times(
        count=len(ranked),
        mean_s=sum(ranked) / len(ranked),
        p50_s=quantile_or_none(ranked, 0.5),
        p95_s=quantile_or_none(ranked, 0.95),
        p99_s=quantile_or_none(ranked, 0.99),
    )


def _step(
    name: str,
    graphs: Sequence[Graph],
    *,
    critical: int,
    path_share: float,
    slack: Sequence[float],
    gain: Gain | None,
) -> StepFigures:
    by_run = [[node for node in graph.nodes.values() if node.row.step == name] for graph in graphs]
    nodes = [node for found in by_run for node in found]
    began = [node for node in nodes if node.row.started_s is not None]
    timed = [node for node in nodes if is_timed(node)]
    called_well = sum(bool(found) for found, graph in zip(by_run, graphs, strict=True) if graph.run.outcome == "ok")
    calls = sum(node.row.calls for node in nodes)
    return StepFigures(
        step=name,
        count=len(nodes),
        runs=sum(bool(found) for found in by_run),
        times=_times_of([node.end_s - node.started_s for node in timed]),
        first_chunk=_times_of([node.first_s - node.started_s for node in timed if node.streams]),
        limit_mean_s=_mean([node.started_s - node.ready_s for node in began]),
        pacing_mean_s=_mean([pacing_s(node) for node in began]),
        critical_share=critical / called_well if called_well else 0.0,
        path_share=path_share,
        slack_mean_s=_mean(slack) if slack else None,
        outcomes=dict(Counter(node.row.outcome for node in nodes)),
        input_tokens_mean=_mean([node.row.input_tokens for node in timed]),
        output_tokens_mean=_mean([node.row.output_tokens for node in timed]),
        hit_share=sum(node.row.hits for node in nodes) / calls if calls else None,
        dollars=_per_run(graphs, [node.row for node in nodes]),
        faster=gain,
        over_time=_over_time(
            graphs,
            lambda graph: [n.end_s - n.started_s for n in graph.nodes.values() if n.row.step == name and is_timed(n)],
        ),
    )


def _gains(graphs: Sequence[Graph], names: Sequence[str], faster: float) -> dict[str, Gain]:
    """What every step's being faster would have done, over the youngest runs that there is time for."""
    replayed: list[Replay] = []
    room = _REPLAYED_MAX
    for graph in reversed(graphs):
        room -= len(graph.nodes) * (1 + len(names))
        if room < 0 and replayed:
            break
        replayed.append(Replay(graph))
    if not replayed:
        return {}
    # Both ends are replays: what the model of a run gets wrong is in both.
    before = [replay.end_s({}) for replay in replayed]
    found = {}
    for name in names:
        after = [replay.end_s({name: 1.0 - faster}) for replay in replayed]
        was, would_be = _times_of(before), _times_of(after)
        found[name] = Gain(
            faster=faster,
            runs=len(replayed),
            mean_s=_mean(before) - _mean(after),
            p50_s=(was.p50_s or 0.0) - (would_be.p50_s or 0.0),
            p95_s=None if was.p95_s is None or would_be.p95_s is None else was.p95_s - would_be.p95_s,
        )
    return found


def _slacks(graphs: Sequence[Graph]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for graph in graphs:
        for index, slack_s in slacks_s(graph).items():
            found.setdefault(graph.nodes[index].row.step, []).append(slack_s)
    return found


def _over_time(graphs: Sequence[Graph], values_of: Callable[[Graph], list[float]]) -> tuple[Window, ...]:
    count = min(_WINDOWS_MAX, len(graphs) // _WINDOW_RUNS_MIN)
    windows = []
    for i in range(count):
        part = graphs[i * len(graphs) // count : (i + 1) * len(graphs) // count]
        values = [value for graph in part for value in values_of(graph)]
        windows.append(Window(start_wall_s=part[0].run.start_wall_s, times=_times_of(values)))
    return tuple(windows)


def _per_run(graphs: Sequence[Graph], rows: list[StepRow]) -> float | None:
    total = total_dollars(rows)
    return None if total is None else total / len(graphs)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
