"""Figures in words."""

import pytest

from headway.report import format as fmt


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0 s"), (0.000004, "< 0.01 ms"), (0.00031, "0.31 ms"), (0.0311, "31.1 ms"), (0.9994, "999 ms"),
        (0.9996, "1.00 s"), (1.234, "1.23 s"), (12.34, "12.3 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"),
        (125, "2 min 05 s"), (3599.4, "59 min 59 s"), (3599.6, "1 h 00 min"), (3900, "1 h 05 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_seconds(value, shown):
    """Three digits that matter, and never 60 of a unit."""
    assert fmt.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "unknown"), (0, "$0"), (0.000123, "$0.000123"), (0.04567, "$0.0457"), (0.5, "$0.500"), (0.996, "$1.00"),
        (12.3, "$12.30"), (1234.5, "$1,234"), (-0.5, "-$0.500"), (3e-9, "$0.00000000300"),
    ],
)  # fmt: skip
def test_dollars(value, shown):
    """Small sums keep three digits; an unknown one is a word, not a zero."""
    assert fmt.dollars(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0 %"), (0.0001, "< 0.1 %"), (0.034, "3.4 %"), (0.47, "47 %"), (0.9996, "99.9 %"), (1, "100 %"), (1.25, "125 %")],
)  # fmt: skip
def test_percent(value, shown):
    """All and nothing are only said of all and nothing."""
    assert fmt.percent(value) == shown


@pytest.mark.parametrize(
    ("base", "value", "speedup", "change"),
    [
        (12.3, 1.0, "12.3x faster", "-92 % cost"), (1.0, 1.5, "1.50x slower", "+50 % cost"), (2.0, 2.0, "the same", "the same"),
        (None, 1.0, "", ""), (0.0, 1.0, "", ""), (1.0, None, "", ""), (1.0, 40.0, "40.0x slower", "40.0x cost"),
        (1000.0, 1.0, "1,000x faster", "-99.9 % cost"),
    ],
)  # fmt: skip
def test_ratios(base, value, speedup, change):
    """A ratio is told only where there is something to compare, and never as -100 % of something that is left."""
    assert fmt.speedup(base, value) == speedup
    assert fmt.change(base, value, "cost") == change


def test_text_of_others_cannot_steer_the_terminal():
    """Escape sequences lose their escape."""
    assert fmt.printable("a\x1b[2Jb\rc\u202ed") == "a [2Jb c d"
