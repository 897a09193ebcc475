"""What a look shows without a claim: ratios of medians and of p95, and latency taken apart; at 95 %, each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import median

from headway.measure.stats.findings import MetricFinding, Pair
from headway.measure.stats.intervals import quantile, quantile_or_none
from headway.measure.stats.parts import Taken, apart
from headway.measure.stats.resample import quantile_ratios
from headway.measure.stats.values import Value, known, latency_of, tokens_of, ttft_of

__all__ = ["described"]

_P95 = 0.95
_DRAWN_MOST, _RESAMPLES_MIN = 400_000, 200
"""Rows times resamples: a look over thousands of rows draws less often, for its quantiles are steadier."""


def described(pairs: Sequence[Pair], *, rng: Random, resamples: int) -> tuple[MetricFinding, ...]:
    """latency_p50, latency_p95 (from 20 rows), ttft_p50, length_part, speed_part: those that there are values for."""
    resamples = min(resamples, max(_DRAWN_MOST // max(len(pairs), 1), _RESAMPLES_MIN))
    return (
        *_quantiles(pairs, "latency", latency_of, (0.5, _P95), rng, resamples),
        *_quantiles(pairs, "ttft", ttft_of, (0.5,), rng, resamples),
        *_parts(pairs, rng, resamples),
    )


def _quantiles(
    pairs: Sequence[Pair], name: str, value: Value, qs: Sequence[float], rng: Random, resamples: int
) -> list[MetricFinding]:
    used = [(pair.cluster, a, b) for pair, a, b in known(pairs, value, above_0=True)]
    clusters, a, b = [one[0] for one in used], [one[1] for one in used], [one[2] for one in used]
    reached = [q for q in qs if quantile_or_none(a, q) is not None] if used else []
    ratios = quantile_ratios(a, b, reached, rng=rng, resamples=resamples, clusters=clusters) if reached else []
    return [
        MetricFinding(
            name=f"{name}_p{q * 100:.0f}",
            ratio=ratio,
            a=quantile(a, q),
            b=quantile(b, q),
            rows=len(used),
            left_out=len(pairs) - len(used),
            method="ratio of the quantiles (bootstrap of pairs)",
        )
        for q, ratio in zip(reached, ratios, strict=True)
        if ratio is not None
    ]


def _parts(pairs: Sequence[Pair], rng: Random, resamples: int) -> list[MetricFinding]:
    """Over rows with a latency and a length on both sides; by row if all of those have a first token, too."""
    timed = {id(pair): (a, b) for pair, a, b in known(pairs, latency_of, above_0=True)}
    used = [(pair, a, b) for pair, a, b in known(pairs, tokens_of, above_0=True) if id(pair) in timed]
    first = {id(pair): (a, b) for pair, a, b in known([pair for pair, _, _ in used], ttft_of)}
    streamed = bool(first) and len(first) * 2 >= len(used)
    if streamed:  # the few rows without a first token are left out
        used = [one for one in used if id(one[0]) in first]
    a, b = [], []
    for pair, tokens_a, tokens_b in used:
        (latency_a, latency_b), (first_a, first_b) = timed[id(pair)], first.get(id(pair), (None, None))
        a.append(Taken(latency_a, first_a if streamed else None, tokens_a))
        b.append(Taken(latency_b, first_b if streamed else None, tokens_b))
    parts = apart(a, b, rng=rng, resamples=resamples, clusters=[pair.cluster for pair, _, _ in used])
    if parts is None:
        return []
    length, speed, method = parts
    left_out = len(pairs) - len(used)
    return [
        MetricFinding(
            name="length_part",
            ratio=length,
            a=median([one.tokens for one in a]),
            b=median([one.tokens for one in b]),
            rows=len(used),
            left_out=left_out,
            method=method,
        ),
        MetricFinding(name="speed_part", ratio=speed, rows=len(used), left_out=left_out, method=method),
    ]
