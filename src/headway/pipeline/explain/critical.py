"""The critical path of a run: what its time was made of, and how much later every other step could have been.

Source: the critical path method (Kelley and Walker, 1959), on a run that has happened: walked back from the end over
whatever was there last, so that no duration has to be assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Literal, NamedTuple

import msgspec

from headway.pipeline.explain.graph import Graph, Node, budget_share, is_kept_waiting, pacing_s

__all__ = ["CriticalPath", "Link", "critical_path", "last_end_s", "one_after_another_s", "slacks_s"]

_NAMES_MAX = 12

LinkKind = Literal["value", "stream", "field", "control", "end"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the path, from when it was ready until what came next could go on; its parts add up to that."""

    index: int
    step: str
    kind: LinkKind
    """What the next link waited for: its "value", its first chunk ("stream"), a "field"; "control": the program
    awaited it; "end": the run did."""
    from_s: float
    to_s: float
    limit_s: float
    """It waited to start: for its own limit (`concurrency`), or for the event loop while that was busy."""
    pacing_s: float
    """Its calls waited for the provider's rate limits, or for money."""
    budget_s: float = 0.0
    """The part of `pacing_s` that was for money: for others under the same budget to end."""
    first_chunk_s: float
    """Until its first chunk, less the waits; 0 where it does not stream."""
    work_s: float
    """The rest: from there on; where it does not stream, all it did."""
    after_s: float
    """From its end until the next link was ready, or the run's end: the program's own time, and the loop's."""

    @property
    def took_s(self) -> float:
        """All of it, but for what came after it."""
        return self.to_s - self.from_s


class CriticalPath(NamedTuple):
    """`before_s`, and of every link what it took and what came after it, add up to `end_s`."""

    before_s: float
    """From the run's start until the first link was ready."""
    links: tuple[Link, ...]
    """In the order of time."""
    end_s: float

    @property
    def program_s(self) -> float:
        """What the program itself took, between steps."""
        return self.before_s + sum(link.after_s for link in self.links)

    @property
    def told(self) -> str:
        """The steps, e.g. "outline -> write"; equal ones in a row stand once, with their number; of many, the ends."""
        names: list[list[str]] = []
        for link in self.links:
            if names and names[-1][0] == link.step:
                names[-1].append(link.step)
            else:
                names.append([link.step])
        shown = [same[0] if len(same) == 1 else f"{same[0]} x{len(same):,}" for same in names]
        if len(shown) > _NAMES_MAX:
            half = _NAMES_MAX // 2
            shown = [*shown[:half], f"({len(shown) - 2 * half:,} more)", *shown[-half:]]
        return " -> ".join(shown)


class _Place(NamedTuple):
    """Where the walk is: what came next could go on when this step was so far."""

    node: Node
    leave_s: float
    kind: LinkKind
    is_call: bool = False
    """It called what came next, and had awaited nothing by then: what it had called before is no reason."""


def critical_path(graph: Graph) -> CriticalPath:
    """Walk back from the run's end, each time over the edge that was there last. A run without steps has no links.

    Within a step that called others the walk goes over the one of them that ended last before its first chunk, or its
    end, and so on; what lies between them is the step's own.
    """
    links: list[Link] = []
    within = {caller: list(called) for caller, called in graph.children.items()}
    last = _last(graph)
    place = _Place(last, last.end_s, "end") if last else None
    at_s = graph.end_s
    while place is not None:
        node, kind = place.node, place.kind
        leave_s = min(place.leave_s, node.end_s, at_s)
        inside = None if place.is_call else _inside(graph, within.get(node.row.index, []), leave_s)
        from_s = min(node.ready_s, leave_s) if inside is None else inside.end_s
        nested = node.parent is not None or node.row.index in graph.children
        if leave_s > from_s or at_s > leave_s or not nested:  # in no time, who called whom cannot be told
            links.append(_link(node, kind, from_s, leave_s, at_s - leave_s))
        at_s = from_s
        if inside is not None:
            place = _Place(inside, inside.end_s, "value")
            continue
        place = _before(graph, node)
        if place is None or node.parent is None or place.is_call:
            continue
        if place.kind == "control" and place.leave_s < at_s:
            # Between two steps that it called, the time is the caller's own.
            own_s = min(place.leave_s, graph.nodes[place.node.row.index].end_s)
            links.append(_link(graph.nodes[node.parent], "control", own_s, at_s, 0.0))
            at_s = own_s
    return CriticalPath(before_s=at_s, links=tuple(reversed(links)), end_s=graph.end_s)


def _inside(graph: Graph, called: list[int], leave_s: float) -> Node | None:
    """Of the steps that a step called, the one that ended last before it was left; taken out, with those after it."""
    while called:
        node = graph.nodes[called.pop()]
        if node.end_s <= leave_s:
            return node
    return None


def last_end_s(graph: Graph) -> float:
    """When the last step ended that the run waited for; 0 where there is none."""
    return last.end_s if (last := _last(graph)) else 0.0


def _last(graph: Graph) -> Node | None:
    """What the run waited for last. Those that were cancelled are no reason for its end, unless there are no others."""
    among = [node for node in graph.nodes.values() if node.wanted] or list(graph.nodes.values())
    return max(among, key=lambda node: (node.end_s, -node.row.index), default=None)


