"""Which target is the fastest, said only where the intervals and the measurement's own error allow it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import median

import msgspec

from headway.measure.bench.figures import Figures, of_provider
from headway.measure.bench.run_types import Run
from headway.measure.bench.self_check import refusal
from headway.measure.probe import Probe
from headway.measure.stats.intervals import Interval
from headway.measure.stats.resample import paired_ratio
from headway.report import format as fmt

__all__ = ["Verdict", "verdict_of"]

_PAIRS_MIN, _PAIRS_MAX = 5, 2_000
"""Of more pairs than the latter a sample is drawn: a second of bootstrap, and a wider interval at the most."""
_RESAMPLES = 2_000
_SEED = 20_261_121
_FAILED_MORE = 0.05


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Of the targets under one load."""

    load: str
    metric: str
    """"ttft", or "e2e" where answers did not stream."""
    fastest: str = ""
    """A target's name; "" where none can be told."""
    ratio: Interval | None = None
    """Its median over the next one's, below 1."""
    next: str = ""
    refused: bool = False
    """The measurement's own error is too near to the difference."""
    sentence: str = ""


def verdict_of(runs: Sequence[Run], figures: Sequence[Figures]) -> Verdict | None:
    """Which of the targets of one load is the fastest, by medians of pairs; None where there is but one.

    Pairs are requests of the same round: what one moment does to the network or the machine, it does to both. The
    interval is wide enough for all comparisons of the leader with the others (Bonferroni).

    Args:
        runs: Of one load.
        figures: Theirs, in the same order.
    """
    if len(runs) < 2:
        return None
    load = figures[0].load
    able = [(run, one) for run, one in zip(runs, figures, strict=True) if one.e2e.count]
    streamed = all(one.ttft.count for _, one in able)
    metric, what = ("ttft", "to its first token") if streamed else ("e2e", "to its whole answer")
    if len(able) < 2:
        return Verdict(
            load=load, metric=metric, sentence=f"With {load}, fewer than two targets answered: none to compare."
        )
    ranked = sorted(able, key=lambda pair: _middle(pair[1], metric))
    (first, best), (_, after) = ranked[:2]
    base = Verdict(load=load, metric=metric, next=after.target)
    level = 1 - 0.05 / (len(able) - 1)
    ratios = [_ratio(first, run, metric, level) for run, _ in ranked[1:]]
    ratio = ratios[0]
    if ratio is None:
        few = f"With {load}, too few requests of {best.target} and {after.target} succeeded together to compare them."
        return msgspec.structs.replace(base, sentence=few)
    lead_s = _middle(after, metric) - _middle(best, metric)
    base = msgspec.structs.replace(base, ratio=ratio)
    refused = refusal(max(_own_error_s(one, metric) for one in (best, after)), lead_s, metric) if lead_s > 0 else ""
    if refused:
        return msgspec.structs.replace(base, refused=True, sentence=f"With {load}, {refused}.")
    if ratio.high >= 1 or any(one is None or one.high >= 1 for one in ratios):
        told = (
            f"With {load}, {best.target} leads {what}, {fmt.percent(1 - ratio.estimate)} below {after.target}, but by "
            "no more than chance: more --runs would tell."
        )
        return msgspec.structs.replace(base, sentence=told)
    told = (
        f"With {load}, {best.target} is the fastest {what}: {fmt.interval(1 - ratio.high, 1 - ratio.low)} below "
        f"{after.target}."
    )
    return msgspec.structs.replace(base, fastest=best.target, sentence=told + _failing(best, after))


def _middle(one: Figures, metric: str) -> float:
    return (one.ttft.p50 if metric == "ttft" else one.e2e.p50) or 0.0


def _value_s(probe: Probe, metric: str) -> float | None:
    return probe.latency_s if metric == "e2e" else probe.ttft_s if probe.streamed else None


def _ratio(a: Run, b: Run, metric: str, level: float) -> Interval | None:
    """The median of `a` over that of `b`, over the requests of the same index that both answered."""
    own = {probe.index: _value_s(probe, metric) for probe in of_provider(a)}
    pairs = [
        (mine_s, other_s)
        for probe in of_provider(b)
        if (mine_s := own.get(probe.index)) is not None and (other_s := _value_s(probe, metric)) is not None
    ]
    if len(pairs) < _PAIRS_MIN:
        return None
    if len(pairs) > _PAIRS_MAX:
        pairs = Random(_SEED).sample(pairs, _PAIRS_MAX)
    mine, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return paired_ratio(others, mine, median, rng=Random(_SEED), level=level, resamples=_RESAMPLES)


def _own_error_s(one: Figures, metric: str) -> float:
    """What this process may have added or hidden, in seconds; 0 where it was not calibrated."""
    if one.own_error is None:
        return 0.0
    error = one.own_error.ttft_p50_s if metric == "ttft" else one.own_error.latency_p50_s
    return abs(error or 0.0)


def _failing(best: Figures, after: Figures) -> str:
    """A word where the winner fails more often: quick refusals are no speed."""
    lost, other = (1 - one.ok / one.due if one.due else 0.0 for one in (best, after))
    if lost - other < _FAILED_MORE:
        return ""
    return f" But {fmt.percent(lost)} of its requests failed, and {fmt.percent(other)} of {after.target}'s."
