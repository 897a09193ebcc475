"""Schedules of arrivals, as numbers; traces out of files."""

from __future__ import annotations

from array import array
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError, InputError
from headway.measure.bench.arrivals import (
    constant_offsets,
    poisson_offsets,
    read_trace,
    schedule_of,
    trace_offsets,
)
from headway.measure.bench.clock import variation
from headway.measure.bench.run_types import Load

RATES = st.floats(0.01, 10_000.0)


@given(RATES, st.integers(1, 500), st.integers(0, 2**32))
def test_poisson_arrivals_ascend_from_zero_within_their_time(rate_per_s, count, seed):
    """As many as were asked for, in the time that so many take: the offered rate is what was asked."""
    offsets = poisson_offsets(rate_per_s, count, Random(seed))
    assert len(offsets) == count
    assert offsets[0] == 0.0
    assert list(offsets) == sorted(offsets)
    assert offsets[-1] <= count / rate_per_s * (1 + 1e-9)


@settings(max_examples=25)
@given(RATES, st.integers(0, 2**32))
def test_five_thousand_poisson_arrivals_have_their_rate_and_their_spread(rate_per_s, seed):
    """The rate within 0.2 %; the CV of their gaps is 1 but for chance, whose standard deviation is 0.014."""
    offsets = poisson_offsets(rate_per_s, 5000, Random(seed))
    assert 4999 / offsets[-1] == pytest.approx(rate_per_s, rel=0.002)
    assert variation(offsets) == pytest.approx(1.0, abs=0.085)


def test_the_spread_is_as_asked_for_the_seeds_that_benches_use():
    """Within 0.05, for ten of them."""
    for seed in range(10):
        assert variation(poisson_offsets(500.0, 5000, Random(f"arrivals {seed}"))) == pytest.approx(1.0, abs=0.05)


@given(RATES, st.integers(3, 300))
def test_constant_arrivals_do_not_vary(rate_per_s, count):
    """Every gap is the same."""
    offsets = constant_offsets(rate_per_s, count)
    assert variation(offsets) == pytest.approx(0.0, abs=1e-6)
    assert offsets[-1] == pytest.approx((count - 1) / rate_per_s)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50), RATES)
def test_a_trace_keeps_its_shape_at_another_rate(moments, rate_per_s):
    """Stretched to a rate, its gaps keep their proportions, and it starts at 0."""
    moments.sort()
    plain, stretched = trace_offsets(moments), trace_offsets(moments, rate_per_s)
    assert plain[0] == stretched[0] == 0.0
    if plain[-1] > 1e-3:
        assert (len(moments) - 1) / stretched[-1] == pytest.approx(rate_per_s)
        factor = stretched[-1] / plain[-1]
        assert list(stretched) == pytest.approx([at_s * factor for at_s in plain])


@given(
    st.sampled_from(["poisson", "constant"]),
    st.floats(0.5, 500.0),
    st.integers(0, 50),
    st.floats(0.0, 2.0),
    st.integers(1, 200),
)
def test_a_schedule_begins_with_its_warm_up(arrivals, rate_per_s, warmup_count, warmup_s, count):
    """As many requests that count as were asked for, behind the greater of both warm-ups; ascending all through."""
    load = Load(
        rate_per_s=rate_per_s, arrivals=arrivals, count=count, warmup_count=warmup_count, warmup_s=warmup_s
    )  # fmt: skip
    schedule = schedule_of(load, Random(0))
    assert schedule.warmup == max(warmup_count, round(warmup_s * rate_per_s))
    assert len(schedule.offsets_s) == schedule.warmup + count
    assert list(schedule.offsets_s) == sorted(schedule.offsets_s)
    assert schedule.offsets_s[schedule.warmup] == pytest.approx(schedule.counting_from_s)


def test_a_schedule_by_the_clock():
    """Ten seconds of twenty a second are 200; the shorter of both bounds holds."""
    assert len(schedule_of(Load(rate_per_s=20, duration_s=10.0), Random(0)).offsets_s) == 200
    assert len(schedule_of(Load(rate_per_s=20, duration_s=10.0, count=50), Random(0)).offsets_s) == 50


def test_a_traces_schedule():
    """Cut by the clock or by count; its warm-up stands ahead of it, evenly."""
    trace = Load(arrivals="trace", offsets_s=(5.0, 6.0, 6.5, 9.0), duration_s=2.0, warmup_count=2)
    schedule = schedule_of(trace, Random(0))
    assert schedule.warmup == 2
    behind = [at_s - schedule.counting_from_s for at_s in schedule.offsets_s[2:]]
    assert behind == pytest.approx([0.0, 1.0, 1.5])


def test_more_than_a_run_holds_is_refused():
    """A day of 100 requests a second is no single run."""
    with pytest.raises(ConfigError, match="8,640,000"):
        schedule_of(Load(rate_per_s=100, duration_s=86_400), Random(0))


@pytest.mark.parametrize(
    ("name", "text", "moments"),
    [
        ("a.csv", "TIMESTAMP,Tokens\n2023-11-16 18:15:46.6805900,1\n2023-11-16 18:15:50.6805900,2\n", (0.0, 4.0)),
        ("b.jsonl", '{"timestamp": 27482}\n\n{"timestamp": 30535}\n', (0.0, 3.053)),
        ("c.csv", "offset_s\n2\n0.5\n", (0.0, 1.5)),
        ("d.jsonl", '{"offset_s": 1}\n{"offset_s": 3}\n', (0.0, 2.0)),
    ],
)
def test_traces_are_read(tmp_path, name, text, moments):
    """Dates and seconds of a CSV, milliseconds of Mooncake's JSON lines, sorted, from the first."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert read_trace(path) == pytest.approx(moments)
    assert read_trace(path, rows_max=1) == (0.0,)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "x\n1\n", "no column"),
        ("a.csv", "timestamp\nsoon\n", "line 2: 'soon'"),
        ("a.csv", "timestamp\nnan\n", "line 2"),
        ("a.csv", "timestamp\n", "no arrivals"),
        ("a.jsonl", "{\n", "line 1 is no JSON object"),
        ("a.jsonl", '{"timestamp": null}\n', "line 1:"),
        ("a.csv", "timestamp\n1\n\n\nsoon\n", "line 5: 'soon'"),
        ("a.jsonl", '{"timestamp": 1}\n\n{"timestamp": null}\n', "line 3:"),
    ],
)
def test_a_trace_that_is_none_names_its_line(tmp_path, name, text, said):
    """What is wrong, and where."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said):
        read_trace(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "nowhere.csv")


def test_variation_of_next_to_nothing():
    """Two moments have one gap, and moments that coincide have none."""
    assert variation(array("d", [0.0, 1.0])) is None
    assert variation(array("d", [1.0, 1.0, 1.0])) is None
