"""A run as trace events, which chrome://tracing, Perfetto and speedscope open.

Source: the Trace Event Format of the Chromium project: "X" is a stretch of time, "s" and "f" are the ends of an arrow,
"M" names things; times are in microseconds.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import Any

from headway.pipeline.explain.graph import Graph, Node, pacing_s
from headway.types.steps import Edge

__all__ = ["trace_of"]

_US = 1e6


def trace_of(graph: Graph, critical: Collection[int]) -> dict[str, Any]:
    """The run, its steps and what each waited for. Steps that overlap are put on lanes of their own.

    Args:
        graph: The run.
        critical: Indices of the steps of its critical path.
    """
    run = graph.run
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": f"{run.pipeline} {run.run}"}},
        _stretch(run.pipeline, 0, 0.0, graph.end_s, {"outcome": run.outcome}),
    ]
    lanes = _lanes(graph)
    for index, node in graph.nodes.items():
        if node.row.started_s is None:
            continue
        lane = lanes[index]
        events.append(_stretch(node.row.step, lane, node.started_s, node.end_s, _told(node, index in critical)))
        if node.streams:
            events.append({"ph": "i", "s": "t", "pid": 1, "tid": lane, "ts": node.first_s * _US, "name": "first chunk"})
        called = () if node.parent is None or node.controls else (Edge(node.parent, "control", node.called_s),)
        for edge in (*node.inputs, *node.controls, *called):
            if edge.index in lanes:
                events += _arrow(edge, index, lanes, node)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _lanes(graph: Graph) -> dict[int, int]:
    """The lowest lane, from 1, that is free when a step starts."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    lanes: dict[int, int] = {}
    began = [(node.started_s, index) for index, node in graph.nodes.items() if node.row.started_s is not None]
    for started_s, index in sorted(began):
        while busy and busy[0][0] <= started_s:
            heappush(free, heappop(busy)[1])
        lanes[index] = heappop(free) if free else len(busy) + 1
        heappush(busy, (graph.nodes[index].end_s, lanes[index]))
    return lanes


def _stretch(name: str, lane: int, from_s: float, to_s: float, args: dict[str, Any]) -> dict[str, Any]:
    ts, duration = from_s * _US, max(0.0, to_s - from_s) * _US
    return {"ph": "X", "pid": 1, "tid": lane, "name": name, "ts": ts, "dur": duration, "args": args}


def _told(node: Node, critical: bool) -> dict[str, Any]:
    row = node.row
    return {
        "critical": critical,
        "outcome": row.outcome,
        "limit_s": node.started_s - node.ready_s,
        "pacing_s": pacing_s(node),
        "tries": row.tries,
        "attempts": row.attempts,
        "hits": row.hits,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "dollars": row.dollars,
    }


def _arrow(edge: Edge, to: int, lanes: dict[int, int], node: Node) -> list[dict[str, Any]]:
    arrow = {"pid": 1, "cat": edge.kind, "name": edge.kind, "id": edge.index * 1_000_000 + to}
    return [
        {**arrow, "ph": "s", "tid": lanes[edge.index], "ts": edge.at_s * _US},
        {**arrow, "ph": "f", "bp": "e", "tid": lanes[to], "ts": node.started_s * _US},
    ]
