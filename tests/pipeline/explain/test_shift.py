"""A p95 that has gone up: the exact test is exact, false alarms are as rare as they are said to be."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import exp
from random import Random

import pytest

from headway.pipeline.explain.quantiles import quantile, quantile_or_none
from headway.pipeline.explain.shift import Shift, exceedance_p, holm, shift_of


@pytest.mark.parametrize("place", [1, 3, 4])
def test_the_test_is_exact(place):
    """Against every way in which 4 earlier and 3 later values can lie among each other."""
    ways = list(combinations(range(7), 3))  # the places of the later values, ascending
    for beyond in range(4):
        hits = 0
        for later in ways:
            earlier = [i for i in range(7) if i not in later]
            hits += sum(i > earlier[place - 1] for i in later) >= beyond
        assert exceedance_p(beyond, 3, 4, place) == pytest.approx(float(Fraction(hits, len(ways))))


def test_holm_is_what_it_is_known_to_be():
    """Holm's own example order: the smallest times 3, the next times 2, and never below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def times(rng: Random, count: int, factor: float = 1.0) -> list[float]:
    return [factor * exp(rng.gauss(0, 0.3)) for _ in range(count)]


def checks(slowdown: float, count: int = 200) -> float:
    """The share of checks of five steps that name any (nothing changed), or the first (it did)."""
    rng, hits = Random(5), 0
    for _ in range(count):
        shifts = [shift_of(times(rng, 200), times(rng, 60, slowdown if step == 0 else 1.0)) for step in range(5)]
        ps = holm([shift.p for shift in shifts])
        named = [p <= 0.01 and shift.beyond(0.2) for p, shift in zip(ps, shifts, strict=True)]
        hits += named[0] if slowdown > 1 else any(named)
    return hits / count


def test_nothing_changed_is_hardly_ever_called_slower():
    """An A/A simulation: at a rate of 1 % at most 4 of 200 checks may cry wolf (P of more: 5 %)."""
    assert checks(1.0) <= 0.02


def test_half_as_long_again_is_found():
    """The power for a slowdown of 1.5 with 60 recent runs: nine times in ten."""
    assert checks(1.5) >= 0.9


def test_too_few_runs_are_not_judged():
    """Below 50 earlier or 20 later values there is no verdict."""
    rng = Random(1)
    assert shift_of(times(rng, 49), times(rng, 100)) is None
    assert shift_of(times(rng, 100), times(rng, 19)) is None


def test_equal_values_are_no_reason_for_an_alarm():
    """A step that always takes the same, e.g. from a cache, has nothing beyond its limit."""
    shift = shift_of([1.0] * 100, [1.0] * 50)
    assert (pytest.approx(1.0), 1.0, False) == (shift.p, shift.ratio, shift.beyond(0.2))


def test_what_happened_before_is_no_news():
    """A slow stretch of as many runs in the past sets the bar: as slow again is not named, slower still is."""
    rng = Random(2)
    before = [*times(rng, 200), *times(rng, 50, 2.0), *times(rng, 150)]
    assert not shift_of(before, times(rng, 50, 2.0)).beyond(0.2)
    assert shift_of(before, times(rng, 50, 4.0)).beyond(0.2)


def test_a_p95_of_nothing_is_no_division_by_zero():
    """From 0 s to something is up without bound; from 0 to 0 is the same."""
    assert Shift(50, 20, 0.0, 1.0, 0.0, 0.0).ratio == float("inf")
    assert Shift(50, 20, 0.0, 0.0, 1.0, 0.0).ratio == 1.0


def test_quantiles_are_blank_where_values_do_not_reach():
    """Type 7 between ranks; no p95 below 20 values, no p99 below 100."""
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([1.0], 0.99) == 1.0
    assert quantile_or_none([1.0] * 19, 0.95) is None
    assert quantile_or_none([1.0] * 20, 0.95) == 1.0
    assert quantile_or_none([1.0] * 99, 0.99) is None
    assert quantile_or_none([], 0.5) is None
