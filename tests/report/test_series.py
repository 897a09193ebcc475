"""What charts are drawn from: exact while small, bounded always."""

import statistics
from itertools import pairwise
from math import floor, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.report.series import LogHistogram, Quantiles, Timeline

SECONDS = st.floats(0, 1000, allow_subnormal=False)


@given(st.lists(SECONDS, min_size=2, max_size=60))
def test_small_runs_have_exact_percentiles(values):
    """Mean and percentiles are those that the statistics module gives, to the last digit that floats have."""
    kept = Quantiles()
    for value in values:
        kept.add(value)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert kept.quantiles(0.5, 0.95, 0.99) == pytest.approx((cuts[49], cuts[94], cuts[98]))
    assert kept.mean == pytest.approx(statistics.fmean(values))
    assert (kept.max, kept.count) == (max(values), len(values))


@given(st.lists(st.floats(0.001, 100), min_size=30, max_size=200))
def test_large_runs_have_percentiles_right_to_one_percent(values):
    """Past the bound the sketch takes over: mean and maximum stay exact, a percentile is off by at most 1 %."""
    kept = Quantiles(exact_max=20)
    for value in values:
        kept.add(value)
    ranked = sorted(values)
    for q in (0.0, 0.5, 0.95, 1.0):
        assert kept.quantiles(q)[0] == pytest.approx(ranked[floor(q * (len(ranked) - 1))], rel=0.0101)
    assert kept.mean == pytest.approx(statistics.fmean(values))
    assert kept.max == max(values)


def test_no_values_no_figures():
    """Nothing is known of nothing: None, never zero."""
    kept = Quantiles()
    assert (kept.mean, kept.max, kept.quantiles(0.5, 0.99)) == (None, None, (None, None))


INTERVALS = st.lists(st.tuples(st.floats(-50, 2000), st.floats(0, 500)), max_size=40)


@given(INTERVALS, INTERVALS, st.integers(2, 40))
def test_timeline_is_the_mean_of_every_slot(first, second, points_max):
    """Each point is the mean number of open intervals of its slot, whatever was merged; and points are bounded."""
    timeline = Timeline(lanes=2, points_max=points_max)
    lanes = ([(a, a + d) for a, d in first], [(a, a + d) for a, d in second])
    for lane, intervals in enumerate(lanes):
        for from_s, to_s in intervals:
            timeline.add(lane, from_s, to_s)
    step_s, means = timeline.means()
    real = [(a, b) for intervals in lanes for a, b in intervals if b > a]
    if not real:
        assert means == ((), ())
        return
    origin_s = floor(min(a for a, _ in real) / step_s) * step_s
    for lane, intervals in enumerate(lanes):
        assert len(means[lane]) <= points_max
        for i, mean in enumerate(means[lane]):
            low, high = origin_s + i * step_s, origin_s + (i + 1) * step_s
            overlap = sum(max(0.0, min(b, high) - max(a, low)) for a, b in intervals)
            assert mean == pytest.approx(overlap / step_s, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 1)), max_size=80))
def test_histogram_loses_no_value_and_is_bounded(values):
    """Every value is in the one bin around it; beyond the range it counts at the range's end."""
    histogram = LogHistogram()
    for value, kind in values:
        histogram.add(value, kind)
    bins = histogram.bins()
    assert len(bins) <= 134
    for kind in (0, 1):
        assert sum(one[2 + kind] for one in bins) == sum(k == kind for _, k in values)
    for (_, to_s, *_a), (from_s, *_b) in pairwise(bins):
        assert to_s == pytest.approx(from_s)


@given(st.floats(1e-5, 1e5))
def test_a_value_is_inside_its_bin(value):
    """Its edges are around it."""
    histogram = LogHistogram()
    histogram.add(value, 0)
    ((from_s, to_s, calls, reused),) = histogram.bins()
    assert from_s * (1 - 1e-12) <= value <= to_s * (1 + 1e-12)
    assert (calls, reused) == (1, 0)
    assert to_s < inf
