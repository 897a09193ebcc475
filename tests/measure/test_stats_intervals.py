"""Quantiles, intervals and the spending of alpha, against published values."""

from __future__ import annotations

from math import comb, exp, isfinite
from random import Random
from statistics import fmean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.measure.stats import bootstrap, paired_ratio, quantile, quantile_or_none
from headway.measure.stats.intervals import finite, normal_quantile, t_quantile
from headway.measure.stats.paired import total_ratio, typical, typical_ratio
from headway.measure.stats.proportions import graded_difference, mcnemar, mcnemar_tail, paired_difference
from headway.measure.stats.resample import grouped, read_draws
from headway.measure.stats.rows import rounded_up, rows_needed
from headway.measure.stats.spending import boundary, nominal, spending

SECONDS = st.floats(1e-4, 1e4)


def test_quantiles_are_those_of_spreadsheets():
    """Type 7: linear between ranks, in any order; p95 and p99 only where there are values enough."""
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([4, 1, 3, 2], 0.95) == pytest.approx(3.85)
    assert quantile([7.0], 0.99) == 7.0
    assert quantile_or_none([1.0] * 19, 0.95) is None
    assert quantile_or_none([1.0] * 20, 0.95) == 1.0
    assert quantile_or_none([1.0] * 99, 0.99) is None
    assert quantile_or_none([1.0] * 100, 0.99) == 1.0
    assert quantile_or_none([], 0.5) is None
    with pytest.raises(ValueError, match="values"):
        quantile([], 0.5)


def test_unknown_values_are_no_values():
    """None, NaN and infinities are left out."""
    assert finite([1.0, None, float("nan"), float("inf"), 2.0]) == [1.0, 2.0]


def test_tails_of_the_tables():
    """Student's t and the normal distribution, as tables have them, and far out."""
    assert t_quantile(0.025, 10) == pytest.approx(2.228139, abs=1e-6)
    assert t_quantile(0.005, 3) == pytest.approx(5.840909, abs=1e-6)
    assert t_quantile(0.025, 1) == pytest.approx(12.706205, abs=1e-5)
    assert t_quantile(0.05, 120) == pytest.approx(1.657651, abs=1e-6)
    assert t_quantile(1e-9, 10_000_000) == pytest.approx(normal_quantile(1e-9), rel=1e-4)


def test_spending_is_that_of_lan_and_demets():
    """Five even looks at 0.025 one-sided: the boundaries that are printed everywhere."""
    looks: tuple[tuple[float, float], ...] = ()
    found = []
    for look in range(1, 6):
        looks = (*looks, (40.0 * look, spending(0.025, look / 5)))
        found.append(boundary(looks))
    assert found == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)
    assert spending(0.025, 0.5) == pytest.approx(0.00153, abs=1e-5)
    assert spending(0.025, 0.0) == 0.0
    assert spending(0.025, 1.0) == spending(0.025, 1.3) == 0.025


def test_one_look_spends_all_of_it():
    """Without early looks the boundary is that of a plain test."""
    assert boundary(((50.0, 0.025),)) == pytest.approx(1.959964, abs=1e-6)
    assert nominal(((50.0, 0.025),)) == pytest.approx(0.025)


def test_looks_that_may_not_claim_anything():
    """A look with next to nothing to spend has no boundary, and leaves its share to the next one."""
    assert nominal(((10.0, 1e-30),)) == 0.0
    assert nominal(((10.0, 1e-30), (100.0, 0.025))) == pytest.approx(0.025)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6, unique=True))
def test_any_looks_spend_alpha_at_most(rows: list[int]):
    """Whatever the schedule: each look's tail lies within what was spent by then, and the last one's below alpha."""
    looks = tuple((float(count), spending(0.025, count / 400)) for count in sorted(rows))
    for end in range(1, len(looks) + 1):
        assert nominal(looks[:end]) <= looks[end - 1][1] * 1.001 + 1e-9


