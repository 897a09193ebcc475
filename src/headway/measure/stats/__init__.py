"""Statistics of measurements: quantiles, intervals, paired tests, and when to stop. Pure: dice are arguments."""

from headway.measure.stats.findings import Findings, MetricFinding, Pair, QualityFinding, Side, TrialSettings
from headway.measure.stats.intervals import Interval, quantile, quantile_or_none
from headway.measure.stats.resample import bootstrap, paired_ratio

__all__ = [
    "Findings",
    "Interval",
    "MetricFinding",
    "Pair",
    "QualityFinding",
    "Side",
    "TrialSettings",
    "bootstrap",
    "paired_ratio",
    "quantile",
    "quantile_or_none",
]