def _before(graph: Graph, node: Node) -> _Place | None:
    """What a step waited for last, and when that was there; None: nothing but the run's start."""
    given = max(node.inputs, key=lambda edge: edge.at_s, default=None)
    if given is None or given.at_s < node.called_s:
        given = max(node.controls, key=lambda edge: edge.at_s, default=None)
        caller = None if node.parent is None else graph.nodes[node.parent]
        if caller is not None and (given is None or given.at_s < caller.started_s):
            return _Place(caller, node.called_s, "control", is_call=True)
    return None if given is None else _Place(graph.nodes[given.index], given.at_s, given.kind)


def _link(node: Node, kind: LinkKind, from_s: float, leave_s: float, after_s: float) -> Link:
    """The part of a step's time from `from_s` to `leave_s`, taken apart."""

    def within(moment_s: float) -> float:
        return min(max(moment_s, from_s), leave_s)

    started_s, paced_s = within(node.started_s), within(node.started_s + pacing_s(node))
    first_s = within(node.first_s) if node.streams else paced_s
    return Link(
        index=node.row.index,
        step=node.row.step,
        kind=kind,
        from_s=from_s,
        to_s=leave_s,
        limit_s=started_s - from_s,
        pacing_s=paced_s - started_s,
        budget_s=(paced_s - started_s) * budget_share(node),
        first_chunk_s=first_s - paced_s,
        work_s=leave_s - first_s,
        after_s=after_s,
    )


def slacks_s(graph: Graph) -> dict[int, float]:
    """By index: how much later the whole step could have been without moving the end of the run, all else equal.

    0 for the steps of the critical path. One that was cancelled or still runs, and that nothing waited for, has none.
    """
    last_s = last_end_s(graph)
    found: dict[int, float] = {}
    for index in _latest_first(graph):
        # Those that wait for it, and the one that called it, have set their bounds on this one already.
        node = graph.nodes[index]
        if not node.wanted and index not in found:
            continue
        own_s = last_s - node.end_s if node.wanted else last_s
        found[index] = slack_s = max(0.0, min(found.get(index, last_s), own_s))
        for called in graph.inner(index):
            for one in called:
                _bound(found, one, slack_s + graph.nodes[called[-1]].end_s - graph.nodes[one].end_s)
        base_s = max([node.called_s, *(edge.at_s for edge in node.inputs)])
        asked_s = graph.asked_s(node)
        for edge in node.inputs:
            kept = edge.kind == "stream" and is_kept_waiting(graph.nodes[edge.index], node)
            _bound(found, edge.index, slack_s if kept else slack_s + base_s - edge.at_s)
        for edge in node.controls:
            _bound(found, edge.index, slack_s + (base_s - node.called_s) + (asked_s - edge.at_s))
        if node.parent is not None and node.end_s > graph.nodes[node.parent].end_s:
            _bound(found, node.parent, slack_s + (base_s - node.called_s))  # it is no part of what called it
    return found


def _latest_first(graph: Graph) -> Iterable[int]:
    """The steps, each after all that wait for it and after the one that called it."""
    before: dict[int, set[int]] = {index: set() for index in reversed(graph.nodes)}
    for index, node in graph.nodes.items():
        for edge in (*node.inputs, *node.controls):
            before[edge.index].add(index)
        if node.parent is not None and node.end_s > graph.nodes[node.parent].end_s:
            before[node.parent].add(index)
    inner: dict[int, set[int]] = {index: set(after) for index, after in before.items()}
    for caller, called in graph.children.items():
        for one in called:
            inner[one].add(caller)
    try:
        return list(TopologicalSorter(inner).static_order())
    except CycleError:  # rows that no run has written
        return list(TopologicalSorter(before).static_order())


def _bound(found: dict[int, float], index: int, slack_s: float) -> None:
    found[index] = min(found.get(index, slack_s), slack_s)


def one_after_another_s(graph: Graph) -> float:
    """What the steps would have taken one after the other: their own times, without waits for limits.

    Of a step that was kept waiting by a live stream, or by steps that it called, only what was its own counts, or
    chains of streams and steps within steps would look faster than they are.
    """
    total_s = 0.0
    for index, node in graph.nodes.items():
        if node.row.outcome == "cancelled":
            continue
        called = [graph.nodes[i] for i in graph.children.get(index, ())]
        own_s = _alone_s(called, node.started_s, node.end_s) - pacing_s(node)
        for edge in node.inputs:
            producer = graph.nodes[edge.index]
            if edge.kind == "stream" and is_kept_waiting(producer, node):
                first_s = node.first_s if node.streams else node.started_s
                after_s = _alone_s(called, max(producer.end_s, node.started_s), node.end_s)
                own_s = min(own_s, _alone_s(called, node.started_s, first_s) + after_s)
        total_s += max(0.0, own_s)
    return total_s


def _alone_s(nodes: Sequence[Node], from_s: float, to_s: float) -> float:
    """How long none of them was under way in that time."""
    total_s, until_s = 0.0, from_s
    for node in sorted(nodes, key=lambda one: one.called_s):
        total_s += max(0.0, min(node.called_s, to_s) - until_s)
        until_s = max(until_s, node.end_s)
    return total_s + max(0.0, to_s - until_s)