def test_hodges_and_lehmann_of_the_textbook():
    """Hollander and Wolfe's example 3.1 (depression scores): pseudomedian 0.46, interval 0.01 to 0.786."""
    depression = [0.952, -0.147, 1.022, 0.430, 0.620, 0.590, 0.490, -0.080, 0.010]
    found = typical(depression, tail=0.025)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((0.46, 0.01, 0.786))


def test_few_values_say_how_sure_they_are():
    """Three values cannot be 99 % sure of anything: the interval is their range, at the level that it has."""
    found = typical([0.1, 0.2, 0.3], tail=0.005)
    assert found is not None
    assert (found.low, found.high, found.level) == (pytest.approx(0.1), pytest.approx(0.3), 0.75)
    assert typical([], tail=0.005) is None


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=301, max_size=320), st.sampled_from([0.025, 1e-4]))
def test_many_values_are_counted_not_listed(values: list[float], tail: float):
    """Bisection finds what listing all means of two finds."""
    found = typical(values, tail=tail)
    means = sorted((x + y) / 2 for i, x in enumerate(values) for y in values[i:])
    middle = (means[(len(means) - 1) // 2] + means[len(means) // 2]) / 2
    assert found is not None
    assert found.estimate == pytest.approx(middle, abs=1e-8)
    assert any(abs(found.low - one) < 1e-8 for one in means)


def test_exact_mcnemar():
    """Published pairs of counts: 1 and 7 (Bentur 2009) p = 0.0703; 6 and 16 (two-sided sign test) p = 0.0525."""
    assert mcnemar(1, 7) == mcnemar(7, 1) == pytest.approx(0.0703125)
    assert mcnemar(6, 16) == pytest.approx(0.052479, abs=1e-6)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0
    assert mcnemar(0, 6) == 2 / 64
    exact = sum(comb(1001, k) for k in range(560, 1002)) / 2**1001
    assert mcnemar_tail(560, 441) == pytest.approx(exact, rel=0.02)  # many tosses: the normal approximation


def test_tango_of_the_textbook():
    """Airway hyper-responsiveness (Bentur 2009, in Fagerland's comparison): -0.286, interval -0.517 to -0.026."""
    found = paired_difference(7, 1, 21, tail=0.025)
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)


def test_no_difference_still_has_width():
    """A hundred rows that agree leave z^2 / (n + z^2) open, for rates and for grades alike."""
    width = 1.959964**2 / (100 + 1.959964**2)
    rates = paired_difference(0, 0, 100, tail=0.025)
    grades = graded_difference([0.0] * 100, tail=0.025, rng=Random(1), resamples=1000)
    assert grades is not None
    assert (rates.low, rates.high) == pytest.approx((-width, width), abs=1e-6)
    assert (grades.low, grades.high) == pytest.approx((-width, width), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 200), st.sampled_from([0.025, 0.004, 1e-6]))
def test_rates_seen_from_both_sides(only_a: int, only_b: int, agreed: int, tail: float):
    """Swapping A and B turns the interval round; a smaller tail and fewer rows make it wider."""
    rows = only_a + only_b + agreed
    there, back = paired_difference(only_a, only_b, rows, tail=tail), paired_difference(only_b, only_a, rows, tail=tail)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert -1 <= there.low <= there.estimate <= there.high <= 1
    surer = paired_difference(only_a, only_b, rows, tail=tail / 10)
    assert surer.low <= there.low + 1e-9
    assert surer.high >= there.high - 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_ratios_seen_from_both_sides(pairs: list[tuple[float, float]], rng: Random):
    """B over A is the inverse of A over B, in any order of the rows."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    shuffled = rng.sample(pairs, len(pairs))
    for ratio in (typical_ratio, total_ratio):
        there, back = ratio(a, b, tail=0.01), ratio(b, a, tail=0.01)
        mixed = ratio([x for x, _ in shuffled], [y for _, y in shuffled], tail=0.01)
        assert there is not None
        assert back is not None
        assert mixed is not None
        for one in (back.inverse, mixed):
            assert (one.low, one.estimate, one.high) == pytest.approx((there.low, there.estimate, there.high), rel=1e-6)
        assert there.low <= there.estimate <= there.high


def test_a_bootstrap_can_be_repeated_and_turned_round():
    """The same seed gives the same interval, and the other way round its inverse."""
    rng = Random(5)
    a = [exp(rng.gauss(0, 0.5)) for _ in range(60)]
    b = [x * exp(rng.gauss(-0.2, 0.2)) for x in a]
    there = paired_ratio(a, b, median, rng=Random(1))
    assert there == paired_ratio(a, b, median, rng=Random(1))
    assert there != paired_ratio(a, b, median, rng=Random(2))
    back = paired_ratio(b, a, median, rng=Random(1))
    assert there is not None
    assert back is not None
    assert (back.inverse.low, back.inverse.high) == pytest.approx((there.low, there.high), rel=1e-4)
    assert there.low < 0.82 < there.high


def test_few_rows_are_read_further_out():
    """Hesterberg's expansion for five rows: t = 2.776 times sqrt(5 / 4) is a normal tail of 0.0955 %, not 2.5 %."""
    found = read_draws(50_000.0, [float(i) for i in range(100_001)], 5, 0.95)
    assert (found.low, found.high) == (pytest.approx(95.5, rel=0.01), pytest.approx(100_000 - 95.5, rel=1e-4))


