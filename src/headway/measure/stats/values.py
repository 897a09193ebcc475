"""Which number of a row a metric is about, and which rows have it on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headway.measure.stats.findings import Pair, Side

__all__ = ["Value", "dollars_of", "known", "latency_of", "score_of", "tokens_of", "ttft_of"]

Value = Callable[[Side], float | None]

_LEAST, _MOST = 1e-12, 1e12
"""Seconds, tokens or dollars: what is less is nothing, what is more (infinity, too) was never measured."""


def latency_of(side: Side) -> float | None:
    """Of answers: a row that failed has none."""
    return side.latency_s if side.ok else None


def ttft_of(side: Side) -> float | None:
    """Of answers that were streamed."""
    return side.ttft_s if side.ok else None


def tokens_of(side: Side) -> float | None:
    """Of answers."""
    return side.output_tokens if side.ok else None


def dollars_of(side: Side) -> float | None:
    """Of all rows: failures may be billed."""
    return side.dollars


def score_of(side: Side) -> float | None:
    """A score outside 0..1 is none."""
    return side.score if side.score is not None and 0 <= side.score <= 1 else None


def known(pairs: Sequence[Pair], value: Value, *, above_0: bool = False) -> list[tuple[Pair, float, float]]:
    """The pairs that have a number >= 0 (with `above_0`: > 0) on both sides, with both; None and NaN are no numbers."""
    found = []
    for pair in pairs:
        a, b = _number(value(pair.a)), _number(value(pair.b))
        if a is not None and b is not None and (not above_0 or (a > 0 and b > 0)):
            found.append((pair, a, b))
    return found


def _number(value: float | None) -> float | None:
    if value is None or not 0 <= value <= _MOST:
        return None
    return float(value) if value >= _LEAST else 0.0
