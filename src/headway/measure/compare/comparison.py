"""What a comparison came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headway.measure.compare.asking import Answered
from headway.measure.compare.checkers import Score
from headway.measure.compare.variant import same_asked
from headway.measure.stats import Findings, Interval, MetricFinding, Pair, Side

__all__ = ["Asked", "Comparison", "Expect", "Noise", "SetRuns", "Stopped", "pair_of"]

Stopped = Literal["decided", "rows", "money", "interrupted"]
Expect = Literal["better", "not-worse", "faster", "cheaper"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One row under both variants: what came, and its marks."""

    row: int
    """Its place in the input, from 0."""
    cluster: str = ""
    """The set of rows that it was run in; "": by itself."""
    a_first: bool
    a: Answered
    b: Answered
    score_a: Score = Score(None)
    score_b: Score = Score(None)


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs of A: what chance alone makes of the same thing."""

    rows: int
    ratio: Interval | None = None
    """Latency of the second over the first; None: too few answers."""
    row_ratio: float | None = None
    """By how much a row's two latencies differ: the median of the greater over the smaller, less 1."""
    answers_differ: int = 0
    """Rows that were answered differently."""
    verdict: str = "inconclusive"
    """The trial's; anything but "same" and "inconclusive" is a warning."""

    @property
    def alarming(self) -> bool:
        """Whether two runs of the same thing were told apart: then what tells A and B apart may be the order, too."""
        return self.verdict not in ("same", "inconclusive")


class SetRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Sets of rows as each variant runs them: one after the other, or so many at once."""

    sets: int
    rows_each: int
    finding: MetricFinding
    """Of the time that a set takes, B over A."""

    @property
    def speedup(self) -> Interval | None:
        """How many times as many rows B does in the same time as A."""
        ratio = self.finding.ratio
        return None if ratio is None else ratio.inverse


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about B against A. Money in US dollars, times in seconds."""

    a: str
    b: str
    """The variants' names."""
    differences: tuple[str, ...]
    """In which respects they differ; () when they are the same."""
    verdict: str = "inconclusive"
    """"better", "worse", "mixed", "same" or "inconclusive": B against A."""
    sentence: str = ""
    findings: Findings
    noise: Noise | None = None
    sets: SetRuns | None = None
    """Where the variants run sets of rows differently."""
    rows: int
    """Rows compared."""
    rows_max: int
    stopped: Stopped
    dollars: float
    """Everything: both sides, warm-up, A/A and judge. Answers of unknown cost are counted at their worst case."""
    dollars_judge: float | None = 0.0
    """The judge's part; None: unknown."""
    dollars_estimated: bool = False
    """Some answers' cost is unknown."""
    missing: int = 0
    """Rows without a right answer to compare with."""
    unscored: int = 0
    """Rows for which the check failed, on either side."""
    unscored_first: str = ""
    """Why, of the first of them."""
    notes: tuple[str, ...] = ()
    """What has to be known to read the figures."""
    seed: int = 0
    asked: tuple[Asked, ...] = ()
    """The rows themselves, in the order they were asked in."""

    @property
    def same_asked(self) -> bool:
        """Whether both ask the same of the same model, and differ in how that is run."""
        return same_asked(self.differences)

    def repairs(self, side: Literal["a", "b"]) -> dict[str, int]:
        """What had to be asked for again, for its form was wrong: "rows", and the "requests" that this took."""
        counts = [getattr(one, side).result.repairs for one in self.asked]
        return {"rows": sum(count > 0 for count in counts), "requests": sum(counts)}

    @property
    def not_inferior(self) -> bool:
        """Whether B is known not to be worse than A by more than the margin in quality, nor worse in failures."""
        failures = self.findings.metric("failures")
        fails_more = failures is not None and failures.verdict == "worse"
        return self.findings.quality.not_inferior is True and not fails_more

    def code(self, expect: Expect | None = None) -> int:
        """The exit code: 0 as expected, 1 not so, 3 it is open. Without an expectation: not to lose anything."""
        if expect is None:
            return {"better": 0, "same": 0, "inconclusive": 3}.get(self.verdict, 1)
        if expect == "better":
            return {"better": 0, "inconclusive": 3}.get(self.verdict, 1)
        quality = self.findings.quality
        if quality.not_inferior is False:
            return 1
        words = self._words()
        if expect == "not-worse":
            if "worse" in words.values():
                return 1
            return 3 if quality.is_open or "unclear" in words.values() else 0
        word = words.get("latency" if expect == "faster" else "dollars", "unclear")
        return {"better": 3 if quality.is_open else 0, "unclear": 3}.get(word, 1)

    def _words(self) -> dict[str, str]:
        found = {name: self.findings.metric(name) for name in ("latency", "dollars", "failures")}
        words: dict[str, str] = {name: one.verdict or "unclear" for name, one in found.items() if one is not None}
        if self.sets is not None and self.sets.finding.verdict not in (None, "unclear"):
            words["latency"] = str(self.sets.finding.verdict)
        return words

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without prompts and answers. See docs/comparing.md for what they mean."""
        plain = msgspec.to_builtins(self.findings)
        return {
            "schema": 1,
            "a": self.a,
            "b": self.b,
            "differences": list(self.differences),
            "verdict": self.verdict,
            "sentence": self.sentence,
            "not_inferior": self.not_inferior,
            "rows": self.rows,
            "rows_max": self.rows_max,
            "stopped": self.stopped,
            "seed": self.seed,
            "dollars": self.dollars,
            "dollars_judge": self.dollars_judge,
            "dollars_estimated": self.dollars_estimated,
            "noise": msgspec.to_builtins(self.noise) if self.noise is not None else None,
            "sets": self._sets(),
            "findings": plain,
            "missing": self.missing,
            "unscored": self.unscored,
            "unscored_first": self.unscored_first,
            "failures": {"a": _failures(self.asked, "a"), "b": _failures(self.asked, "b")},
            "repairs": {"a": self.repairs("a"), "b": self.repairs("b")},
            "notes": list(self.notes),
        }

    def _sets(self) -> Mapping[str, Any] | None:
        if self.sets is None:
            return None
        plain: dict[str, Any] = msgspec.to_builtins(self.sets)
        return {**plain, "speedup": msgspec.to_builtins(self.sets.speedup)}


def pair_of(asked: Asked, *, ttft: bool) -> Pair:
    """What the statistics take of a row. `ttft`: whether times to the first text are of interest."""
    return Pair(
        row=asked.row,
        cluster=asked.cluster,
        a=_side(asked.a, asked.score_a, ttft=ttft),
        b=_side(asked.b, asked.score_b, ttft=ttft),
    )


def _side(answered: Answered, score: Score, *, ttft: bool) -> Side:
    result, usage = answered.result, answered.result.usage
    ok = result.outcome == "ok"
    told = usage is not None and not usage.estimated  # what was not told is estimated, and no ground for a claim
    return Side(
        ok=ok,
        latency_s=result.latency_s if ok else None,
        ttft_s=answered.ttft_s if ok and ttft else None,
        output_tokens=float(usage.output_tokens) if ok and usage is not None and told else None,
        dollars=result.dollars if told or not result.dollars else None,
        score=score.value,
        note=score.note or result.error,
    )


def _failures(asked: tuple[Asked, ...], side: Literal["a", "b"]) -> dict[str, int]:
    """Outcome -> rows."""
    found: dict[str, int] = {}
    for one in asked:
        outcome = getattr(one, side).result.outcome
        if outcome != "ok":
            found[outcome] = found.get(outcome, 0) + 1
    return dict(sorted(found.items()))
