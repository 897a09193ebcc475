"""Whether a change is kept: better at what is wanted, or better elsewhere at no cost to it; never worse in quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from headway.errors import HeadwayError
from headway.measure.compare.comparison import Comparison
from headway.measure.compare.variant import Variant
from headway.measure.rewrite.optimized import Step
from headway.measure.rewrite.proposals import METRICS, Baseline, Goal
from headway.measure.rewrite.settings import Row
from headway.measure.stats import MetricFinding

__all__ = ["after", "judged", "measured", "repeats"]

_ELSEWHERE: Final = ("dollars", "latency")


def repeats(variant: Variant, rows: Sequence[Row]) -> float:
    """Share of rows whose request was made by one before."""
    seen: set[bytes] = set()
    again = asked = 0
    for row in rows:
        try:
            key = variant.task.key_body(row) or variant.task.body(row)
        except HeadwayError:
            continue
        asked += 1
        again += key in seen
        seen.add(key)
    return again / asked if asked else 0.0


def measured(found: Comparison, goal: Goal) -> tuple[tuple[float | None, float | None], str]:
    """The goal's metric before and after, and what changed with its interval."""
    finding = _finding(found, goal)
    if finding is None:
        return (None, None), ""
    if finding.ratio is None:
        return (finding.a, finding.b), ""
    low, high = sorted((finding.ratio.low - 1, finding.ratio.high - 1))
    return (finding.a, finding.b), f"{finding.ratio.estimate - 1:+.0%} ({low:+.0%} to {high:+.0%})"


def judged(found: Comparison, goal: Goal, margin: float) -> tuple[bool, str]:
    """Whether a change is kept, and why not."""
    quality = found.findings.quality
    if quality.not_inferior is False:
        return False, f"worse by more than {margin * 100:g} points"
    failures = found.findings.metric("failures")
    if failures is not None and failures.verdict == "worse":
        return False, "it fails more often"
    same = "prompt" not in found.differences and "model" not in found.differences
    if quality.not_inferior is None and not (same and quality.only_a <= quality.only_b):
        more = found.findings.rows_more
        return False, "quality is open" + (f": about {more:,} more rows would tell" if more else "")
    finding = _finding(found, goal)
    word = finding.verdict if finding is not None else None
    if word == "better":
        return True, found.sentence
    if word == "worse":
        return False, f"worse for {goal}"
    others = [found.findings.metric(name) for name in _ELSEWHERE]
    words = {one.verdict for one in others if one is not None}
    if "better" in words and "worse" not in words and _harmless(finding, found.findings.smallest):
        return True, found.sentence
    return False, f"no gain in {goal}" if word == "same" else f"no certain gain in {goal}"


def _finding(found: Comparison, goal: Goal) -> MetricFinding | None:
    """What a comparison says of the goal's metric."""
    return (
        found.sets.finding if goal == "throughput" and found.sets is not None else found.findings.metric(METRICS[goal])
    )


def _harmless(finding: MetricFinding | None, smallest: float) -> bool:
    """Whether the goal's metric is known not to have become worse by an amount that matters."""
    return finding is None or (finding.ratio is not None and finding.ratio.high <= 1 + smallest)


def after(base: Baseline, step: Step) -> Baseline:
    """The baseline as a kept step leaves it."""
    if step.comparison is None:
        return base
    found = step.comparison.findings

    def scaled(name: str, value: float | None) -> float | None:
        metric = found.metric(name)
        if value is None or metric is None or not metric.a or metric.b is None:
            return value
        return value * metric.b / metric.a

    used = [one.b.result.usage for one in step.comparison.asked if one.b.result.usage is not None]
    count = len(used)
    if not count:
        return base
    return msgspec.structs.replace(
        base,
        answered=count,
        dollars=scaled("dollars", base.dollars),
        latency_s=scaled("latency", base.latency_s) or base.latency_s,
        input_tokens=sum(one.input_tokens for one in used) / count,
        output_tokens=sum(one.output_tokens for one in used) / count,
        output_tokens_most=max(one.output_tokens for one in used),
        reasoning_tokens=sum(one.reasoning_tokens for one in used) / count,
    )
