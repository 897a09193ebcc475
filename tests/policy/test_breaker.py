"""When an upstream is left alone, and how it comes back."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.breaker import Breaker, BreakerSettings


def fail(breaker: Breaker, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        breaker.leave(breaker.enter(), False, now_s)


def succeed(breaker: Breaker, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        breaker.leave(breaker.enter(), True, now_s)


def test_half_of_twenty_failures_within_the_window_open_it():
    """Never before the twentieth answer, and only at half."""
    breaker = Breaker(BreakerSettings(streak=1000))
    for _ in range(9):
        fail(breaker, 1)
        succeed(breaker, 1)
    fail(breaker, 1)
    assert breaker.closed
    fail(breaker, 1)  # 11 of 20
    assert not breaker.closed


def test_five_failures_in_a_row_open_it_whatever_was_before():
    """A thousand good answers do not keep a dead upstream in service."""
    breaker = Breaker()
    succeed(breaker, 1000)
    fail(breaker, 4)
    assert breaker.closed
    succeed(breaker, 1)
    fail(breaker, 4)
    assert breaker.closed
    fail(breaker, 1)
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)


def test_failures_leave_the_window_after_thirty_seconds():
    """What was half a minute ago opens nothing now."""
    breaker = Breaker(BreakerSettings(streak=1000))
    fail(breaker, 19, 0.0)
    fail(breaker, 1, 36.0)
    assert breaker.closed


def test_one_probe_at_a_time_and_twice_as_long_after_each_that_fails():
    """5, 10, 20, 40, 60, 60 seconds; a good probe closes it for good."""
    breaker = Breaker()
    fail(breaker, 5)
    now_s = 0.0
    for open_s in (5, 10, 20, 40, 60, 60):
        assert breaker.opens_at_s == now_s + open_s
        now_s = breaker.opens_at_s
        assert breaker.allows(now_s)
        probe = breaker.enter()
        assert not breaker.allows(now_s + 1)
        breaker.leave(probe, False, now_s)
    now_s = breaker.opens_at_s
    breaker.leave(breaker.enter(), True, now_s)
    assert breaker.closed
    fail(breaker, 5, now_s)
    assert breaker.opens_at_s == now_s + 5


def test_a_probe_that_says_nothing_makes_room_for_the_next():
    """Its caller left, or it was throttled: the next call may probe at once."""
    breaker = Breaker()
    fail(breaker, 5)
    breaker.leave(breaker.enter(), None, 6.0)
    assert breaker.allows(6.0)


def test_answers_from_before_it_opened_count_no_more():
    """Late failures neither open it again nor, successes, close it."""
    breaker = Breaker()
    late = [breaker.enter() for _ in range(3)]
    fail(breaker, 5)
    breaker.leave(late[0], True, 1.0)
    breaker.leave(late[1], False, 1.0)
    assert breaker.opens_at_s == 5.0
    breaker.leave(breaker.enter(), True, 5.0)
    breaker.leave(late[2], False, 6.0)
    assert breaker.closed


def test_a_refused_key_opens_it_at_once_for_a_minute():
    """Asking again will not help."""
    breaker = Breaker()
    breaker.leave(breaker.enter(), False, 0.0, hopeless=True)
    assert breaker.opens_at_s == 60.0


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "ok", "failed", "nothing", "wait"]), st.integers(0, 40)), max_size=200)
)
def test_whatever_happens_it_is_open_for_five_to_sixty_seconds_and_lets_one_probe_through(steps):
    """No order of events leaves it shut for ever, or lets two probes through."""
    breaker, now_s, under_way = Breaker(), 0.0, []
    for what, number in steps:
        if what == "wait":
            now_s += number
        elif what == "enter":
            if breaker.allows(now_s):
                probing = not breaker.closed
                under_way.append(breaker.enter())
                assert not (probing and breaker.allows(now_s))
        elif under_way:
            ticket = under_way.pop(number % len(under_way))
            before_s = breaker.opens_at_s
            breaker.leave(ticket, {"ok": True, "failed": False, "nothing": None}[what], now_s)
            if breaker.opens_at_s not in (before_s, -inf):
                assert 5.0 <= breaker.opens_at_s - now_s <= 60.0
    for ticket in under_way:
        breaker.leave(ticket, None, now_s)
    assert breaker.allows(now_s + 61.0)