def test_rows_that_hang_together_count_once():
    """Each value four times over, as one cluster, is as sure as each value once; as rows it would be twice as sure."""
    rng = Random(3)
    values = [rng.gauss(10, 1) for _ in range(40)]
    four, names = [value for value in values for _ in range(4)], [str(i) for i in range(40) for _ in range(4)]
    once = bootstrap(values, fmean, rng=Random(1), resamples=500)
    hanging = bootstrap(four, fmean, rng=Random(1), resamples=500, clusters=names)
    loose = bootstrap(four, fmean, rng=Random(1), resamples=500)
    assert once is not None
    assert hanging is not None
    assert loose is not None
    assert (hanging.low, hanging.high) == pytest.approx((once.low, once.high))
    assert loose.high - loose.low < 0.65 * (once.high - once.low)
    graded = [value - 10 for value in values]
    apart = graded_difference(graded, tail=0.001, rng=Random(1), resamples=500)
    tied = graded_difference([value - 10 for value in four], tail=0.001, rng=Random(1), resamples=500, clusters=names)
    assert apart == tied
    assert grouped(4, ["x", "", "x", ""]) == [[0, 2], [1], [3]]


def test_no_ratio_no_interval():
    """Nothing, one row, and zeros have no ratio; equal values have exactly 1."""
    assert bootstrap([1.0], fmean, rng=Random(1)) is None
    assert paired_ratio([0.0, 0.0], [1.0, 2.0], fmean, rng=Random(1)) is None
    assert total_ratio([0.0, 0.0], [1.0, 2.0], tail=0.025) is None
    assert total_ratio([1.0], [1.0], tail=0.025) is None
    same = paired_ratio([1.0, 2.0], [1.0, 2.0], fmean, rng=Random(1))
    assert same is not None
    assert (same.low, same.high) == (1.0, 1.0)
    alike = bootstrap([2.0, 2.0, 2.0], fmean, rng=Random(1))
    assert alike is not None
    assert (alike.low, alike.high) == (2.0, 2.0)
    constant = total_ratio([1.0, 2.0, 3.0], [0.8, 1.6, 2.4], tail=0.01)
    assert constant is not None
    assert constant.low == constant.high == pytest.approx(0.8)


def test_rows_needed():
    """The textbook's (z + z')^2 sd^2 / d^2; Tango's width where nothing differs; none for no effect."""
    assert rows_needed(0.5, 1.0, tail=0.025) == pytest.approx(31.4, abs=0.1)
    assert rows_needed(0.02, 0.0, tail=0.025, unseen=1.0) == pytest.approx(1.959964**2 / 0.02)
    assert not isfinite(rows_needed(0.0, 1.0, tail=0.025))
    assert [rounded_up(count) for count in (1, 93, 101, 221, 930, 4831)] == [10, 100, 120, 240, 950, 4900]
