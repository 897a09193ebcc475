"""Charts of several series: right marks for hand-made numbers, bounded, escaped, and nothing drawn where nothing is."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.report.charts import SERIES_MAX, differences_chart, ecdf_chart, ecdf_keys
from headway.report.charts_base import scale_of, spread_ticks
from headway.report.charts_time import Span, stacked_chart, waterfall_chart
from headway.report.page import figure, page, section
from tests.report.test_page import parsed

TIMES = st.lists(st.floats(1e-5, 1e3), max_size=30)
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


def lines(chart):
    return re.findall(r'<path class="line (s\d)" d="([^"]+)"', chart)


def test_an_ecdf_climbs_to_the_share_of_values_up_to_each_value():
    """Four values on an axis from 0 to 4 s: a step of a quarter at each of them."""
    chart = ecdf_chart([("a", [4.0, 1.0, 2.0, 3.0])], name="latency", marks=[(0.001, "zero")])
    [(_, path)] = lines(chart)
    steps = [(float(x), float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path)]
    heights = [y for _, y in steps]
    assert heights == pytest.approx([12 + 176 * (1 - share) for share in (0.25, 0.5, 0.75, 1.0)])
    assert [x for x, _ in steps] == sorted(x for x, _ in steps)
    assert "a: half of 4 within 2.00 s, all within 4.00 s" in chart


def test_each_series_has_a_colour_and_the_key_the_same():
    """In the order given, and never more than there are colours."""
    series = [(f"model {i}", [1.0, 2.0 + i]) for i in range(SERIES_MAX + 2)]
    found = [css for css, _ in lines(ecdf_chart(series, name="x"))]
    assert found == [css for css, _ in ecdf_keys([name for name, _ in series])]
    assert len(found) == SERIES_MAX


def test_limits_are_marked_where_they_are_on_the_axis():
    """A budget near the values is drawn; one far beyond would press them together, and is not."""
    chart = ecdf_chart([("a", [0.5, 0.9])], name="x", marks=[(1.0, "chat"), (30.0, "SLO")])
    assert ">chat<" in chart
    assert ">SLO<" not in chart


def test_differences_are_sorted_and_coloured_by_their_sign():
    """Two pairs below zero, one above, one that is the same."""
    chart = differences_chart([0.5, -1.0, 0.0, -0.25], name="latency, B less A", interval=(-0.4, -0.1, 0.2))
    bars = re.findall(r'<rect class="(s[01])" x="([\d.]+)"', chart)
    assert [css for css, _ in bars] == ["s0", "s0", "s1", "s1"]
    assert "B is lower in 2 of 4 pairs, A is lower in 1." in chart
    assert "Typical difference -100 ms, between -400 ms and +200 ms." in chart


def test_a_waterfall_and_a_stack_are_as_long_as_their_times():
    """Half of the time is half of the width; parts that took nothing are not in a stack."""
    widths = [float(w) for w in re.findall(r'height="14"><title>|width="([\d.]+)" height="14"', _waterfall()) if w]
    assert widths[0] == pytest.approx(widths[1])
    chart = stacked_chart([("row", [("a", 1.0, 0), ("nothing", 0.0, 1), ("b", 3.0, 2)])], name="time")
    shown = [float(w) for w in re.findall(r'width="([\d.]+)" height="14"', chart)]
    assert len(shown) == 2
    assert shown[1] == pytest.approx(3 * shown[0], rel=0.01)
    assert "row: a 1.00 s, b 3.00 s." in chart


def _waterfall():
    return waterfall_chart([Span("wait", 0.0, 1.0), Span("work", 1.0, 2.0, 3)], name="since it was due")


def test_nothing_to_draw_is_said():
    """A sentence in the chart's place."""
    for chart in (
        ecdf_chart([("a", []), ("b", [float("nan")])], name="latency"),
        differences_chart([float("inf")], name="latency"),
        waterfall_chart([], name="t"),
        stacked_chart([("a", [("x", 0.0, 0)])], name="t"),
    ):
        assert chart.startswith('<p class="none">')


def test_charts_stand_on_a_page_that_loads_nothing_and_stay_small():
    """100,000 values are as few marks as 160; names of others are escaped."""
    many = [i / 1e4 for i in range(100_000)]
    series = [('<script>"&', many), ("b", many[::2])]
    body = section("t", figure(ecdf_chart(series, name="<b>", id_="a"), ecdf_keys(["<i>", "b"])))
    body += differences_chart([v - 5 for v in many], name="d", id_="b") + _waterfall()
    document = page("<x>", body)
    parsed(document)
    assert len(document) < 60_000
    assert "<script>" not in document


@settings(max_examples=40)
@given(TIMES, TIMES, TIMES)
def test_any_times_make_a_whole_chart(a, b, marks):
    """Equal values, tiny and huge ones, none at all: well-formed, without NaN."""
    chart = ecdf_chart([("a", a), ("b", b)], name="t", marks=[(mark, "m") for mark in marks])
    parsed(page("t", chart + differences_chart([x - y for x, y in zip(a, b, strict=False)], name="t")))
    spans = [Span("s", 0.0, value) for value in a]
    parsed(page("t", waterfall_chart(spans, name="t") + stacked_chart([("r", [("p", v, 1) for v in b])], name="t")))


@given(NUMBERS, NUMBERS)
def test_ticks_enclose_their_values_in_round_steps(one, other):
    """At most a dozen, ascending."""
    ticks = spread_ticks(min(one, other), max(one, other))
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(ticks)
    slack = 1e-6 * max(abs(one), abs(other), 1e-300)
    assert ticks[0] <= min(one, other) + slack
    assert ticks[-1] >= max(one, other) - slack


def test_values_far_apart_get_a_logarithmic_axis():
    """1 ms and 10 s: yes; 1 s and 3 s, or anything with zero: no."""
    assert scale_of([0.001, 10.0]).log
    assert not scale_of([1.0, 3.0]).log
    assert not scale_of([0.0, 10.0]).log
