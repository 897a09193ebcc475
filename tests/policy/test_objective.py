"""Name two, the third yields; classes and minimum qualities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.objective import (
    CLASSES,
    Alias,
    alias_of,
    candidates,
    counts_time,
    factors,
    read_objective,
    yields,
)


@pytest.mark.parametrize(
    ("text", "third"),
    [("speed+quality", "cost"), ("cost + speed", "quality"), ("quality+cost", "speed"), ("", "")],
)
def test_two_are_named_and_the_third_yields(text, third):
    """In any order."""
    objective = read_objective(text)
    assert objective is not None
    assert yields(objective) == third
    assert counts_time(objective) == (third != "speed")


@pytest.mark.parametrize("text", ["speed", "speed+speed", "speed+quality+cost", "speed+taste", "+"])
def test_anything_else_is_no_objective(text):
    """One, three, the same twice, or a word that is none."""
    assert read_objective(text) is None


@pytest.mark.parametrize(
    ("model", "alias"),
    [
        ("fast", Alias(tier="fast")),
        ("fast:7", Alias(tier="fast", quality_min=7.0)),
        ("auto", Alias(tier="")),
        ("auto:6.5", Alias(tier="", quality_min=6.5)),
        ("gpt-5.4-mini", None),
        ("fast:11", None),
        ("fast:-1", None),
        ("fast:nan", None),
        ("fast:high", None),
        ("faster", None),
    ],
)
def test_aliases_are_the_classes_and_auto_with_a_minimum_if_any(model, alias):
    """A model that is merely called similarly stays a model."""
    assert alias_of(model) == alias


def test_a_minimum_quality_overrides_the_class():
    """Where no fast one is good enough, the next slower class that is."""
    tiers, quality = ["fast", "balanced", "quality", "fast"], [5.0, 7.0, 9.0, 6.0]
    assert candidates(tiers, quality, Alias(tier="fast")) == [0, 3]
    assert candidates(tiers, quality, Alias(tier="fast", quality_min=6.0)) == [3]
    assert candidates(tiers, quality, Alias(tier="fast", quality_min=6.5)) == [1]
    assert candidates(tiers, quality, Alias(tier="fast", quality_min=8.0)) == [2]
    assert candidates(tiers, quality, Alias(tier="fast", quality_min=9.5)) == []


def test_without_one_of_its_class_the_nearest_answers_slower_ones_first():
    """Asked for ultra_fast where the fastest is balanced: that. Asked for quality where the best is fast: that."""
    assert candidates(["balanced", "quality"], [5.0, 5.0], Alias(tier="ultra_fast")) == [0]
    assert candidates(["fast", "ultra_fast"], [5.0, 5.0], Alias(tier="quality")) == [0]


def test_price_counts_as_its_ratio_and_quality_doubles_by_the_point():
    """Only what the objective names counts."""
    quality, dollars = [9.0, 7.0], [0.02, 0.01]
    assert factors(frozenset(), quality, dollars) == [1.0, 1.0]
    assert factors(frozenset({"speed", "cost"}), quality, dollars) == [2.0, 1.0]
    assert factors(frozenset({"speed", "quality"}), quality, dollars) == [1.0, 4.0]
    assert factors(frozenset({"quality", "cost"}), quality, dollars) == [2.0, 4.0]


def test_a_price_that_is_unknown_leaves_price_out_and_a_free_one_wins():
    """A guess would send everything one way."""
    assert factors(frozenset({"speed", "cost"}), [5.0, 5.0], [0.02, None]) == [1.0, 1.0]
    free = factors(frozenset({"speed", "cost"}), [5.0, 5.0], [0.02, 0.0])
    assert free[1] == 1.0
    assert free[0] > 1000


@given(
    st.lists(st.tuples(st.sampled_from(["", *CLASSES]), st.floats(0, 10)), max_size=8),
    st.sampled_from(["", *CLASSES]),
    st.floats(0, 10),
)
def test_candidates_are_of_one_class_and_good_enough_and_found_where_there_are_any(upstreams, tier, quality_min):
    """Never below the minimum; nobody only where no classed one is good enough."""
    tiers, quality = [t for t, _ in upstreams], [q for _, q in upstreams]
    found = candidates(tiers, quality, Alias(tier=tier, quality_min=quality_min))
    assert all(quality[index] >= quality_min for index in found)
    assert not tier or len({tiers[index] for index in found}) <= 1
    assert bool(found) == any(q >= quality_min and (t or not tier) for t, q in upstreams)
