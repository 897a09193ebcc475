"""A comparison as its rows come in: when to look, what may be claimed at a look, and whether it is decided.

How false verdicts are kept rare. With A and B the same, a "better" or "worse" anywhere may come out of at most
2 * alpha of comparisons (5 % at the default alpha of 2.5 %, one-sided), whatever is measured and however often it is
looked at (`bench/bench_stats.py` simulates it):

- **Looks.** alpha is spent after Lan and DeMets (`spending.py`); intervals are those of the look ("repeated confidence
  intervals", Jennison and Turnbull 1989), and so hold although the comparison may have stopped because of them.
- **Metrics.** Latency, TTFT, output length, dollars, failures and quality each get an equal share of alpha
  (Bonferroni), as far as they have values. It needs nothing from how they hang together, and every interval that is
  shown is the one that decided. Holm's procedure would claim a little more, but its intervals do not agree with it.
- **Non-inferiority** has an alpha of its own, at all looks together: its error is the other one (to let a worse B
  pass), it cannot make a false "better" alone, and where B has to be better *and* not inferior both have to hold. To be
  called inferior is a claim like "worse", at the metrics' level, and shown with the interval of that. Where the same
  is asked of the same model nothing waits for non-inferiority: there is none to doubt.
- **Described only**, at 95 % each and without a word: ratios of medians and of p95, and latency taken apart.

Decided: latency and dollars, as far as there are any, are better, worse or the same, and quality is not inferior (or
was not checked); or B is inferior. A comparison that ends early for another reason (no more rows, no more money) makes
its last look with ``final=True``: all of alpha that is left may be spent then, for what ended it was not the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from headway.measure.stats.describe import described as describe
from headway.measure.stats.findings import (
    DECIDING,
    Findings,
    MetricFinding,
    Pair,
    QualityFinding,
    TrialSettings,
    Verdict,
)
from headway.measure.stats.judge import Judge
from headway.measure.stats.rows import rows_more
from headway.measure.stats.sentences import notes_of
from headway.measure.stats.spending import nominal, spending
from headway.measure.stats.values import dollars_of, known, latency_of, score_of, tokens_of, ttft_of

__all__ = ["Trial"]

_FIRST_LOOKS = (20, 30, 50, 70)
_WAITED = ("latency", "dollars")
"""What the stop rule waits for, with quality; failures are too rare to wait for."""


class Trial:
    """Pairs in, findings out. Pure: the same pairs in any order, and the same seed, give the same findings.

    Args:
        settings: See `TrialSettings`; `rows_max` should be no more than the rows there are.

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(self, settings: TrialSettings) -> None:
        if not (0 < settings.alpha < 0.5 and settings.margin > 0 and settings.smallest > 0):
            raise ValueError("alpha has to lie in 0..0.5, margin and smallest above 0")
        if settings.rows_max < 1 or settings.resamples < 100:
            raise ValueError("rows_max has to be at least 1, and resamples at least 100")
        self.settings = settings
        self._pairs: list[Pair] = []
        self._looks: list[tuple[int, float]] = []
        self._schedule = [rows for rows in settings.looks or _schedule(settings.rows_max) if rows < settings.rows_max]
        self._schedule.append(settings.rows_max)

    @property
    def rows(self) -> int:
        """So far."""
        return len(self._pairs)

    def add(self, pair: Pair) -> None:
        """One more row; in any order."""
        self._pairs.append(pair)

    def due(self) -> bool:
        """Whether the rows that are in call for a look that has not been made."""
        seen = self._looks[-1][0] if self._looks else 0
        return any(seen < rows <= self.rows for rows in self._schedule)

    def look(self, *, final: bool = False, described: bool = True) -> Findings:
        """What the rows so far say.

        Args:
            final: No row will come after this look, for a reason that is not the result.
            described: Also what makes no claim: the bootstrap, nearly all of the time that a look takes.
        """
        settings, rows = self.settings, self.rows
        final = final or rows >= settings.rows_max
        fraction = 1.0 if final else rows / settings.rows_max
        if self._looks and (self._looks[-1][0] == rows or self._looks[-1][1] >= 1.0):
            self._looks.pop()  # the same look again, or rows that were under way at the last one
        self._looks.append((rows, fraction))
        pairs = sorted(self._pairs, key=_order)
        enough = rows >= settings.rows_min
        share = settings.alpha / _claims(pairs)
        judge = Judge(
            pairs,
            tail=self._nominal(share) if enough else 0.0,
            quality_tail=self._nominal(settings.alpha) if enough else 0.0,
            smallest=settings.smallest,
            margin=settings.margin,
            rows_min=max(settings.rows_min // 2, 2) if enough else rows + 1,
            rng=self._rng("scores"),
            resamples=settings.resamples,
        )
        found = (
            judge.times("latency", latency_of),
            judge.times("ttft", ttft_of),
            judge.times("output_tokens", tokens_of),
            judge.dollars(),
            judge.failures(),
        )
        metrics = tuple(one for one in found if one is not None)
        quality = replace(judge.quality(), chance=settings.same_asked)
        answered = any(pair.a.ok and pair.b.ok for pair in pairs)
        decided = enough and _decided(metrics, quality, answered=answered)
        more = rows_more(
            [one for one in metrics if one.name in _WAITED],
            quality,
            rows=rows,
            rows_min=settings.rows_min,
            smallest=settings.smallest,
            tail=share,
            quality_tail=settings.alpha,
        )
        return Findings(
            rows=rows,
            looks=len(self._looks),
            final=final,
            metrics=metrics,
            described=describe(pairs, rng=self._rng("rest"), resamples=settings.resamples) if described else (),
            quality=quality,
            decided=decided,
            verdict=_verdict(metrics, quality, answered=answered) if enough else "inconclusive",
            rows_more=0 if decided else more,
            notes=notes_of(pairs, metrics, quality),
            smallest=settings.smallest,
        )

    def _nominal(self, alpha: float) -> float:
        return nominal(tuple((float(rows), spending(alpha, fraction)) for rows, fraction in self._looks))

    def _rng(self, what: str) -> Random:
        return Random(f"{self.settings.seed} {self.rows} {what}")


def _schedule(rows_max: int) -> list[int]:
    """20, 30, 50, 70, then 100, 150, 200, 300, 500, 700 and so on, tenfold each time."""
    looks, decade = list(_FIRST_LOOKS), 100
    while decade <= rows_max:
        looks += [int(decade * step) for step in (1, 1.5, 2, 3, 5, 7)]
        decade *= 10
    return looks


def _order(pair: Pair) -> tuple[int, str, str]:
    """By row; what one row's repeats were is compared as text, for None has no order."""
    return pair.row, pair.cluster, repr(pair)


def _claims(pairs: Sequence[Pair]) -> int:
    """How many metrics share alpha: those with any pair of values, and failures."""
    values = (latency_of, ttft_of, tokens_of, dollars_of, score_of)
    return 1 + sum(bool(known(pairs, value)) for value in values)


def _decided(metrics: Sequence[MetricFinding], quality: QualityFinding, *, answered: bool) -> bool:
    if quality.not_inferior is False:
        return True
    if not answered:
        return any(one.name == "failures" and one.verdict in ("better", "worse") for one in metrics)
    waited = [one.verdict for one in metrics if one.name in _WAITED]
    return bool(waited or quality.rows) and "unclear" not in waited and not quality.is_open


def _verdict(metrics: Sequence[MetricFinding], quality: QualityFinding, *, answered: bool) -> Verdict:
    """What it comes to. What is worse in quality, but surely within the margin, is not held against B."""
    words = {one.name: one.verdict for one in metrics if one.name in DECIDING}
    gains = "better" in words.values() or quality.verdict == "better"
    harms = "worse" in words.values() or (quality.verdict == "worse" and not quality.not_inferior)
    if quality.not_inferior is False:
        return "worse"
    if harms:
        return "mixed" if gains else "worse"
    if not answered or quality.is_open:
        return "inconclusive"
    if gains:
        return "better"
    waited = [words[name] for name in _WAITED if name in words]
    return "same" if (waited or quality.rows) and all(word == "same" for word in waited) else "inconclusive"
