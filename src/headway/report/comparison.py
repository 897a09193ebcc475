"""What runs are compared by: a figure, its ratio to the baseline's, and whether that is for the better."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headway.report import format as fmt
from headway.report.figures import Summary

__all__ = ["COMPARED", "Compared", "verdict"]


class Compared(NamedTuple):
    """One cell."""

    value: str
    note: str = ""
    """The ratio to the baseline, or an interval; "" when there is none."""
    better: bool = False
    always: bool = False
    """The note is the run's own, so the baseline shows it too."""


_Cell = Callable[[Summary, Summary], Compared]


def _time(pick: Callable[[Summary], float | None]) -> _Cell:
    def cell(base: Summary, one: Summary) -> Compared:
        note = fmt.speedup(pick(base), pick(one))
        return Compared(fmt.seconds(pick(one)), note, note.endswith("faster"))

    return cell


def _amount(
    pick: Callable[[Summary], float | None], show: Callable[[float | None], str] = fmt.count, what: str = ""
) -> _Cell:
    def cell(base: Summary, one: Summary) -> Compared:
        note = fmt.change(pick(base), pick(one), what)
        return Compared(show(pick(one)), note, note.startswith("-"))

    return cell


def _accuracy(_: Summary, one: Summary) -> Compared:
    a = one.accuracy
    if a is None:
        return Compared("-")
    return Compared(f"{a.right:,} of {a.count:,}", f"[{fmt.interval(a.low, a.high)}]", always=True)


def _reused(_: Summary, one: Summary) -> Compared:
    if one.reuse.reuse_rate is None:
        return Compared("off")
    note = f"{one.reuse.hits:,} hits, {one.reuse.joins:,} joined"
    return Compared(f"{one.reuse.hits + one.reuse.joins:,} of {one.rows:,}", note, always=True)


def _rate(base: Summary, one: Summary) -> Compared:
    ratio = (one.requests_per_s or 0) / base.requests_per_s if base.requests_per_s else 0
    note = f"{ratio:.3g}x" if ratio and not 0.98 <= ratio <= 1.02 else ""
    return Compared(fmt.count(one.requests_per_s), note, ratio > 1.02)


COMPARED: tuple[tuple[str, _Cell], ...] = (
    ("Total runtime", _time(lambda s: s.runtime_s)),
    ("Requests/s", _rate),
    ("Mean latency of calls", _time(lambda s: s.call_latency.mean_s)),
    ("Mean latency of rows", _time(lambda s: s.latency.mean_s)),
    ("Requests sent", _amount(lambda s: s.attempts)),
    ("Answers reused", _reused),
    ("Tokens in", _amount(lambda s: s.tokens.input)),
    ("Tokens out", _amount(lambda s: s.tokens.output)),
    ("Mean output tokens", _amount(lambda s: s.output_tokens_mean)),
    ("Cost", _amount(lambda s: s.cost.total, fmt.dollars, "cost")),
    ("Right answers", _accuracy),
)
"""Label -> cell(baseline, run), in the order they are shown."""


def verdict(first: str, a: Summary, second: str, b: Summary) -> str:
    """Which of two prompts, run the same way, is more cost-efficient, and why: cost, tokens, accuracy.

    A difference in accuracy is claimed only where the 95 % intervals do not overlap, which is stricter than a
    paired test: with few rows little is known, and little is claimed.
    """
    if not a.cost.total or not b.cost.total:
        return "Which prompt is more cost-efficient cannot be told: the cost of at least one of them is unknown."
    if abs(a.cost.total / b.cost.total - 1) < 0.02:
        return f"The prompts {first} and {second} cost the same, to 2 %." + _accuracies(first, a, second, b)
    if a.cost.total < b.cost.total:
        first, a, second, b = second, b, first, a
    saving = fmt.change(a.cost.total, b.cost.total)
    tokens = ", ".join(
        f"{fmt.count(one)} {what} tokens instead of {fmt.count(other)}"
        for what, one, other in (
            ("input", b.tokens.input, a.tokens.input),
            ("output", b.tokens.output, a.tokens.output),
        )
    )
    return (
        f"The {second} prompt is more cost-efficient: {fmt.dollars(b.cost.per_1000_rows)} per 1,000 rows "
        f"against {fmt.dollars(a.cost.per_1000_rows)} ({saving}), for it takes {tokens}."
        + _accuracies(first, a, second, b)
    )


def _accuracies(first: str, a: Summary, second: str, b: Summary) -> str:
    if a.accuracy is None or b.accuracy is None:
        return ""
    one, other = b.accuracy, a.accuracy
    told = (
        f" It got {one.right} of {one.count} right (95 % interval {fmt.interval(one.low, one.high)}), "
        f"the {first} one {other.right} of {other.count} ({fmt.interval(other.low, other.high)}): "
    )
    if one.low > other.high:
        return told + "more accurate as well."
    if other.low > one.high:
        return told + "cheaper, but less accurate, so weigh what a wrong label costs."
    return told + "the intervals overlap, so in accuracy the two cannot be told apart by these rows."
