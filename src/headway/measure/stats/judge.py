"""From the values of one metric to its finding: which rows count, the interval, and the word for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from random import Random
from statistics import median

from headway.measure.stats.findings import MetricFinding, Pair, QualityFinding, Word
from headway.measure.stats.intervals import LEVEL, Interval
from headway.measure.stats.paired import total_ratio, typical_ratio
from headway.measure.stats.proportions import graded_difference, mcnemar, mcnemar_tail, paired_difference
from headway.measure.stats.resample import grouped
from headway.measure.stats.values import Value, dollars_of, known, score_of

__all__ = ["Judge"]

_SHOWN_TAIL = (1 - LEVEL) / 2
"""Of intervals at a look that may not claim anything yet."""


class Judge:
    """What one look may claim.

    Args:
        pairs: All rows so far, in a fixed order.
        tail: What p has to be below for "better" or "worse" (one-sided); 0: no claims at this look.
        quality_tail: The same for non-inferiority, which has an alpha of its own.
        smallest: Ratios up to 1 + smallest are the same in practice.
        margin: Of non-inferiority, in score.
        rows_min: Pairs that a claim needs at least.
        rng: The dice.
        resamples: Of the bootstrap.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        tail: float,
        quality_tail: float,
        smallest: float,
        margin: float,
        rows_min: int,
        rng: Random,
        resamples: int,
    ) -> None:
        self._pairs, self._tail, self._quality_tail = pairs, tail, quality_tail
        self._smallest, self._margin, self._rows_min = smallest, margin, rows_min
        self._rng, self._resamples = rng, resamples

    def times(self, name: str, value: Value) -> MetricFinding | None:
        """Seconds or tokens: the typical ratio on a row. Zeros, which have no ratio, are left out."""
        used = known(self._pairs, value, above_0=True)
        if not used:
            return None
        a, b = [one[1] for one in used], [one[2] for one in used]
        ratio = typical_ratio(a, b, tail=self._tail or _SHOWN_TAIL, clusters=_clusters(used))
        return MetricFinding(
            name=name,
            ratio=Interval(estimate=1.0, low=1.0, high=1.0) if a == b else ratio,
            a=median(a),
            b=median(b),
            verdict=self._word(a, b, ratio),
            rows=len(used),
            left_out=len(self._pairs) - len(used),
            method="typical ratio on a row (Hodges-Lehmann, signed-rank interval)",
        )

    def dollars(self) -> MetricFinding | None:
        """Dollars: the ratio of the sums, over rows whose price is known on both sides."""
        used = known(self._pairs, dollars_of)
        if not used:
            return None
        a, b = [one[1] for one in used], [one[2] for one in used]
        ratio = total_ratio(a, b, tail=self._tail or _SHOWN_TAIL, clusters=_clusters(used))
        method = "ratio of the sums (Student's interval on the log scale)"
        if a == b:
            verdict: Word = self._word(a, b, None)
        elif ratio is None:  # one side is free
            method = "exact sign test, for one side is free"
            tossed = self._tossed(*_ups_and_downs([y - x for x, y in zip(a, b, strict=True)], _clusters(used)))
            verdict = tossed if len(used) >= self._rows_min else "unclear"
        else:
            verdict = self._word(a, b, ratio)
        return MetricFinding(
            name="dollars",
            ratio=Interval(estimate=1.0, low=1.0, high=1.0) if a == b else ratio,
            a=fsum(a) / len(a),
            b=fsum(b) / len(b),
            verdict=verdict,
            rows=len(used),
            left_out=len(self._pairs) - len(used),
            method=method,
        )

    def failures(self) -> MetricFinding:
        """Rows that were not answered: exact McNemar."""
        pairs = self._pairs
        differences = [float(pair.a.ok) - float(pair.b.ok) for pair in pairs]
        clusters = [pair.cluster for pair in pairs]
        ups, downs = _ups_and_downs(differences, clusters)
        difference = self._difference(differences, clusters, self._tail or _SHOWN_TAIL, binary=True)
        verdict = self._tossed(ups, downs)
        alike = not ups and not downs and len(pairs) >= self._rows_min
        if alike or (difference is not None and self._tail and _within(difference, self._smallest)):
            verdict = "same"
        return MetricFinding(
            name="failures",
            difference=difference,
            a=sum(not pair.a.ok for pair in pairs) / len(pairs) if pairs else None,
            b=sum(not pair.b.ok for pair in pairs) / len(pairs) if pairs else None,
            verdict=verdict,
            rows=len(pairs),
            method="exact McNemar, Tango's interval"
            if not _hang(clusters)
            else "sign test and bootstrap over clusters",
            p=mcnemar(ups, downs),
        )

    def quality(self) -> QualityFinding:
        """Scores: exact McNemar and Tango's interval when they are right or wrong, else a clustered bootstrap."""
        used = known(self._pairs, score_of)
        unscored = len(self._pairs) - len(used)
        if not used:
            return QualityFinding(unscored=unscored, margin=self._margin)
        binary = all(a in (0.0, 1.0) and b in (0.0, 1.0) for _, a, b in used)
        differences, clusters = [b - a for _, a, b in used], _clusters(used)
        ups, downs = _ups_and_downs(differences, clusters)
        strict = self._difference(differences, clusters, self._tail or _SHOWN_TAIL, binary=binary)
        shown = self._difference(differences, clusters, self._quality_tail or _SHOWN_TAIL, binary=binary)
        exact = binary and not _hang(clusters)
        not_inferior, verdict = self._quality_words(
            strict, shown, self._tossed(ups, downs) if exact else None, len(used)
        )
        beyond = shown is not None and shown.high < -self._margin
        if not_inferior is False or (not_inferior is None and beyond):
            shown = strict  # what is claimed, or not yet claimed, at this level is not shown at a lower one
        return QualityFinding(
            rows=len(used),
            unscored=unscored,
            kind="binary" if binary else "graded",
            a=fsum(a for _, a, _ in used) / len(used),
            b=fsum(b for _, _, b in used) / len(used),
            difference=shown,
            only_a=sum(one < 0 for one in differences),
            only_b=sum(one > 0 for one in differences),
            p=mcnemar(ups, downs),
            method="exact McNemar, Tango's interval" if exact else "clustered bootstrap, widened for what is unseen",
            margin=self._margin,
            not_inferior=not_inferior,
            verdict=verdict,
        )

    def _quality_words(
        self, strict: Interval | None, shown: Interval | None, tossed: Word | None, rows: int
    ) -> tuple[bool | None, Word]:
        """Not inferior, inferior (which is a claim like "worse", at its level) or open; and better, worse, same."""
        if strict is None or shown is None or rows < self._rows_min:
            return None, "unclear"
        verdict: Word = "unclear"
        if tossed is not None:
            verdict = {"better": "worse", "worse": "better"}.get(tossed, tossed)  # type: ignore[assignment]  # more is better
        elif self._tail:
            verdict = "better" if strict.low > 0 else "worse" if strict.high < 0 else "unclear"
        if self._quality_tail and verdict == "unclear" and _within(shown, self._margin):
            verdict = "same"
        if self._tail and strict.high < -self._margin:
            return False, verdict
        return (True if self._quality_tail and shown.low > -self._margin else None), verdict

    def _difference(
        self, differences: Sequence[float], clusters: Sequence[str], tail: float, *, binary: bool
    ) -> Interval | None:
        if not differences:
            return None
        if binary and not _hang(clusters):
            ups, downs = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
            return paired_difference(downs, ups, len(differences), tail=tail)
        return graded_difference(differences, tail=tail, rng=self._rng, resamples=self._resamples, clusters=clusters)

    def _word(self, a: Sequence[float], b: Sequence[float], ratio: Interval | None) -> Word:
        if len(a) < self._rows_min:
            return "unclear"
        if a == b:
            return "same"  # row by row, to the last digit: no chance is in it
        if ratio is None or not self._tail or ratio.level < 1 - 2 * self._tail - 1e-15:
            return "unclear"
        if 1 / (1 + self._smallest) <= ratio.low and ratio.high <= 1 + self._smallest:
            return "same"
        return "better" if ratio.high < 1 else "worse" if ratio.low > 1 else "unclear"

    def _tossed(self, ups: int, downs: int) -> Word:
        """By an exact sign test; `ups` are rows where B has more, which is worse."""
        if (
            len(self._pairs) < self._rows_min
            or not self._tail
            or mcnemar_tail(max(ups, downs), min(ups, downs)) > self._tail
        ):
            return "unclear"
        return "worse" if ups > downs else "better"


def _clusters(used: Sequence[tuple[Pair, float, float]]) -> list[str]:
    return [pair.cluster for pair, _, _ in used]


def _hang(clusters: Sequence[str]) -> bool:
    """Whether any two of them hang together."""
    named = [name for name in clusters if name]
    return len(set(named)) < len(named)


def _ups_and_downs(differences: Sequence[float], clusters: Sequence[str]) -> tuple[int, int]:
    """Clusters (rows) in which B has more, and less."""
    sums = [fsum(differences[i] for i in group) for group in grouped(len(differences), clusters)]
    return sum(one > 0 for one in sums), sum(one < 0 for one in sums)


def _within(interval: Interval, most: float) -> bool:
    return -most <= interval.low and interval.high <= most
