"""Speed that is learned, lateness that is seen, and a draw that is fair."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.balance import AFFINITY_MAX, Load, pick


def known(ttft_s: float, token_s: float = 0.01, tokens: int = 128, now_s: float = 0.0) -> Load:
    load = Load()
    load.streamed(ttft_s, token_s * (tokens - 1), tokens, now_s)
    return load


def test_an_answer_is_expected_to_take_its_first_token_and_all_the_others():
    """TTFT + tokens * time per token; a bound on the output bounds it."""
    load = known(0.5)
    assert load.expected_s(None, 0.0) == pytest.approx(0.5 + 128 * 0.01)
    assert load.expected_s(10, 0.0) == pytest.approx(0.5 + 10 * 0.01)
    assert Load().expected_s(10, 0.0) is None


def test_one_late_answer_at_most_doubles_what_is_expected():
    """Ten times late once is chance; four times in a row is not."""
    load = known(0.5, token_s=0.0)
    load.streamed(5.0, 0.0, 1, 0.1)
    assert load.ttft_s == pytest.approx(1.0)
    for _ in range(3):
        load.streamed(5.0, 0.0, 1, 0.2)
    assert load.ttft_s == pytest.approx(5.0)


def test_it_comes_down_by_and_by():
    """A tenth a sample at least, all of it with time."""
    load = known(4.0, token_s=0.0)
    load.streamed(1.0, 0.0, 1, 0.0)
    assert load.ttft_s == pytest.approx(3.7)
    load.streamed(1.0, 0.0, 1, 100.0)
    assert load.ttft_s == pytest.approx(1.0, abs=0.01)


def test_an_idle_slow_upstream_looks_better_until_it_is_tried_again():
    """That is how a slow one recovers; while a call is under way it does not go on."""
    load = known(10.0, token_s=0.0)
    assert load.expected_s(None, 10.0) == pytest.approx(10.0)
    assert load.expected_s(None, 40.0) < 1.0
    ticket = load.begin(10.0, 40.0)
    assert load.expected_s(None, 40.0) == pytest.approx(10.0)
    load.end(ticket)


def test_calls_that_are_overdue_are_seen_before_they_end():
    """Twice as long under way as expected: twice the score."""
    load = known(1.0, token_s=0.0)
    load.begin(1.0, 0.0)
    assert load.score(1.0, 0.5) == pytest.approx(1.0 + 1 / 32)
    assert load.score(1.0, 2.0) == pytest.approx(2.0 * (1.0 + 1 / 32))


def test_failures_cost_what_their_retries_do():
    """Half of them failing makes it twice as expensive, and good answers mend it."""
    load = known(1.0, token_s=0.0)
    for _ in range(3):
        load.failed(0.0)
    assert load.expected_s(None, 0.0) == pytest.approx(1 / 0.8**3)
    for _ in range(30):
        load.streamed(1.0, 0.0, 1, 0.0)
    assert load.expected_s(None, 0.0) == pytest.approx(1.0, rel=0.05)


def test_whole_answers_teach_the_total():
    """What part of it was the first token cannot be seen; the sum can."""
    load = Load()
    load.whole(2.0, 50, 0.0)
    assert load.ttft_s + 50 * load.token_s == pytest.approx(2.0)
    for _ in range(200):
        load.whole(3.0, 50, 0.0)
    assert load.ttft_s + 50 * load.token_s == pytest.approx(3.0, rel=0.01)


def test_a_call_that_was_given_up_would_have_taken_longer():
    """A longer silence than expected raises it, a shorter one says nothing."""
    load = known(1.0, token_s=0.0)
    load.at_least(0.5, 0.0)
    assert load.ttft_s == pytest.approx(1.0)
    load.at_least(1.5, 0.0)
    assert load.ttft_s == pytest.approx(1.5)


def test_the_draw_is_among_the_best_and_the_better_of_two_wins():
    """A clearly worse one gets nothing; equals share."""
    rng = Random(1)
    counts = Counter(pick([1.0, 1.0, 1.0, 5.0], rng) for _ in range(3000))
    assert counts[3] == 0
    assert all(900 < counts[index] < 1100 for index in range(3))
    assert {pick([1.0, 1.2], rng) for _ in range(50)} == {0}


def test_affinity_holds_up_to_half_as_much_again():
    """A cached prefix is worth 1.5 times the best score, no more."""
    assert pick([1.0, AFFINITY_MAX], Random(1), affine=1) == 1
    assert pick([1.0, AFFINITY_MAX + 0.01], Random(1), affine=1) == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 50), st.integers(0, 9)), max_size=100))
def test_what_was_begun_and_ended_leaves_nothing(steps):
    """Pending is exact, the score is never negative, and an idle load has no lateness."""
    load, under_way, now_s = known(1.0), [], 0.0
    for begin, wait_s, which in steps:
        now_s += wait_s
        if begin or not under_way:
            under_way.append(load.begin(load.expected_s(None, now_s) or 1.0, now_s))
        else:
            load.end(under_way.pop(which % len(under_way)))
        assert load.pending == len(under_way)
        assert load.score(1.0, now_s) >= 1.0 - 1e-9
    for ticket in under_way:
        load.end(ticket)
    assert load.pending == 0
    assert load.score(1.0, now_s + 1e6) == 1.0


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8), st.integers(0, 1000))
def test_the_choice_is_always_near_the_best(scores, seed):
    """Whatever the dice say."""
    assert scores[pick(scores, Random(seed))] <= 1.25 * min(scores)
