"""A run once more on paper, with some steps faster: what that would have done to its end.

Each step keeps what it waited for and how long it took. What a step waited for the provider's rate limits stays as it
was, for being faster does not raise them; what it waited for its own limit (`concurrency`) is found anew, by letting
the steps of that name queue for as many places as were ever taken at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

from headway.pipeline.explain.critical import last_end_s
from headway.pipeline.explain.graph import Graph, Node, is_kept_waiting, pacing_s
from headway.types.steps import Edge

__all__ = ["Replay"]

_WAITED_S = 1e-3
"""A step that was ready for less than this before it began did not wait for a limit."""


class _Moved(NamedTuple):
    """A step's moments on paper."""

    ready_s: float
    started_s: float
    first_s: float
    end_s: float


class _Plan(NamedTuple):
    """What of a step stays as it was."""

    node: Node
    think_s: float
    """From what whoever called it awaited last, or from its start, to the call."""
    lag_s: float
    """From when everything was there to when it was ready."""
    paced_s: float
    live: tuple[int, ...]
    """Live streams that it read to their end."""
    kept: tuple[int, ...]
    """Those of them that it kept up with, and that ended after all that it called."""


class Replay:
    """A run that can be had once more, again and again.

    Args:
        graph: The run.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._plans = {index: _plan(graph, node) for index, node in graph.nodes.items()}
        self._on_start: dict[int, list[int]] = {}
        self._on_end: dict[int, list[int]] = {}
        """Who waits for each step: for its start those that it calls, for its end, or what it gives, all others."""
        self._missing: dict[int, int] = {}
        for index, node in graph.nodes.items():
            before = {edge.index for edge in (*node.inputs, *node.controls)}
            self._missing[index] = len(before) + (node.parent is not None)
            for one in before:
                self._on_end.setdefault(one, []).append(index)
            if node.parent is not None:
                self._on_start.setdefault(node.parent, []).append(index)
        self._places = _places(graph)
        self._tail_s = graph.end_s - last_end_s(graph)

    def end_s(self, factors: Mapping[str, float]) -> float:
        """When it would have ended, in seconds after its start.

        Args:
            factors: What the time of a step's own work is multiplied with, >= 0, by its name; others stay as they were.
        """
        moved = _Once(self, factors).moved
        # Rows that no run has written may leave some out.
        ends = [(moved.get(i) or node).end_s for i, node in self._graph.nodes.items() if node.wanted]
        return max(ends, default=0.0) + self._tail_s


class _Once:
    """The run once more."""

    def __init__(self, replay: Replay, factors: Mapping[str, float]) -> None:
        self.moved: dict[int, _Moved] = {}
        self._replay = replay
        self._factors = factors
        self._nodes = replay._graph.nodes
        self._missing = dict(replay._missing)
        self._inner = {caller: len(called) for caller, called in replay._graph.children.items()}
        self._ready: list[tuple[float, int]] = []
        places = {name: [0.0] * count for name, count in replay._places.items()}
        for index, count in self._missing.items():
            if not count:
                heappush(self._ready, (self._ready_s(index), index))
        while self._ready:
            # Whoever is not in the heap waits for one that is, so it is ready no earlier: the order is that of time.
            ready_s, index = heappop(self._ready)
            plan = replay._plans[index]
            node = plan.node
            free = places.get(node.row.step)
            started_s = ready_s + node.started_s - node.ready_s if free is None else max(ready_s, free[0])
            factor = factors.get(node.row.step, 1.0)
            self.moved[index] = _run(plan, self._nodes, self.moved, ready_s, started_s, factor)
            if free is not None:
                heapreplace(free, self.moved[index].end_s)
            self._release(replay._on_start.get(index, ()))
            if not self._inner.get(index):
                self._ended(index)

    def _ended(self, index: int) -> None:
        """It has its end; whoever called it may have its own now."""
        caller: int | None = index
        while caller is not None:
            self._release(self._replay._on_end.get(caller, ()))
            ended, caller = caller, self._nodes[caller].parent
            if caller is None or ended not in self._replay._graph.children.get(caller, ()):
                return
            self._inner[caller] -= 1
            if self._inner[caller]:
                return
            self._wait_for_inner(caller)

    def _wait_for_inner(self, index: int) -> None:
        """A step that called others goes on when the last of them has ended: to its first chunk, then to its end."""
        plan, moved = self._replay._plans[index], self.moved[index]
        factor = self._factors.get(plan.node.row.step, 1.0)
        early, late = self._replay._graph.inner(index)
        first_s = self._after(early, plan.node.first_s, factor) if early else moved.first_s
        if plan.kept:
            end_s = max(moved.end_s, first_s, *(self.moved[one].end_s for one in late))
        elif late:
            end_s = max(first_s, self._after(late, plan.node.end_s, factor))
        else:
            end_s = first_s + (plan.node.end_s - plan.node.first_s) * factor
        self.moved[index] = _settled(plan, self.moved, moved.ready_s, moved.started_s, first_s, end_s)

    def _after(self, called: Sequence[int], moment_s: float, factor: float) -> float:
        """A moment of whoever called these, that came after their ends."""
        rest_s = moment_s - self._nodes[called[-1]].end_s
        return max(self.moved[one].end_s for one in called) + rest_s * factor

    def _release(self, followers: Iterable[int]) -> None:
        for follower in followers:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                heappush(self._ready, (self._ready_s(follower), follower))

    def _ready_s(self, index: int) -> float:
        plan = self._replay._plans[index]
        parent = plan.node.parent
        # What lies between two calls that a step made is that step's own work.
        factor = 1.0 if parent is None else self._factors.get(self._nodes[parent].row.step, 1.0)
        ready_s = 0.0 if parent is None else self.moved[parent].started_s
        for edge in plan.node.controls:
            ready_s = max(ready_s, _moved_to(self._nodes[edge.index], edge, self.moved[edge.index]))
        ready_s += plan.think_s * factor
        for edge in plan.node.inputs:
            ready_s = max(ready_s, _moved_to(self._nodes[edge.index], edge, self.moved[edge.index]))
        return ready_s + plan.lag_s


def _plan(graph: Graph, node: Node) -> _Plan:
    called = graph.children.get(node.row.index, ())
    inner_s = graph.nodes[called[-1]].end_s if called else 0.0
    live = tuple(
        edge.index for edge in node.inputs if edge.kind == "stream" and node.end_s >= graph.nodes[edge.index].end_s
    )
    return _Plan(
        node=node,
        think_s=max(0.0, node.called_s - graph.asked_s(node)),
        lag_s=max(0.0, node.ready_s - max([node.called_s, *(edge.at_s for edge in node.inputs)])),
        paced_s=pacing_s(node),
        live=live,
        kept=tuple(
            index for index in live if graph.nodes[index].end_s >= inner_s and is_kept_waiting(graph.nodes[index], node)
        ),
    )


def _places(graph: Graph) -> dict[str, int]:
    """How many of the steps that waited for a limit of their own may run at once, by their names."""
    names: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        names.setdefault(node.row.step, []).append(node)
    waited = [name for name, nodes in names.items() if any(n.started_s - n.ready_s > _WAITED_S for n in nodes)]
    return {name: _at_once(names[name]) for name in waited if len(names[name]) > 1}


def _at_once(nodes: list[Node]) -> int:
    """How many ran at the same time at most; one that begins when another ends took its place."""
    events = sorted(
        event for node in nodes if node.end_s > node.started_s for event in ((node.started_s, 1), (node.end_s, -1))
    )
    most = running = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return max(1, most)


def _moved_to(node: Node, edge: Edge, to: _Moved) -> float:
    """Where a moment of a step came to lie: between its neighbours as it was."""
    if edge.kind == "value":
        return to.end_s + max(0.0, edge.at_s - node.end_s)
    was = (node.ready_s, node.started_s, node.first_s, node.end_s)
    for low, high, new_low, new_high in zip(was, was[1:], to, to[1:], strict=False):
        if edge.at_s <= high:
            share = (edge.at_s - low) / (high - low) if high > low else 1.0
            return new_low + max(0.0, share) * (new_high - new_low)
    return to.end_s + edge.at_s - node.end_s


def _run(
    plan: _Plan,
    nodes: Mapping[int, Node],
    moved: Mapping[int, _Moved],
    ready_s: float,
    started_s: float,
    factor: float,
) -> _Moved:
    node = plan.node
    first_s = started_s + plan.paced_s + (node.first_s - node.started_s - plan.paced_s) * factor
    end_s = first_s + (node.end_s - node.first_s) * factor
    if plan.kept:
        # It trailed its stream: what it took itself is its first chunk, and how far behind it was at the end.
        own_s = first_s - started_s if node.streams else 0.0
        trails = [moved[i].end_s + (node.end_s - nodes[i].end_s) * factor for i in plan.kept]
        end_s = max(started_s + own_s, *trails)
    return _settled(plan, moved, ready_s, started_s, first_s, end_s)


def _settled(
    plan: _Plan, moved: Mapping[int, _Moved], ready_s: float, started_s: float, first_s: float, end_s: float
) -> _Moved:
    for index in plan.live:
        end_s = max(end_s, moved[index].end_s)  # nobody has read a stream before it ended
    return _Moved(ready_s, started_s, min(first_s, end_s) if plan.node.streams else end_s, end_s)
