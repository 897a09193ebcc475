"""A against A: what chance alone makes of the same thing, seen before A is compared with anything."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from headway.measure.compare.comparison import Asked, Noise, pair_of
from headway.measure.compare.settings import CompareSettings
from headway.measure.stats.trial import Trial

__all__ = ["noise_of"]


def noise_of(asked: Sequence[Asked], settings: CompareSettings) -> Noise:
    """What two runs of A differ by; at least two rows."""
    count = len(asked)
    trial = Trial(settings.trial(count))
    for one in asked:
        trial.add(pair_of(one, ttft=False))
    found = trial.look()
    metric = found.metric("latency")
    both = [(one.a.result.latency_s, one.b.result.latency_s) for one in asked]
    apart = [max(pair) / min(pair) - 1 for pair in both if min(pair) > 0]
    return Noise(
        rows=count,
        ratio=metric.ratio if metric is not None else None,
        row_ratio=median(apart) if apart else None,
        answers_differ=sum(one.a.result.text != one.b.result.text for one in asked),
        verdict=found.verdict,
    )
