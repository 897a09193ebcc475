"""When a backup is due, and what it may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.hedge import Hedge, HedgeBudget, HedgeSettings, hedgeable
from headway.types import RequestView


def taught(settings: HedgeSettings, values: list[float]) -> Hedge:
    hedge = Hedge(settings, HedgeBudget(settings))
    for value in values:
        hedge.answered(value)
    return hedge


def test_nothing_is_late_before_fifty_answers_are_known():
    """Fewer say nothing about a tail."""
    hedge = taught(HedgeSettings(), [1.0] * 49)
    assert hedge.hedge_at_s(10.0) is None
    hedge.answered(1.0)
    assert hedge.hedge_at_s(10.0) == pytest.approx(11.02, rel=0.002)


def test_late_is_later_than_nineteen_in_twenty():
    """The rolling p95 of the time to the first content."""
    hedge = taught(HedgeSettings(), [0.01 * number for number in range(1, 101)])
    assert hedge.hedge_at_s(0.0) == pytest.approx(0.97, rel=0.03)


def test_old_answers_are_forgotten():
    """Two windows later the trigger is that of today."""
    hedge = taught(HedgeSettings(window=100), [1.0] * 100 + [3.0] * 200)
    assert hedge.hedge_at_s(0.0) == pytest.approx(3.06, rel=0.02)


def test_backups_cost_at_most_their_share_of_the_dollars():
    """2 % of what the other tries cost: one backup after fifty."""
    settings = HedgeSettings()
    hedge = Hedge(settings, HedgeBudget(settings))
    for _ in range(49):
        hedge.sent(0.01)
    assert hedge.reserve(0.0, 0.01) is None
    hedge.sent(0.01)
    hedge.sent(0.01)
    assert hedge.reserve(0.0, 0.01) is not None
    assert hedge.reserve(0.0, 0.01) is None


def test_what_a_backup_did_not_cost_comes_back():
    """The loser is cancelled, and its worst case was set aside."""
    settings = HedgeSettings(ratio=0.05)
    budget = HedgeBudget(settings)
    hedge = Hedge(settings, budget)
    for _ in range(21):
        hedge.sent(0.01)
    assert hedge.reserve(0.0, 0.01) is not None
    hedge.settle(0.01, 0.0)
    assert hedge.reserve(0.0, 0.01) is not None
    hedge.settle(0.01, None)
    assert budget.spent == pytest.approx(0.01)


def test_free_calls_are_bounded_by_number():
    """A price of zero is no licence."""
    settings = HedgeSettings(ratio=0.05)
    hedge = Hedge(settings, HedgeBudget(settings))
    for _ in range(21):
        hedge.sent(0.0)
    assert hedge.reserve(0.0, 0.0) is not None
    assert hedge.reserve(0.0, 0.0) is None


def test_refusals_do_not_make_backups_cheap():
    """What was refused cost nothing, and says nothing about what the next answer costs."""
    budget = HedgeBudget(HedgeSettings(ratio=0.02))
    for _ in range(100):
        budget.sent(0.01)
    for _ in range(100):
        budget.sent(0.0)
    assert budget.reserve(0.0, None) == pytest.approx(0.02)
    assert budget.reserve(0.0, None) is None


def test_a_long_prompt_costs_its_input_at_least():
    """The mean call says nothing about a prompt that is far longer."""
    budget = HedgeBudget(HedgeSettings(ratio=0.5))
    for _ in range(100):
        budget.sent(0.01)
    assert budget.reserve(0.2, 0.3) is None
    assert budget.reserve(0.05, 0.3) == pytest.approx(0.05)


def test_off_is_off():
    """A ratio of zero sends no backup ever."""
    settings = HedgeSettings(ratio=0.0)
    hedge = Hedge(settings, HedgeBudget(settings))
    hedge.sent(1.0)
    assert hedge.reserve(0.0, 0.0) is None


@pytest.mark.parametrize(
    ("view", "may"),
    [
        (RequestView(format="openai_chat", reusable=True), True),
        (RequestView(format="openai_chat", reusable=True, answers=2), False),
        (RequestView(format="openai_responses", reusable=False, why_not_reusable="store"), False),
        (RequestView(), False),
    ],
)
def test_only_what_may_be_asked_twice_is_hedged(view, may):
    """Nothing stored, no state, one answer, a format that is understood."""
    assert hedgeable(view) is may


@given(st.lists(st.tuples(st.sampled_from(["sent", "hedge", "settle"]), st.floats(0, 1)), max_size=200))
def test_backups_never_cost_more_than_the_share(steps):
    """Whatever the order and the sizes: spent and set aside <= ratio * dollars of the others."""
    settings = HedgeSettings(ratio=0.05)
    budget = HedgeBudget(settings)
    others, aside, count = 0.0, [], 0
    for what, dollars in steps:
        if what == "sent":
            budget.sent(dollars)
            others += dollars
            count += 1
        elif what == "hedge":
            reserved = budget.reserve(dollars / 2, dollars)
            if reserved is not None:
                aside.append(reserved)
        elif aside:
            reserved = aside.pop()
            budget.settle(reserved, reserved * dollars)
        assert budget.spent + sum(aside) <= 0.05 * (others + count * 1e-9) + 1e-6
