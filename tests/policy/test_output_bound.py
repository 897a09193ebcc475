"""The bound on output that follows the answers: when it moves, how far, and when it gives up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.output_bound import BOUND_MIN, SAMPLES_MAX, SAMPLES_MIN, OutputBound


def test_the_tasks_own_bound_holds_until_enough_answers_were_seen():
    """49 answers say nothing; with the 50th the bound is a quarter above the 99th percentile."""
    bound = OutputBound(1024)
    for _ in range(SAMPLES_MIN - 1):
        bound.answered(100)
    assert bound.tokens is None
    bound.answered(100)
    assert bound.tokens == 128  # 125, in steps of eight


def test_short_answers_never_take_it_below_the_least_that_providers_accept():
    """A label of two tokens is still asked for with 16."""
    bound = OutputBound(1024)
    for _ in range(SAMPLES_MIN):
        bound.answered(2)
    assert bound.tokens == BOUND_MIN == 16


def test_a_bound_that_is_nearly_the_tasks_own_is_not_worth_a_change():
    """Answers that fill the task's bound leave it as it is."""
    bound = OutputBound(128)
    for _ in range(100):
        bound.answered(100)
    assert bound.tokens is None


def test_without_a_bound_of_the_tasks_own_one_is_learned_all_the_same():
    """And what is cut twice is asked for without any."""
    bound = OutputBound(None)
    for _ in range(SAMPLES_MIN):
        bound.answered(80)
    assert bound.tokens == 104
    assert bound.twice(104) == 208


def test_one_long_answer_moves_the_bound_only_when_it_is_more_than_one_in_a_hundred():
    """The 99th percentile, not the greatest."""
    bound = OutputBound(4096)
    for n in range(SAMPLES_MAX):
        bound.answered(1000 if n in (100, 200) else 20)
    assert bound.tokens == 32
    for _ in range(10):
        bound.answered(1000)
    assert bound.tokens == 1256


def test_the_bound_follows_answers_that_become_shorter():
    """The last 512 count."""
    bound = OutputBound(4096)
    for tokens in (200, 20):
        for _ in range(SAMPLES_MAX + 50):
            bound.answered(tokens)
    assert bound.tokens == 32


def test_a_small_change_is_none():
    """A tenth less is not worth requests that look different."""
    bound = OutputBound(4096)
    for _ in range(SAMPLES_MAX + 50):
        bound.answered(200)
    assert bound.tokens == 256
    for _ in range(SAMPLES_MAX + 50):
        bound.answered(190)
    assert bound.tokens == 256


def test_a_cut_is_asked_again_at_twice_then_at_the_tasks_own():
    """Never above the task's own bound."""
    bound = OutputBound(60)
    assert bound.twice(16) == 32
    assert bound.twice(32) is None


def test_many_cuts_give_the_bound_up_until_it_is_learned_anew():
    """Answers became longer all at once: after a few of them rows are asked with the task's own bound again."""
    bound = OutputBound(1024)
    for _ in range(200):
        bound.answered(20)
    assert bound.tokens == 32
    cuts = 0
    while bound.tokens is not None:
        bound.cut()
        cuts += 1
    assert cuts == bound.cuts == 6
    for _ in range(SAMPLES_MIN):
        bound.answered(300)
    assert bound.tokens == 376


def test_what_is_refused_is_not_sent_any_more():
    """A provider that will not have our bound, or our stop texts."""
    bound = OutputBound(1024, stop=True)
    for _ in range(100):
        bound.answered(20)
    bound.refused(stop=True)
    assert not bound.stop
    assert bound.tokens == 32
    bound.refused(stop=False)
    for _ in range(100):
        bound.answered(20)
    assert bound.tokens is None


def test_stop_texts_that_spoil_answers_are_given_up():
    """Three, and more than one in twenty."""
    bound = OutputBound(1024, stop=True)
    for _ in range(100):
        bound.answered(20)
    for _ in range(5):
        bound.misled()
    assert bound.stop
    bound.misled()
    assert not bound.stop


@given(
    st.one_of(st.none(), st.integers(16, 5000)),
    st.lists(st.one_of(st.integers(0, 100_000), st.just("cut")), max_size=400),
)
def test_it_is_always_within_its_bounds(own, events):
    """From 16, never above the task's own, whatever comes."""
    bound = OutputBound(own)
    for event in events:
        if event == "cut":
            bound.cut()
        else:
            bound.answered(event)
        tokens = bound.tokens
        assert tokens is None or (tokens >= BOUND_MIN and (own is None or tokens < own))
