"""When requests are grouped: tried on a few, judged by what came of it, given up, and tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.grouping import (
    BOUND_TOKENS_MAX,
    OFF_S,
    UNPROVEN_GROUPS_MAX,
    WINDOW,
    GroupingCase,
    alone,
    small,
)
from headway.types import Usage


def through(case, groups, *, fallbacks=0, saved=1.0, now_s=0.0):
    for _ in range(groups):
        case.sent()
        case.ended(6, fallbacks, saved, now_s)


def test_small_is_a_short_item_with_a_short_answer():
    """An answer without a bound may be any length."""
    assert small(4_000, BOUND_TOKENS_MAX)
    assert not small(4_001, 16)
    assert not small(10, BOUND_TOKENS_MAX + 1)
    assert not small(10, None)


def test_few_groups_are_under_way_until_it_has_proven_itself():
    """Twelve; once a window went well, as many as there are."""
    case = GroupingCase()
    for _ in range(UNPROVEN_GROUPS_MAX):
        assert case.room
        case.sent()
    assert not case.room
    for _ in range(WINDOW // 6):
        case.ended(6, 0, 1.0, 0.0)
    for _ in range(100):
        assert case.room
        case.sent()


def test_a_tenth_that_has_to_be_asked_again_is_borne_more_is_not():
    """6 of 60 are; 7 are not, and the reason says so."""
    case = GroupingCase()
    through(case, 6, fallbacks=1)
    through(case, 4)
    assert case.on(0.0)
    through(case, 7, fallbacks=1)
    through(case, 3)
    assert not case.on(1.0)
    assert case.why == "7 of 60 members had to be asked again"


def test_a_model_that_cannot_do_it_is_found_out_after_two_groups():
    """No need to wait for the window."""
    case = GroupingCase()
    through(case, 1, fallbacks=6)
    assert case.on(0.0)
    through(case, 1, fallbacks=6)
    assert not case.on(0.0)


def test_groups_that_take_more_than_they_save_are_given_up():
    """Although every member was answered."""
    case = GroupingCase()
    through(case, WINDOW // 6, saved=-0.1)
    assert case.why == "groups took more than single requests would have"


def test_it_is_tried_again_later_and_later():
    """After a minute, then two; success puts the wait back."""
    case = GroupingCase()
    through(case, 2, fallbacks=6, now_s=0.0)
    assert not case.on(OFF_S - 1)
    assert case.on(OFF_S)
    assert case.why == ""
    through(case, 2, fallbacks=6, now_s=OFF_S)
    assert not case.on(2 * OFF_S)
    assert case.on(3 * OFF_S)
    through(case, 10, now_s=3 * OFF_S)
    through(case, 2, fallbacks=6, now_s=3 * OFF_S)
    assert case.on(4 * OFF_S)


def test_groups_that_failed_for_other_reasons_say_nothing():
    """A 429 is no verdict on grouping."""
    case = GroupingCase()
    for _ in range(100):
        case.sent()
        case.ended(0, 0, 0.0, 0.0)
    assert case.on(0.0)
    assert case.room


def test_what_was_cached_of_the_group_would_have_been_cached_for_each():
    """Never more than there is."""
    group = Usage(input_tokens=1200, cached_tokens=1024, output_tokens=50)
    assert alone(6000, 30, group, 5) == Usage(input_tokens=6000, cached_tokens=5120, output_tokens=30)
    assert alone(2000, 30, group, 5).cached_tokens == 2000


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.floats(-1, 1), st.floats(0, 300)), max_size=200))
def test_it_is_off_only_with_a_reason_and_never_for_ever(events):
    """Whatever happens, an hour later it is tried again."""
    case, now_s = GroupingCase(), 0.0
    for members, fallbacks, saved, wait_s in events:
        now_s += wait_s
        if case.on(now_s) and case.room:
            case.sent()
            case.ended(members, min(members, fallbacks), saved, now_s)
        assert case.on(now_s) == (not case.why)
    assert case.on(now_s + 3_600.0)
