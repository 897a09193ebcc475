"""The lines of a run's picture: a step each, many equal ones folded into one, with the figures that stand beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias

from headway.pipeline.explain.graph import Graph, Node, pacing_s
from headway.pipeline.explain.quantiles import quantile
from headway.types.steps import StepRow

__all__ = ["Line", "Stretch", "lines_of", "total_dollars"]

_FOLD_OVER = 4
"""More steps of one name than this stand in one line."""

StretchKind: TypeAlias = Literal[0, 1, 2]
"""0: waits to start, or its calls for limits and money; 1: until its first chunk; 2: the rest."""


class Stretch(NamedTuple):
    """A part of a step's time."""

    from_s: float
    to_s: float
    kind: StretchKind


class Line(NamedTuple):
    """What is drawn and said of a step, or of all steps of one name. Times of several: the first's, and the last's."""

    nodes: tuple[Node, ...]
    critical: bool
    slack_s: float | None
    """The least of them; None: no step of them has any."""

    @property
    def label(self) -> str:
        """The step's name, with the number of steps behind it."""
        name = self.nodes[0].row.step
        return name if len(self.nodes) == 1 else f"{name} x{len(self.nodes):,}"

    @property
    def folded(self) -> bool:
        """It stands for several steps."""
        return len(self.nodes) > 1

    @property
    def ready_s(self) -> float:
        """The first."""
        return min(node.ready_s for node in self.nodes)

    @property
    def started_s(self) -> float | None:
        """The first; None where none began."""
        return min((node.started_s for node in self.nodes if node.row.started_s is not None), default=None)

    @property
    def first_chunk_s(self) -> float | None:
        """The first; None where none streams."""
        return min((node.first_s for node in self.nodes if node.streams), default=None)

    @property
    def end_s(self) -> float | None:
        """The last; None while one runs."""
        ends = [node.row.end_s for node in self.nodes]
        return None if None in ends else max(node.end_s for node in self.nodes)

    @property
    def waited_s(self) -> float:
        """To start and in pacing, the most of one step."""
        return max(node.started_s - node.ready_s + pacing_s(node) for node in self.nodes)

    @property
    def took_s(self) -> list[float]:
        """Of each, from its start to its end, ascending: what it waited for its limit is not part of it."""
        return sorted(node.end_s - node.started_s for node in self.nodes)

    @property
    def p50_s(self) -> float:
        """The median of `took_s`."""
        return quantile(self.took_s, 0.5)

    @property
    def outcome(self) -> str:
        """In words: "ok", "ok, 2 hits", "default: BudgetExceeded", "38 ok, 2 failed"."""
        if not self.folded:
            return _told(self.nodes[0].row)
        counts = Counter(_reasoned(node.row) for node in self.nodes)
        if len(counts) == 1:
            return f"all {next(iter(counts))}"
        return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())

    @property
    def failed(self) -> bool:
        """One of them did not do what it was there for."""
        return any(_outcome(node.row) not in ("ok", "cached", "running") for node in self.nodes)

    def stretches(self) -> list[Stretch]:
        """What a single step's time was; empty for one that never began."""
        node = self.nodes[0]
        if node.row.started_s is None:
            return []
        paced_s = node.started_s + pacing_s(node)
        first_s = node.first_s if node.streams else paced_s
        parts = (
            Stretch(node.ready_s, paced_s, 0),
            Stretch(paced_s, first_s, 1),
            Stretch(first_s, node.end_s, 2),
        )
        return [part for part in parts if part.to_s > part.from_s]

    def running(self, slots: int, end_s: float) -> list[float]:
        """How many ran in each of so many slots of the run, on average."""
        step_s = end_s / slots if end_s > 0 else 1.0
        found = [0.0] * slots
        for node in self.nodes:
            first = max(0, min(slots - 1, int(node.started_s / step_s)))
            for slot in range(first, slots):
                covered_s = min(node.end_s, (slot + 1) * step_s) - max(node.started_s, slot * step_s)
                if covered_s <= 0 and slot > first:
                    break
                found[slot] += max(0.0, covered_s) / step_s
        return found

    def tokens(self) -> tuple[int, int]:
        """In and out, summed."""
        return sum(n.row.input_tokens for n in self.nodes), sum(n.row.output_tokens for n in self.nodes)

    def dollars(self) -> float | None:
        """The sum; None where a part of it is unknown."""
        return total_dollars([node.row for node in self.nodes])


def lines_of(graph: Graph, critical: Collection[int], slacks: dict[int, float]) -> list[Line]:
    """The lines of a run, in the order of its first steps.

    Args:
        graph: The run.
        critical: Indices of the steps of its critical path.
        slacks: Slack by index, in seconds.
    """
    names: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        names.setdefault(node.row.step, []).append(node)
    groups = [
        group
        for nodes in names.values()
        for group in ([nodes] if len(nodes) > _FOLD_OVER else [[node] for node in nodes])
    ]
    groups.sort(key=lambda nodes: nodes[0].row.index)
    return [
        Line(
            nodes=tuple(nodes),
            critical=any(node.row.index in critical for node in nodes),
            slack_s=min((slacks[n.row.index] for n in nodes if n.row.index in slacks), default=None),
        )
        for nodes in groups
    ]


def total_dollars(rows: list[StepRow]) -> float | None:
    """The sum; None where a part of it is unknown."""
    parts = [row.dollars for row in rows]
    return None if None in parts else sum(part for part in parts if part is not None)


def _outcome(row: StepRow) -> str:
    return row.outcome if row.end_s is not None or row.outcome != "ok" else "running"


def _reasoned(row: StepRow) -> str:
    """With the failure that a default stands in for; of what failed, the report's first sentence says it."""
    outcome = _outcome(row)
    return f"{outcome}: {row.error}" if outcome in ("default", "skipped") and row.error else outcome


def _told(row: StepRow) -> str:
    more = [
        f"{row.hits} hit{'s' if row.hits > 1 else ''}" if row.hits else "",
        "smaller" if row.smaller else "",
        "early" if row.speculative else "",
    ]
    return ", ".join([_reasoned(row), *(part for part in more if part)])
