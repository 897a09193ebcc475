"""When to guess: the sum that decides, the budget that bounds waste, and likelihoods that experience corrects."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headway.errors import ConfigError
from headway.policy.speculation import Guess, Purse, SpeculationSettings, Trust, lower_bound

SHARES = st.floats(0, 1)
SECONDS = st.floats(0, 60)
DOLLARS = st.floats(0, 0.1)


@given(SHARES, SHARES, SECONDS, DOLLARS, st.floats(0, 1))
def test_what_is_likelier_is_launched_sooner(one: float, other: float, saving_s: float, cost: float, spent: float):
    """Where a guess is launched, the same one with a greater likelihood is launched, too."""
    purse = Purse(SpeculationSettings())
    lesser, greater = sorted((one, other))
    if purse.judge(Guess(lesser, saving_s, cost), spent) == "":
        assert purse.judge(Guess(greater, saving_s, cost), spent) == ""


@given(SHARES, SECONDS, DOLLARS, st.floats(0, 1))
def test_what_is_launched_is_worth_it(likelihood: float, saving_s: float, cost: float, spent: float):
    """Nothing is launched whose likely waste is not below its likely saving."""
    given_ = SpeculationSettings(usd_per_s=0.004)
    if Purse(given_).judge(Guess(likelihood, saving_s, cost), spent) == "":
        assert likelihood * saving_s * 0.004 > (1 - likelihood) * cost


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (Guess(0.6, 2.0, 0.002), ""),
        (Guess(0.05, 2.0, 0.002), "not worth it"),
        (Guess(0.9, 2.0, 0.02), "budget"),
        (Guess(0.0, 2.0, 0.0), "not worth it"),
        (Guess(0.1, 2.0, 0.0), ""),
    ],
)
def test_the_words_for_it(guess: Guess, said: str):
    """What a verdict is called, with a purse that holds a cent."""
    assert Purse(SpeculationSettings(usd_per_s=0.01)).judge(guess, 0.0) == said


def test_waste_gets_dearer_as_the_budget_shrinks():
    """A poor guess is refused with half of the budget gone, a good one is not."""
    purse = Purse(SpeculationSettings(usd_per_s=0.01))
    poor, good = Guess(0.2, 1.0, 0.002), Guess(0.8, 1.0, 0.002)
    assert purse.judge(poor, 0.0) == purse.judge(good, 0.0) == ""
    purse.launch(0.005)
    assert purse.judge(poor, 0.0) == "budget"
    assert purse.judge(good, 0.0) == ""


def test_nothing_without_a_budget():
    """No share and no allowance: only what is free is guessed."""
    purse = Purse(SpeculationSettings(wasted_share_max=0.0, allowance_usd=0.0))
    assert purse.judge(Guess(0.99, 10.0, 0.001), 5.0) == "budget"
    assert purse.judge(Guess(0.99, 10.0, 0.0), 5.0) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"usd_per_s": -1.0},
        {"wasted_share_max": float("nan")},
        {"under_way_max": 17},
        {"under_way_max": "4"},
        {"patience_s": 0.0},
        {"allowance_usd": "0.01"},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float]):
    """A wrong value is a sentence with its name."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SpeculationSettings(**wrong)


class PurseMachine(RuleBasedStateMachine):
    """Launches, ends, uses and real spending in any order: waste stays within its bound."""

    def __init__(self) -> None:
        super().__init__()
        self.given = SpeculationSettings(wasted_share_max=0.25, allowance_usd=0.01, under_way_max=3)
        self.purse = Purse(self.given)
        self.real_usd = 0.0
        self.open: list[float] = []
        self.ended: list[float] = []

    @rule(likelihood=SHARES, saving_s=SECONDS, cost=DOLLARS)
    def guess(self, likelihood: float, saving_s: float, cost: float) -> None:
        if self.purse.judge(Guess(likelihood, saving_s, cost), self.real_usd) == "":
            self.purse.launch(cost)
            self.open.append(cost)

    @precondition(lambda self: self.open)
    @rule(more=st.floats(-0.1, 0.1))
    def grow(self, more: float) -> None:
        fits = self.purse.fits(more, self.real_usd)
        assert self.purse.grow(more, self.real_usd) == fits
        if fits:
            self.open[-1] += max(0.0, more)

    @precondition(lambda self: self.open)
    @rule(share=SHARES)
    def end(self, share: float) -> None:
        cost = self.open.pop(0)
        self.purse.end(cost, share * cost)
        self.ended.append(share * cost)

    @precondition(lambda self: self.ended)
    @rule()
    def use(self) -> None:
        cost = self.ended.pop()
        self.purse.use(cost)
        self.real_usd += cost

    @rule(cost=DOLLARS)
    def spend(self, cost: float) -> None:
        self.real_usd += cost

    @invariant()
    def waste_is_bounded(self) -> None:
        bound = 0.25 * self.real_usd + 0.01
        assert sum(self.open) + sum(self.ended) <= bound + 1e-9
        assert self.purse.reserved_usd == pytest.approx(sum(self.open), abs=1e-9)
        assert self.purse.unused_usd == pytest.approx(sum(self.ended), abs=1e-9)
        assert self.purse.under_way == len(self.open) <= 3


TestPurse = PurseMachine.TestCase
TestPurse.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(SHARES, st.floats(0, 1000), st.floats(0, 1000))
def test_a_lower_bound_is_one(mean: float, less: float, more: float):
    """It is never above the mean nor below 0, and rises with what was seen."""
    few, many = sorted((less, more))
    assert 0.0 <= lower_bound(mean, few) <= lower_bound(mean, many) + 1e-12
    assert lower_bound(mean, many) <= mean


def test_one_of_one_is_not_certain():
    """What was seen once, and came then, is less than even."""
    assert lower_bound(2 / 3, 3) == pytest.approx(0.431, abs=1e-3)


@given(st.lists(st.tuples(SHARES, st.booleans()), max_size=60), SHARES)
def test_trust_stays_a_likelihood(seen: list[tuple[float, bool]], likelihood: float):
    """Whatever came, what comes out lies in 0..1, and 0 stays 0."""
    trust = Trust()
    for said, came in seen:
        trust.learn(said, came=came)
    assert 0.0 <= trust.of(likelihood) <= 1.0
    assert trust.of(0.0) == 0.0


def test_trust_learns_that_promises_are_not_kept():
    """What is said to be likely and comes half as often is taken for half as likely; kept promises change nothing."""
    liar, honest = Trust(), Trust()
    for turn in range(400):
        liar.learn(0.8, came=turn % 5 < 2)
        honest.learn(0.8, came=turn % 5 < 4)
    assert liar.of(0.8) == pytest.approx(0.4, abs=0.05)
    assert honest.of(0.8) == pytest.approx(0.8, abs=0.05)
