"""What a run gives up, and when: less left is never a richer decision, and what it cannot do without is never left out."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.policy.degrade import Degrade, Left

RANK = {"skip": 0, "smaller": 1, "full": 2}
amounts = st.floats(min_value=-10, max_value=1e6, allow_nan=False)
wholes = st.floats(min_value=0, max_value=1e6, allow_nan=False) | st.just(inf)
shares = st.floats(min_value=0, max_value=1)


@st.composite
def rules(draw):
    low, high = sorted((draw(shares), draw(shares)))
    return Degrade(smaller_below=high, skip_below=low, smaller_takes=draw(st.floats(min_value=0.01, max_value=1)))


@st.composite
def stands(draw):
    return Left(draw(amounts), draw(wholes), draw(st.none() | st.floats(min_value=0, max_value=1e6)))


@pytest.mark.parametrize(
    ("left", "decision"),
    [(10, "full"), (5, "full"), (4.9, "smaller"), (2, "smaller"), (1.9, "skip"), (0, "skip"), (-1, "skip")],
)
def test_the_share_that_is_left_decides_where_nothing_else_is_known(left, decision):
    """Of time and of dollars alike."""
    assert Degrade().decide(time=Left(left, 10)) == decision
    assert Degrade().decide(dollars=Left(left, 10)) == decision


@pytest.mark.parametrize(
    ("left", "needed", "decision"),
    [(1, 1, "full"), (1, 0, "full"), (9, 10, "smaller"), (4, 10, "smaller"), (3.9, 10, "skip")],
)
def test_what_is_needed_counts_where_it_is_known(left, needed, decision):
    """A tenth of the deadline is plenty for a step that takes a hundredth; nine tenths are short for one that takes all."""
    assert Degrade().decide(time=Left(left, 10, needed)) == decision


def test_the_poorer_of_the_two_counts_and_no_bound_is_none():
    """Time is no use without money."""
    rule = Degrade()
    assert rule.decide() == "full"
    assert rule.decide(time=Left(1, inf)) == "full"
    assert rule.decide(time=Left(10, 10), dollars=Left(0.3, 1)) == "smaller"
    assert rule.decide(time=Left(1, 10), dollars=Left(0.3, 1)) == "skip"
    assert rule.decide(time=Left(1, 10), dollars=Left(0.3, 1), optional=False) == "smaller"
    assert rule.decide(dollars=Left(0, 0)) == "skip"  # a budget of nothing


def test_shares_can_be_switched_off():
    """Then a run is whole until it has nothing left, or less than it needs."""
    rule = Degrade(smaller_below=0, skip_below=0)
    assert rule.decide(time=Left(0.001, 10)) == "full"
    assert rule.decide(time=Left(0.001, 10, 1.0)) == "skip"


@given(rules(), stands(), stands(), st.booleans(), st.floats(min_value=0, max_value=1e6))
def test_less_left_is_never_a_richer_decision(rule, time, dollars, optional, less):
    """Of either, whatever the other is; and a required step is never left out."""
    decision = rule.decide(time=time, dollars=dollars, optional=optional)
    poorer_time = Left(time.left - less, time.whole, time.needed)
    poorer_money = Left(dollars.left - less, dollars.whole, dollars.needed)
    assert RANK[rule.decide(time=poorer_time, dollars=dollars, optional=optional)] <= RANK[decision]
    assert RANK[rule.decide(time=time, dollars=poorer_money, optional=optional)] <= RANK[decision]
    assert RANK[rule.decide(time=time, dollars=dollars)] <= RANK[decision]
    assert optional or decision != "skip"


@given(rules(), stands(), st.floats(min_value=0, max_value=1e6))
def test_a_greater_need_is_never_a_richer_decision(rule, time, more):
    """With as much left."""
    needed = time.needed or 0.0
    known, greater = Left(time.left, time.whole, needed), Left(time.left, time.whole, needed + more)
    assert RANK[rule.decide(time=greater)] <= RANK[rule.decide(time=known)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"smaller_below": 1.5}, "smaller_below must be a number from 0 to 1, not 1.5"),
        ({"skip_below": -0.1}, "skip_below must be"),
        ({"skip_below": nan}, "skip_below must be"),
        ({"smaller_below": "half"}, "smaller_below must be"),
        ({"smaller_below": True}, "smaller_below must be"),
        ({"skip_below": 0.6}, "must not be above smaller_below"),
        ({"smaller_takes": 0}, "smaller_takes must be above 0"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(wrong, said):
    """When it is made."""
    with pytest.raises(ConfigError, match=said):
        Degrade(**wrong)
