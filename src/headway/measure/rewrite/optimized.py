"""What `headway optimize` came to: every step with its verdict, and original against result."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headway.measure.compare.comparison import Comparison
from headway.measure.rewrite.proposals import Baseline, Goal
from headway.measure.rewrite.taskedit import TaskText, unified

__all__ = ["Optimized", "Step"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change that was tried."""

    name: str
    what: str
    expected: float
    """Share of the goal's metric that it should have saved: an estimate, made before."""
    kept: bool
    why: str
    """One sentence: the comparison's, or why it was not kept."""
    measured: str
    """What it did to the goal's metric, with its interval; "" when that is not known."""
    before: float | None = None
    after: float | None = None
    """The goal's metric, in its own unit per row: dollars, seconds."""
    comparison: Comparison | None = None


class Optimized(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    before: TaskText
    after: TaskText
    """The same as `before` where nothing holds."""
    goal: Goal
    baseline: Baseline
    steps: tuple[Step, ...]
    final: Comparison | None
    """Original against result, on rows that no step has seen; None: nothing was changed, or the money was out."""
    dollars: float
    stopped: Literal["done", "money", "steps"]
    rows_work: int
    rows_final: int
    hints: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    """Steps that had been kept and were taken back, for all together did not hold at the end."""

    @property
    def changed(self) -> bool:
        """Whether anything was kept."""
        return self.after.text != self.before.text

    @property
    def holds(self) -> bool:
        """Whether the result is known not to be inferior to the original."""
        return self.final is not None and self.final.not_inferior

    @property
    def diff(self) -> str:
        """A unified diff of the task file; "" when nothing was changed."""
        return unified(self.before.path, self.before.text, self.after.text, "improved")

    @property
    def stopped_sentence(self) -> str:
        """Why it ended."""
        return {
            "done": "Nothing is left to try.",
            "money": "It stopped at the money cap.",
            "steps": "It stopped after as many steps as it may take.",
        }[self.stopped]

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        kept = [one for one in self.steps if one.kept and one.name not in self.dropped]
        if not self.changed:
            return (
                f"None of {len(self.steps)} changes is known to help {self.goal} without harm; the task stays as it is."
            )
        said = f"{len(kept)} of {len(self.steps)} changes hold"
        if self.final is None:
            return f"{said}; there was no money left to confirm them together."
        where = f"original against result on {self.final.rows:,} rows that no step had seen"
        open_ = "" if self.holds else " Together they are not confirmed: more rows would tell."
        return f"{said}; {where}: {self.final.sentence}{open_}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "schema": 1,
            "file": str(self.before.path),
            "goal": self.goal,
            "sentence": self.sentence,
            "changed": self.changed,
            "holds": self.holds,
            "stopped": self.stopped,
            "dollars": self.dollars,
            "rows_work": self.rows_work,
            "rows_final": self.rows_final,
            "baseline": msgspec.to_builtins(self.baseline),
            "steps": [
                {
                    **{name: getattr(one, name) for name in one.__struct_fields__ if name != "comparison"},
                    "kept": one.kept and one.name not in self.dropped,
                    "comparison": one.comparison.to_dict() if one.comparison is not None else None,
                }
                for one in self.steps
            ],
            "dropped": list(self.dropped),
            "final": self.final.to_dict() if self.final is not None else None,
            "hints": list(self.hints),
            "text": self.after.text,
            "diff": self.diff,
        }
