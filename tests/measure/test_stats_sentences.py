"""The verdict in a sentence, on plain values."""

from __future__ import annotations

import pytest

from headway.measure.stats import Findings, Interval, MetricFinding, QualityFinding
from headway.measure.stats.sentences import change, points, sentence


def between(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high)


def metric(name: str, verdict: str, low: float, high: float) -> MetricFinding:
    return MetricFinding(name=name, verdict=verdict, ratio=between(low, high), rows=100)


HELD = QualityFinding(rows=100, kind="binary", difference=between(-0.015, 0.03), not_inferior=True)
OPEN = QualityFinding(rows=100, kind="binary", difference=between(-0.061, 0.03))
SEEMS = QualityFinding(rows=100, kind="binary", difference=between(-0.094, -0.01))
CHANCE = QualityFinding(rows=100, kind="binary", difference=between(-0.094, -0.01), chance=True)
LOST = QualityFinding(rows=100, kind="binary", difference=between(-0.094, -0.031), not_inferior=False, verdict="worse")
HIGHER = QualityFinding(rows=100, kind="graded", difference=between(0.02, 0.08), not_inferior=True, verdict="better")
NONE = QualityFinding()

CHEAP = metric("dollars", "better", 0.52, 0.59)
FAST = metric("latency", "better", 0.81, 0.88)
SLOW = metric("latency", "worse", 1.12, 1.3)
DEAR = metric("dollars", "worse", 2.13, 2.61)
SAME_COST = metric("dollars", "same", 1.0, 1.0)
SAME_TIME = metric("latency", "same", 0.991, 1.012)
ANY_TIME = metric("latency", "unclear", 0.96, 1.12)
FAILING = MetricFinding(name="failures", verdict="worse", a=0.02, b=0.09, rows=100)


@pytest.mark.parametrize(
    ("verdict", "metrics", "quality", "more", "said"),
    [
        (
            "better",
            (CHEAP, FAST),
            HELD,
            0,
            "B costs 41-48 % less, is 12-19 % faster, and is not worse by more than 2 points",
        ),
        ("better", (CHEAP,), NONE, 0, "B costs 41-48 % less; quality was not checked"),
        (
            "better",
            (SAME_COST, FAST),
            HIGHER,
            0,
            "B is 12-19 % faster, scores 2.0-8.0 points higher, and costs the same",
        ),
        ("worse", (SAME_COST, SLOW), HELD, 0, "B is 12-30 % slower"),
        (
            "worse",
            (DEAR, FAILING),
            NONE,
            0,
            "B costs 2.1-2.6 times as much and fails more often (9 of 100 rows, not 2)",
        ),
        (
            "worse",
            (CHEAP,),
            LOST,
            0,
            "B is worse by 3.1-9.4 points in quality, more than the 2 points allowed, though it costs 41-48 % less",
        ),
        (
            "mixed",
            (CHEAP, SLOW),
            HELD,
            0,
            "a trade: B costs 41-48 % less and is not worse by more than 2 points, but is 12-30 % slower",
        ),
        (
            "mixed",
            (CHEAP, SLOW),
            SEEMS,
            0,
            (
                "a trade: B costs 41-48 % less, but is 12-30 % slower, and its quality is open "
                "(-9.4 to -1.0 points, where -2 is allowed)"
            ),
        ),
        ("mixed", (CHEAP, SLOW), OPEN, 0, "a trade: B costs 41-48 % less, but is 12-30 % slower"),
        (
            "worse",
            (SLOW,),
            SEEMS,
            0,
            "B is 12-30 % slower, and its quality is open (-9.4 to -1.0 points, where -2 is allowed)",
        ),
        ("worse", (SLOW,), CHANCE, 0, "B is 12-30 % slower"),
        (
            "same",
            (SAME_COST, SAME_TIME),
            HELD,
            0,
            "A and B cannot be told apart: latency -0.9 % to +1.2 % and the same cost; B is not worse by more than 2 points",
        ),
        ("inconclusive", (ANY_TIME,), NONE, 240, "inconclusive: about 240 more rows needed"),
        (
            "inconclusive",
            (ANY_TIME,),
            NONE,
            None,
            "inconclusive: 100 rows do not tell A and B apart (latency -4.0 % to +12 %), nor would many more",
        ),
        (
            "inconclusive",
            (FAST,),
            OPEN,
            1240,
            (
                "inconclusive: B is 12-19 % faster, but its quality is open (-6.1 to +3.0 points, where -2 is allowed); "
                "about 1,240 more rows needed"
            ),
        ),
    ],
)
def test_the_sentence(
    verdict: str, metrics: tuple[MetricFinding, ...], quality: QualityFinding, more: int | None, said: str
):
    """Every verdict, word for word."""
    findings = Findings(
        rows=100, looks=5, final=True, metrics=metrics, quality=quality, verdict=verdict, rows_more=more
    )
    assert sentence(findings) == said
    assert sentence(findings, "old", "new") == said.replace("B ", "new ").replace("A and new", "old and new")


def test_no_rows():
    """Nothing compared is said as such."""
    assert sentence(Findings(rows=0, looks=1, final=True, quality=NONE)) == "inconclusive: no rows were compared"


def test_a_constant_and_a_small_change():
    """One number where both ends read alike; decimals where whole percents would say nothing."""
    constant = Findings(
        rows=9, looks=1, final=True, quality=NONE, verdict="better", metrics=(metric("dollars", "better", 0.8, 0.8),)
    )
    assert sentence(constant) == "B costs 20 % less; quality was not checked"
    small = Findings(
        rows=9, looks=1, final=True, quality=NONE, verdict="better", metrics=(metric("latency", "better", 0.93, 0.975),)
    )
    assert sentence(small) == "B is 2.5-7.0 % faster; quality was not checked"
    assert change(between(0.9, 1.041)) == "-10 % to +4.1 %"
    assert points(between(-0.031, 0.004)) == "-3.1 to +0.4 points"
