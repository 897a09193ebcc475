"""Findings in words: one sentence for the verdict, and short notes on what was left out."""

from __future__ import annotations

from collections.abc import Sequence

from headway.measure.stats.findings import Findings, MetricFinding, Pair, QualityFinding
from headway.measure.stats.intervals import Interval

__all__ = ["change", "notes_of", "points", "sentence"]

_WORDS = {
    "dollars": ("costs {} less", "costs {} more", "costs {} times as much", "costs the same"),
    "latency": ("is {} faster", "is {} slower", "takes {} times as long", "takes as long"),
}


def sentence(findings: Findings, a: str = "A", b: str = "B") -> str:
    """The verdict in a sentence, without a full stop; `a` and `b` are what the two are called.

    Percentages are of A's dollars and of A's time ("12-19 % faster" takes 12-19 % less time), points are of 100.
    """
    good, bad = _clauses(findings, "better"), _clauses(findings, "worse")
    if findings.verdict == "better":
        return f"{b} {_listed([*good, *_clauses(findings, 'same'), *_held(findings)])}{_unchecked(findings)}"
    if findings.verdict == "worse":
        though = f", though it {_listed(good)}" if good else ""
        return f"{b} {_listed(bad)}{though}{_doubted(findings.quality)}"
    if findings.verdict == "mixed":
        doubt = _doubted(findings.quality) or _unchecked(findings)
        return f"a trade: {b} {_listed([*good, *_held(findings)])}, but {_listed(bad)}{doubt}"
    if findings.verdict == "same":
        held = "".join(f"; {b} {clause}" for clause in _held(findings))
        return f"{a} and {b} cannot be told apart: {_listed(_spans(findings))}{held}{_unchecked(findings)}"
    return _open(findings, a, b, good)


def change(ratio: Interval) -> str:
    """A ratio's interval as a change: ``-3 % to +4 %``."""
    return f"{_signed(ratio.low)} to {_signed(ratio.high)}"


def points(difference: Interval) -> str:
    """A difference of rates or scores as points of 100: ``-3.1 to +0.4 points``."""
    return f"{difference.low * 100:+.1f} to {difference.high * 100:+.1f} points"


def notes_of(pairs: Sequence[Pair], metrics: Sequence[MetricFinding], quality: QualityFinding) -> tuple[str, ...]:
    """What was left out, and why; a sentence each."""
    notes, rows = [], len(pairs)
    failed_a, failed_b = sum(not pair.a.ok for pair in pairs), sum(not pair.b.ok for pair in pairs)
    either = sum(not (pair.a.ok and pair.b.ok) for pair in pairs)
    if either:
        notes.append(
            f"{_rows(either)} failed (A {failed_a}, B {failed_b}) and {_are(either)} left out of latency and length on "
            "both sides."
        )
    for name, what in (("latency", "latency"), ("output_tokens", "output length")):
        metric = next((one for one in metrics if one.name == name), None)
        unknown = (rows - either) - (metric.rows if metric else 0)
        if unknown > 0:
            notes.append(f"The {what} of {_rows(unknown)} is unknown.")
    dollars = next((one for one in metrics if one.name == "dollars"), None)
    if rows and (dollars is None or dollars.left_out):
        notes.append(f"The cost of {_rows(dollars.left_out if dollars else rows)} is unknown.")
    if rows and not quality.rows:
        notes.append("Quality was not checked.")
    elif quality.unscored:
        notes.append(f"{_rows(quality.unscored)} could not be scored and {_are(quality.unscored)} left out of quality.")
    return tuple(notes)


def _clauses(findings: Findings, word: str) -> list[str]:
    """What B does better, worse or the same, as clauses after its name."""
    found = []
    for name, (less, more, times, same) in _WORDS.items():
        metric = findings.metric(name)
        if metric is None or metric.verdict != word:
            continue
        ratio = metric.ratio
        if word == "same":
            found.append(same)
        elif ratio is None:
            found.append("costs nothing" if word == "better" else "is not free")
        elif word == "better":
            found.append(less.format(_percent(1 - ratio.high, 1 - ratio.low)))
        elif ratio.low >= 2:
            found.append(times.format(_span(ratio.low, ratio.high)))
        else:
            found.append(more.format(_percent(ratio.low - 1, ratio.high - 1)))
    failures = findings.metric("failures")
    if failures is not None and failures.verdict == word and word != "same":
        often = "less" if word == "better" else "more"
        of_a, of_b = _count(failures, failures.a), _count(failures, failures.b)
        found.append(f"fails {often} often ({of_b} of {_rows(failures.rows)}, not {of_a})")
    return [*found, *_quality_clauses(findings.quality, word)]


