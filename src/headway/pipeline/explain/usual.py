"""What was unusual about one run: the steps that took longer than nearly all others of their name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headway.pipeline.explain.graph import Graph
from headway.pipeline.explain.quantiles import quantile
from headway.pipeline.explain.regressions import picked
from headway.report import format as fmt

__all__ = ["Unusual", "unusual_steps"]

_OTHERS_MIN = 20


class Unusual(msgspec.Struct, frozen=True, kw_only=True):
    """A step that took longer than 95 % of those of other runs."""

    step: str
    took_s: float
    others: int
    """In how many other runs the step was timed."""
    p50_s: float
    p95_s: float

    @property
    def sentence(self) -> str:
        """It in a sentence."""
        return (
            f"Slower than usual: {fmt.printable(self.step)}, {fmt.seconds(self.took_s)} "
            f"(p50 {fmt.seconds(self.p50_s)}, p95 {fmt.seconds(self.p95_s)} in {self.others:,} other runs)."
        )


def unusual_steps(graph: Graph, others: Sequence[Graph]) -> list[Unusual]:
    """The steps of a run that took longer than 95 % of theirs elsewhere; of a fan-out, the middle one is judged.

    Args:
        graph: The run.
        others: Runs of the same pipeline, the run itself not among them. A step that fewer than 20 of them have is
            not judged.
    """
    found = []
    for step in dict.fromkeys(node.row.step for node in graph.nodes.values()):
        ranked = sorted(node.end_s - node.started_s for node in picked(others, step))
        own = picked([graph], step)
        if not own or len(ranked) < _OTHERS_MIN:
            continue
        took_s, p95_s = own[0].end_s - own[0].started_s, quantile(ranked, 0.95)
        if took_s > p95_s:
            found.append(
                Unusual(step=step, took_s=took_s, others=len(ranked), p50_s=quantile(ranked, 0.5), p95_s=p95_s)
            )
    return found
