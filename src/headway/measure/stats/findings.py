"""What goes into a comparison and what comes out of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from headway.measure.stats.intervals import Interval

__all__ = [
    "DECIDING",
    "MARGIN",
    "METRICS",
    "SMALLEST",
    "Findings",
    "MetricFinding",
    "Pair",
    "QualityFinding",
    "Side",
    "TrialSettings",
    "Verdict",
    "Word",
]

MARGIN = 0.02
SMALLEST = 0.02
METRICS = ("latency", "ttft", "output_tokens", "dollars", "failures")
"""Those with a verdict; quality has its own finding."""
DECIDING = ("latency", "dollars", "failures")
"""Those that the overall verdict is made of, with quality: TTFT and length are ways to latency and cost."""

Word = Literal["better", "worse", "same", "unclear"]
Verdict = Literal["better", "worse", "mixed", "same", "inconclusive"]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant made of one row. None, and NaN: unknown; that metric then leaves the row out, and counts it."""

    ok: bool
    """Answered. A row that was not has no latency, whatever it took."""
    latency_s: float | None = None
    ttft_s: float | None = None
    output_tokens: float | None = None
    dollars: float | None = None
    """What the row took, failed or not."""
    score: float | None = None
    """0..1; None: it cannot be judged (no expected value, no answer). An answer that is wrong in form is 0."""
    note: str = ""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One row under both variants. Pairs of one `cluster` hang together; "": it stands alone."""

    row: int
    cluster: str = ""
    a: Side
    b: Side


class TrialSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a comparison looks, and how sure it has to be."""

    margin: float = MARGIN
    """How much worse, in score (0..1), still counts as not inferior; > 0."""
    alpha: float = 0.025
    """One-sided, for all metrics and all looks together: a false "better" or "worse" in at most 2 * alpha of A/As."""
    smallest: float = SMALLEST
    """A ratio within 1 / (1 + smallest)..1 + smallest is the same in practice."""
    rows_min: int = 20
    """Below it nothing is said."""
    rows_max: int = 200
    """Rows at which all of alpha is spent: the most that the comparison may take, no more than there are."""
    looks: tuple[int, ...] = ()
    """Numbers of rows at which to look, rising; empty: 20, 30, 50, 70, 100, 150, 200, 300, ... up to `rows_max`."""
    seed: int = 0
    resamples: int = 1000
    """Of the bootstrap, >= 100."""
    same_asked: bool = False
    """Both ask the same of the same model: only chance can tell their quality apart, and nothing waits for it."""


class MetricFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One metric, B against A. Less is "better" for all of them."""

    name: str
    ratio: Interval | None = None
    """B over A; None where there is none (no values, zeros)."""
    difference: Interval | None = None
    """B less A, of rates in 0..1; for failures."""
    a: float | None = None
    """What A came to: the median of latency and TTFT, the mean of tokens and dollars, the rate of failures."""
    b: float | None = None
    verdict: Word | None = None
    """None: described only, without a claim."""
    rows: int = 0
    """Pairs that it rests on."""
    left_out: int = 0
    """Pairs without a value on either side."""
    method: str = ""
    p: float | None = None
    """Two-sided and exact, for failures; for one look, while the verdict counts all of them."""


class QualityFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Scores, B less A."""

    rows: int = 0
    """Pairs with a score on both sides."""
    unscored: int = 0
    """Pairs without: no expected value, no answer. Never scored."""
    kind: Literal["none", "binary", "graded"] = "none"
    a: float | None = None
    """Mean score of A, 0..1."""
    b: float | None = None
    difference: Interval | None = None
    """At the level that decides: that of non-inferiority; where B is inferior, or would be at that level and is not
    at the stricter one of claims, the wider interval of the latter."""
    only_a: int = 0
    """Pairs where A scored more."""
    only_b: int = 0
    p: float | None = None
    """Exact McNemar (binary) or sign test (graded), two-sided, for one look."""
    method: str = ""
    margin: float = MARGIN
    not_inferior: bool | None = None
    """True: B is not worse by more than `margin`; False: it is; None: open, or nothing was scored."""
    verdict: Word = "unclear"
    chance: bool = False
    """The same was asked of the same model: what is open can only be chance."""

    @property
    def is_open(self) -> bool:
        """Whether there are marks, they do not tell whether B is inferior, and it could be."""
        return bool(self.rows) and self.not_inferior is None and not self.chance


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a look saw."""

    rows: int
    looks: int
    """How many there were, this one included."""
    final: bool
    """All of alpha is spent: what is open now stays open without a new comparison."""
    metrics: tuple[MetricFinding, ...] = ()
    """With a verdict: latency, ttft, output_tokens, dollars, failures, as far as there are values (failures always)."""
    described: tuple[MetricFinding, ...] = ()
    """Without: latency_p50, latency_p95, ttft_p50, and latency taken apart into length_part and speed_part."""
    quality: QualityFinding
    decided: bool = False
    verdict: Verdict = "inconclusive"
    rows_more: int | None = None
    """About how many more would decide; 0 when decided, None where no number would."""
    notes: tuple[str, ...] = ()
    smallest: float = SMALLEST

    def metric(self, name: str) -> MetricFinding | None:
        """By its name, with or without a verdict; None: there were no values."""
        return next((one for one in (*self.metrics, *self.described) if one.name == name), None)
