"""One run as a graph: its steps with all their moments filled in, and what each of them waited for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import NamedTuple

from headway.types.steps import Edge, StepRow

__all__ = ["RUN_INDEX", "Graph", "Node", "budget_share", "graph_of", "graphs_of", "is_kept_waiting", "pacing_s"]

RUN_INDEX = -1
"""The index of the row that is the run's own."""
_OVERLAP_SHARE = 0.1


class Node(NamedTuple):
    """A step of a run. All moments are there, in seconds after the run's start, and none is before the one above it."""

    row: StepRow
    called_s: float
    ready_s: float
    started_s: float
    first_s: float
    """Its first chunk; of a step that does not stream, its end."""
    end_s: float
    """Of a step that still runs, now."""
    inputs: tuple[Edge, ...]
    """What had to be there before it was ready."""
    controls: tuple[Edge, ...]
    """What the program awaited before it called this step."""
    parent: int | None
    """The step that called it, by index; None: the pipeline's own function."""

    @property
    def wanted(self) -> bool:
        """The run waited for its end, as far as is known: a step that was cancelled ends with the run, not before."""
        return self.row.outcome != "cancelled" and self.row.end_s is not None

    @property
    def streams(self) -> bool:
        """It gave something before its end."""
        return self.first_s < self.end_s


class Graph(NamedTuple):
    """A run."""

    run: StepRow
    """The run's own row."""
    nodes: dict[int, Node]
    """Its steps by index, ascending. Edges lead to smaller indices only, and to steps that are here."""
    children: dict[int, tuple[int, ...]]
    """By index: the steps that a step called itself, and that ended before it did; in the order of their ends."""
    end_s: float
    """When it ended; of a run that is under way, the last moment that is known."""

    def inner(self, index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The step's children in two: those that ended before its first chunk was out, and those that did later."""
        called, first_s = self.children.get(index, ()), self.nodes[index].first_s
        early = sum(self.nodes[one].end_s <= first_s for one in called)
        return called[:early], called[early:]

    def asked_s(self, node: Node) -> float:
        """When what called a step had all that it awaited before, and had begun itself."""
        began_s = 0.0 if node.parent is None else self.nodes[node.parent].started_s
        return max([began_s, *(edge.at_s for edge in node.controls)])


def graphs_of(rows: Iterable[StepRow]) -> list[Graph]:
    """The runs that these rows are of, oldest first; runs without a row of their own are left out."""
    runs: dict[tuple[str, str], list[StepRow]] = {}
    for row in rows:
        runs.setdefault((row.pipeline, row.run), []).append(row)
    whole = [graph_of(found) for found in runs.values() if any(row.index == RUN_INDEX for row in found)]
    return sorted(whole, key=lambda graph: graph.run.start_wall_s)


def graph_of(rows: Sequence[StepRow]) -> Graph:
    """The graph of one run.

    Args:
        rows: Of one run, in any order; where its own row is missing, one is made up from its steps.

    Raises:
        ValueError: There are no rows, or they are of several runs.
    """
    if len({(row.pipeline, row.run) for row in rows}) != 1:
        raise ValueError("a graph is made of the rows of one run")
    steps = sorted((row for row in rows if row.index != RUN_INDEX), key=lambda row: row.index)
    last_s = max([0.0, *(moment for row in rows for moment in _moments(row))])
    run = next((row for row in rows if row.index == RUN_INDEX), None)
    if run is None:
        first = steps[0]
        run = StepRow(pipeline=first.pipeline, run=first.run, step="", index=RUN_INDEX, start_wall_s=first.start_wall_s)
    end_s = last_s if run.end_s is None or not isfinite(run.end_s) else run.end_s
    nodes: dict[int, Node] = {}
    for row in steps:
        nodes[row.index] = _node(row, nodes, end_s)
    return Graph(run=run, nodes=nodes, children=_children(nodes), end_s=end_s)


def _children(nodes: dict[int, Node]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for index, node in nodes.items():
        if node.parent is not None and node.wanted and node.end_s <= nodes[node.parent].end_s:
            found.setdefault(node.parent, []).append(index)
    return {caller: tuple(sorted(called, key=lambda i: nodes[i].end_s)) for caller, called in found.items()}


def _moments(row: StepRow) -> list[float]:
    found = (row.called_s, row.ready_s, row.started_s, row.first_chunk_s, row.end_s)
    return [moment for moment in found if moment is not None and isfinite(moment)]


def _node(row: StepRow, earlier: dict[int, Node], run_end_s: float) -> Node:
    end_s = max(0.0, run_end_s if row.end_s is None else min(row.end_s, run_end_s))
    called_s = min(max(0.0, row.called_s), end_s)
    ready_s = _between(called_s, row.ready_s, end_s)
    started_s = _between(ready_s, row.started_s, end_s)
    # An edge is worth no more than its own step's word on when it was ready, or times would not add up.
    edges = [
        Edge(edge.index, edge.kind, min(max(edge.at_s, 0.0), called_s if edge.kind == "control" else ready_s))
        for edge in row.edges
        if edge.index in earlier
    ]
    return Node(
        row=row,
        called_s=called_s,
        ready_s=ready_s,
        started_s=started_s,
        first_s=_between(started_s, row.first_chunk_s, end_s),
        end_s=end_s,
        inputs=tuple(edge for edge in edges if edge.kind != "control"),
        controls=tuple(edge for edge in edges if edge.kind == "control"),
        parent=row.parent if row.parent in earlier else None,
    )


def _between(low_s: float, moment_s: float | None, high_s: float) -> float:
    """The moment within its bounds; one that did not come is at the upper one."""
    return high_s if moment_s is None else min(max(moment_s, low_s), high_s)


def pacing_s(node: Node) -> float:
    """How long its calls waited in our own queues, as far as that was before its first chunk.

    Waits of calls side by side are summed in the row, so they may come to more than there was time for.
    """
    return min(max(0.0, node.row.wait_s), node.first_s - node.started_s)


def budget_share(node: Node) -> float:
    """The part of its calls' waits that was for money, from 0 to 1."""
    row = node.row
    return min(1.0, max(0.0, row.budget_wait_s) / row.wait_s) if row.wait_s > 0 else 0.0


def is_kept_waiting(producer: Node, consumer: Node) -> bool:
    """Whether a step that reads a live stream ended when it did because the stream did.

    One that keeps up trails its stream by the same time at the end as at the first chunk; one that is slower than
    its stream falls behind. A tenth of the time both ran allows for chance.
    """
    if not consumer.started_s < producer.end_s <= consumer.end_s:
        return False
    trail_s = max(0.0, consumer.first_s - producer.first_s) if consumer.streams else 0.0
    overlap_s = producer.end_s - consumer.started_s
    return consumer.end_s - producer.end_s <= trail_s + _OVERLAP_SHARE * overlap_s
