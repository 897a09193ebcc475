"""Quantiles out of bins are as near as promised."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from headway.insight.histogram import RELATIVE_ERROR, Histogram, add, merge, quantile_s, quantiles

TIMES = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=200)


@given(TIMES, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_five_percent_of_the_nearest_rank(values: list[float], q: float) -> None:
    """Whatever the times are."""
    histogram: Histogram = {}
    for value in values:
        add(histogram, value)
    true = sorted(values)[max(1, ceil(q * len(values))) - 1]
    found = quantile_s(histogram, q)
    assert found is not None
    assert abs(found - true) <= (RELATIVE_ERROR + 1e-6) * max(true, found)
    assert RELATIVE_ERROR < 0.05


@given(TIMES, TIMES)
def test_two_histograms_add_up(some: list[float], more: list[float]) -> None:
    """To count together or apart makes no difference."""
    one: Histogram = {}
    other: Histogram = {}
    both: Histogram = {}
    for value in some:
        add(one, value)
        add(both, value)
    for value in more:
        add(other, value)
        add(both, value)
    merge(one, other)
    assert one == both


def test_nothing_has_no_quantiles() -> None:
    """And no time is too short to be counted."""
    assert quantiles({}).p50_s is None
    assert quantile_s({}, 0.5) is None
    histogram: Histogram = {}
    add(histogram, 0.0)
    add(histogram, -1.0)
    assert sum(histogram.values()) == 2