def _quality_clauses(quality: QualityFinding, word: str) -> list[str]:
    difference = quality.difference
    if difference is None:
        return []
    if word == "worse" and quality.not_inferior is False:
        size = _span(-difference.high * 100, -difference.low * 100)
        return [f"is worse by {size} points in quality, more than the {_points(quality.margin)} allowed"]
    if quality.verdict != word or word == "same":
        return []
    if word == "better":
        return [f"scores {_span(max(difference.low, 0.0) * 100, difference.high * 100)} points higher"]
    return [] if quality.not_inferior else ["is worse in quality"]


def _held(findings: Findings) -> list[str]:
    quality = findings.quality
    held = quality.not_inferior is True and quality.verdict != "better"
    return [f"is not worse by more than {_points(quality.margin)}"] if held else []


def _unchecked(findings: Findings) -> str:
    return "" if findings.quality.rows else "; quality was not checked"


def _spans(findings: Findings) -> list[str]:
    """How far apart they can be, for what there is a ratio of."""
    found = []
    for name, what in (("latency", "latency"), ("dollars", "cost")):
        metric = findings.metric(name)
        if metric is None or metric.ratio is None:
            continue
        alike = metric.ratio.low == metric.ratio.high == 1.0
        found.append(f"the same {what}" if alike else f"{what} {change(metric.ratio)}")
    return found


def _open(findings: Findings, a: str, b: str, good: list[str]) -> str:
    """Inconclusive: what is known, what is not, and how many more rows it would take."""
    if not findings.rows:
        return "inconclusive: no rows were compared"
    if findings.metric("latency") is None and findings.metric("output_tokens") is None and not findings.quality.rows:
        return "inconclusive: no row was answered on both sides"
    more = findings.rows_more
    needed = f"about {more:,} more rows needed" if more else ""
    if good:
        needed = f"; {needed}" if needed else "; no bearable number of rows would settle that"
        return f"inconclusive: {b} {_listed(good)}, but {_quality_open(findings.quality)}{needed}"
    if not needed:
        spans = f" ({', '.join(found)})" if (found := _spans(findings)) else ""
        return f"inconclusive: {_rows(findings.rows)} do not tell {a} and {b} apart{spans}, nor would many more"
    return f"inconclusive: {needed}"


def _quality_open(quality: QualityFinding) -> str:
    if quality.difference is None:
        return "its quality is open"
    few = f"; {_rows(quality.rows)} cannot tell" if quality.difference.high < -quality.margin else ""
    return f"its quality is open ({points(quality.difference)}, where -{quality.margin * 100:g} is allowed{few})"


def _doubted(quality: QualityFinding) -> str:
    """What has to stand beside any verdict: that quality seems to be worse by more than the margin, and is open."""
    seems = quality.difference is not None and quality.difference.estimate < -quality.margin
    return f", and {_quality_open(quality)}" if seems and quality.is_open and quality.verdict != "worse" else ""


def _listed(clauses: Sequence[str]) -> str:
    """``x``, ``x and y``, ``x, y, and z``."""
    if len(clauses) < 3:
        return " and ".join(clauses)
    return f"{', '.join(clauses[:-1])}, and {clauses[-1]}"


def _percent(low: float, high: float) -> str:
    """Two shares of one as a range: ``12-19 %``, ``2.3-8.1 %``, ``20 %``."""
    return f"{_span(low * 100, high * 100)} %"


def _span(low: float, high: float) -> str:
    """Whole numbers from 10 on, one decimal below; one number where they read alike."""
    places = 1 if high < 9.95 or low < 0.95 else 0
    first, last = f"{low:.{places}f}", f"{high:.{places}f}"
    return last if first == last else f"{first}-{last}"


def _signed(ratio: float) -> str:
    value = (ratio - 1) * 100
    return f"{value:+.0f} %" if abs(value) >= 9.95 else f"{value:+.1f} %"


def _points(margin: float) -> str:
    return "1 point" if margin == 0.01 else f"{margin * 100:g} points"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _count(metric: MetricFinding, rate: float | None) -> int:
    return round((rate or 0.0) * metric.rows)
