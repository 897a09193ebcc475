"""One run explained: as text for the terminal, as a page, as plain data, and as a trace for other tools."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import msgspec

from headway.pipeline.explain.critical import critical_path, one_after_another_s, slacks_s
from headway.pipeline.explain.graph import Node, graph_of, pacing_s
from headway.pipeline.explain.lines import lines_of, total_dollars
from headway.pipeline.explain.waterfall import WIDTH_MIN, bars, figures, times_told
from headway.report import format as fmt
from headway.types.steps import StepRow

__all__ = ["RunReport"]

_WIDTH_MAX = 160


class RunReport:
    """What one run's time and money went into. No prompt and no answer is in it: rows hold none.

    Args:
        rows: The rows of one run, its own among them; of a run that is under way, as they are now.

    Raises:
        ValueError: There are no rows, or they are of several runs.
    """

    def __init__(self, rows: Sequence[StepRow]) -> None:
        self.graph = graph_of(rows)
        self.path = critical_path(self.graph)
        self.slacks_s = slacks_s(self.graph)
        self.one_after_another_s = one_after_another_s(self.graph)
        self.critical = frozenset(link.index for link in self.path.links)
        """Indices of the steps of the critical path."""
        self.lines = lines_of(self.graph, self.critical, self.slacks_s)

    @property
    def dollars(self) -> float | None:
        """What the steps cost together; None where a part of it is unknown."""
        return total_dollars([node.row for node in self.graph.nodes.values()])

    @property
    def speedup(self) -> float | None:
        """How many times longer the steps one after the other would have taken; None for a run that took no time."""
        return self.one_after_another_s / self.graph.end_s if self.graph.end_s > 0 else None

    @property
    def sentence(self) -> str:
        """It in one or two sentences: end to end, one after the other, the critical path, dollars."""
        run, name, end = self.graph.run, fmt.printable(self.graph.run.pipeline), fmt.seconds(self.graph.end_s)
        if run.end_s is None:
            told = f"{name} has run for {end}"
        elif run.outcome == "ok":
            told = f"{name} took {end} end to end"
        else:
            told = f"{name} ended after {end} ({self._why()})"
        if run.outcome == "ok" and self.graph.nodes:
            times = self.speedup or 0.0
            gain = f", {times:.1f}x as long" if times >= 1.05 else ""
            told += f"; one after the other its steps would have taken {fmt.seconds(self.one_after_another_s)}{gain}"
        if self.path.links:
            told += f". Critical path: {fmt.printable(self.path.told)}"
        money = self.dollars
        told += f". Cost: {fmt.dollars(money)}" if money != 0 else ""
        return f"{told}."

    def _why(self) -> str:
        """The run's outcome, and the step that failed first."""
        run = self.graph.run
        bad = [n for n in self.graph.nodes.values() if n.row.outcome in ("failed", "timeout", "deadline", "budget")]
        first = min(bad, key=lambda node: node.end_s, default=None)
        error = run.error or (first.row.error if first else "")
        parts = (run.outcome, f"step {first.row.step}" if first else "", error)
        return fmt.printable(", ".join(part for part in parts if part))

    def text(self, width: int = 80, *, ascii_only: bool = False, table: bool = True) -> str:
        """The waterfall, at least 60 columns wide, with nothing beyond ASCII where it is asked for.

        Args:
            width: Columns.
            ascii_only: For terminals that show nothing else.
            table: With the figures of each step; False: the sentence, the bars, and what the critical path is made of.
        """
        width = max(WIDTH_MIN, width)
        blocks = [wrap(self.sentence, width)]
        if self.lines:
            blocks.append(bars(self.lines, self.graph.end_s, width, ascii_only=ascii_only))
            if table:
                blocks.append(figures(self.lines, self.graph.end_s, width))
            note = "Times in seconds after the start. tokens: in>out. t/a: tries of the step / of its calls."
            blocks.append([*times_told(self.path, width), *(wrap(note, width) if table else ())])
        told = "\n\n".join("\n".join(block) for block in blocks if block)
        return told.replace("…", "~").encode("ascii", "replace").decode() if ascii_only else told

    def __str__(self) -> str:
        """The text, as wide as the terminal, 80 columns where there is none."""
        return self.text(min(_WIDTH_MAX, shutil.get_terminal_size((80, 24)).columns))

    def html(self) -> str:
        """A page of its own: loads nothing, light and dark, well under 500 kB."""
        from headway.pipeline.explain.page import run_page

        return run_page(self)

    def trace(self) -> dict[str, Any]:
        """The run as trace events, for chrome://tracing, Perfetto and speedscope."""
        from headway.pipeline.explain.trace import trace_of

        return trace_of(self.graph, self.critical)

    def data(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the fields are described in docs/pipelines-explained.md."""
        run, rows = self.graph.run, [node.row for node in self.graph.nodes.values()]
        return {
            "version": 1,
            "pipeline": run.pipeline,
            "run": run.run,
            "start_wall_s": run.start_wall_s,
            "outcome": run.outcome if run.end_s is not None or run.outcome != "ok" else "running",
            "error": run.error,
            "first_chunk_s": run.first_chunk_s,
            "end_s": self.graph.end_s,
            "one_after_another_s": self.one_after_another_s,
            "speedup": self.speedup,
            "input_tokens": sum(row.input_tokens for row in rows),
            "cached_tokens": sum(row.cached_tokens for row in rows),
            "output_tokens": sum(row.output_tokens for row in rows),
            "dollars": self.dollars,
            "saved_dollars": sum(row.saved_dollars for row in rows),
            "critical_path": {
                "before_s": self.path.before_s,
                "links": msgspec.to_builtins(self.path.links),
            },
            "steps": [self._step(node) for node in self.graph.nodes.values()],
        }

    def _step(self, node: Node) -> dict[str, Any]:
        row = msgspec.to_builtins(node.row)
        for name in ("pipeline", "run", "start_wall_s"):
            del row[name]
        return {
            **row,
            "limit_s": node.started_s - node.ready_s if node.row.started_s is not None else None,
            "pacing_s": pacing_s(node),
            "critical": node.row.index in self.critical,
            "slack_s": self.slacks_s.get(node.row.index),
        }
