"""Runs of pipelines: what they come to, one of them as a waterfall, and the steps that its time hung on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from headway.insight.details import PipelineLine, RunDetail, RunLine, Span
from headway.insight.documents import Quantiles
from headway.insight.histogram import add, quantiles
from headway.pipeline.explain.critical import critical_path
from headway.pipeline.explain.graph import Graph, Node, graph_of, graphs_of, pacing_s
from headway.types.steps import StepRow

__all__ = ["ROWS_MAX", "RUNS_MAX", "pipelines_of", "run_detail", "runs_of"]

ROWS_MAX: Final = 10_000
"""Steps that are looked at for one document: about half a second's work."""
RUNS_MAX: Final = 200
SPANS_MAX: Final = 2_000


def pipelines_of(rows: Sequence[StepRow]) -> list[PipelineLine]:
    """Of each pipeline what its runs come to; the one that ran last is first."""
    by_name: defaultdict[str, list[Graph]] = defaultdict(list)
    for graph in graphs_of(rows):
        by_name[graph.run.pipeline].append(graph)
    lines = [_pipeline(name, graphs) for name, graphs in by_name.items()]
    latest = {name: graphs[-1].run.start_wall_s for name, graphs in by_name.items()}
    return sorted(lines, key=lambda line: -latest[line.pipeline])


def runs_of(rows: Sequence[StepRow]) -> list[RunLine]:
    """The runs among these rows, the latest first."""
    return [_line(graph) for graph in reversed(graphs_of(rows))][:RUNS_MAX]


def run_detail(rows: Sequence[StepRow]) -> RunDetail:
    """One run. Raises `ValueError` where the rows are not those of one."""
    graph = graph_of(rows)
    spans = [span for node in graph.nodes.values() for span in _spans(node)]
    path = critical_path(graph)
    critical = list(dict.fromkeys(f"{link.step}#{link.index}" for link in path.links))
    return RunDetail(run=_line(graph), spans=spans[:SPANS_MAX], critical=critical[:SPANS_MAX])


def _line(graph: Graph) -> RunLine:
    run = graph.run
    return RunLine(
        run=run.run,
        pipeline=run.pipeline,
        start_wall_s=run.start_wall_s,
        outcome="running" if run.end_s is None and run.outcome == "ok" else run.outcome,
        total_s=run.end_s,
        dollars=_dollars([node.row for node in graph.nodes.values()]),
    )


def _dollars(rows: Sequence[StepRow]) -> float | None:
    known = [row.dollars for row in rows if row.dollars is not None]
    return sum(known) if len(known) == len(rows) else None


def _times(values: Sequence[float]) -> Quantiles:
    histogram: dict[int, int] = {}
    for value in values:
        add(histogram, value)
    return quantiles(histogram)


def _pipeline(name: str, graphs: Sequence[Graph]) -> PipelineLine:
    well = [graph for graph in graphs if graph.run.outcome == "ok" and graph.run.end_s is not None]
    on_path: defaultdict[str, float] = defaultdict(float)
    for graph in well[-RUNS_MAX:]:
        for link in critical_path(graph).links:
            on_path[link.step] += link.took_s
    path_s = sum(graph.end_s for graph in well[-RUNS_MAX:])
    by_step: defaultdict[str, list[Node]] = defaultdict(list)
    for graph in graphs:
        for node in graph.nodes.values():
            by_step[node.row.step].append(node)
    return PipelineLine(
        pipeline=name,
        runs=len(graphs),
        failed=sum(graph.run.outcome not in ("ok", "cancelled") for graph in graphs),
        total=_times([graph.end_s for graph in well]),
        dollars=_dollars([node.row for graph in graphs for node in graph.nodes.values()]),
        last_run=graphs[-1].run.run,
        steps=[_step(step, nodes, on_path[step] / path_s if path_s > 0 else None) for step, nodes in by_step.items()],
    )


def _step(step: str, nodes: Sequence[Node], path_share: float | None) -> dict[str, Any]:
    times = _times([node.end_s - node.started_s for node in nodes if node.row.started_s is not None])
    return {
        "step": step,
        "runs": len({node.row.run for node in nodes}),
        "p50_s": times.p50_s,
        "p95_s": times.p95_s,
        "dollars": _dollars([node.row for node in nodes]),
        "path_share": path_share,
    }


def _spans(node: Node) -> list[Span]:
    """A step's wait (for its own limit, and its calls' for the provider's), and the rest."""
    row = node.row
    lane = f"{row.step}#{row.index}"
    went_s = min(node.end_s, node.started_s + pacing_s(node))
    notes = [
        *([f"first chunk after {node.first_s - node.started_s:.3f} s"] if node.streams else []),
        *([f"{row.calls} calls, {row.attempts} tries, {row.hits} hits"] if row.calls else []),
        *(["smaller model"] if row.smaller else []),
        *(["started ahead"] if row.speculative else []),
        *([row.error] if row.error else []),
    ]
    found = []
    if went_s > node.ready_s:
        found.append(Span(lane=lane, kind="wait", start_s=node.ready_s, end_s=went_s))
    found.append(Span(lane=lane, kind=row.outcome, start_s=went_s, end_s=node.end_s, note="; ".join(notes)))
    return found
