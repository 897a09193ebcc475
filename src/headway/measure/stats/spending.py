"""How much of alpha a look may spend, and how far beyond chance a result must lie there for its sake.

Whoever looks at a comparison often enough sees a difference in noise. A spending function says how much of alpha may be
used up after a fraction of the rows; the boundary of each look is what uses up just its share, given that no earlier
look crossed its own.

Sources: Lan, DeMets, "Discrete sequential boundaries for clinical trials" (Biometrika 1983), for the function after
O'Brien and Fleming; Armitage, McPherson, Rowe, "Repeated significance tests on accumulating data" (1969), for the
recursion; Jennison, Turnbull, "Group sequential methods" (2000), section 7.2 (boundaries by spending), 9.2 (intervals
that hold at every look) and 19.2 (the grid). Five even looks at 0.025 one-sided give 4.877, 3.357, 2.680, 2.290,
2.031.
"""

from __future__ import annotations

from functools import lru_cache
from math import erfc, exp, inf, pi, sqrt

from headway.measure.stats.intervals import normal_quantile

__all__ = ["boundary", "nominal", "spending"]

_SPENT_MIN = 1e-12
"""A look whose share is smaller makes no claims: nobody's noise is that normal."""
_SAME_LOOK = 1.02
"""Looks closer than this ratio of rows are one look, with the later one's share."""
_POINTS = 161
_FAR = 8.0

_Grid = tuple[tuple[float, ...], tuple[float, ...]]


def spending(alpha: float, fraction: float) -> float:
    """What may be spent of `alpha` (one-sided) by when `fraction` (0..1) of the rows are in: 2 - 2 Phi(z / sqrt(f)).

    Almost nothing early, nearly all late, so that a comparison that runs to its end loses little by its looks.
    """
    if fraction <= 0.0:
        return 0.0
    return alpha if fraction >= 1.0 else erfc(normal_quantile(alpha / 2) / sqrt(2.0 * fraction))


def boundary(looks: tuple[tuple[float, float], ...]) -> float:
    """The standard normal boundary of the last look; infinite where it may not claim anything.

    Args:
        looks: Of each look so far, this one last: rows (any unit of information, rising), and what may be spent by
            then, one-sided (rising, below 0.5).
    """
    kept: list[tuple[float, float]] = []
    for rows, spent in looks:
        if kept and rows < kept[-1][0] * _SAME_LOOK:
            kept[-1] = (max(rows, kept[-1][0]), spent)
        elif spent >= _SPENT_MIN:
            kept.append((rows, spent))
    if not kept or looks[-1][1] < _SPENT_MIN:
        return inf
    return _solved(tuple(kept))[0]


def nominal(looks: tuple[tuple[float, float], ...]) -> float:
    """`boundary` as a one-sided tail: what p has to be below, 0..0.5."""
    limit = boundary(looks)
    return 0.0 if limit == inf else _tail(limit)


@lru_cache(maxsize=256)
def _solved(looks: tuple[tuple[float, float], ...]) -> tuple[float, _Grid]:
    """The last boundary, and the density (with the grid's weights) of a score that has crossed none up to here.

    The score is a Brownian motion in rows: independent increments, variance = rows.
    """
    rows, spent = looks[-1]
    if len(looks) == 1:
        limit = normal_quantile(spent)
        places, weights = _grid(limit * sqrt(rows), sqrt(rows))
        density = tuple(w * _bell(x / sqrt(rows)) / sqrt(rows) for x, w in zip(places, weights, strict=True))
        return limit, (places, density)
    (rows_before, spent_before), (places_before, density_before) = looks[-2], _solved(looks[:-1])[1]
    step = sqrt(rows - rows_before)
    before = list(zip(places_before, density_before, strict=True))

    def crossing(limit: float) -> float:
        at = limit * sqrt(rows)
        return sum(mass * _tail((at - x) / step) for x, mass in before)

    low, high = -1.0, _FAR
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if crossing(middle) > spent - spent_before else (low, middle)
    limit = (low + high) / 2
    places, weights = _grid(limit * sqrt(rows), sqrt(rows))
    density = tuple(
        w / step * sum(mass * _bell((y - x) / step) for x, mass in before) for y, w in zip(places, weights, strict=True)
    )
    return limit, (places, density)


def _grid(top: float, deviation: float) -> _Grid:
    """Simpson's places and weights from far below up to `top`."""
    bottom = -_FAR * deviation
    width = (top - bottom) / (_POINTS - 1)
    places = tuple(bottom + width * i for i in range(_POINTS))
    weights = tuple(width / 3 * (1 if i in (0, _POINTS - 1) else 4 if i % 2 else 2) for i in range(_POINTS))
    return places, weights


def _bell(z: float) -> float:
    return exp(-z * z / 2) / sqrt(2 * pi)


def _tail(z: float) -> float:
    return 0.5 * erfc(z / sqrt(2))
