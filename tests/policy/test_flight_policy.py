"""Retries, their back-off and their budget, by plain values."""

from __future__ import annotations

from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.backoff import Backoff
from headway.policy.budget import RetryBudget, SpendCap
from headway.policy.flight import FlightPolicy, RetrySettings, Try
from headway.policy.hedge import Hedge, HedgeBudget, HedgeSettings


def ended(outcome, now_s=0.0, *, retryable=True, retry_after_s=None):
    t = Try()
    t.end(outcome, now_s, retryable=retryable, retry_after_s=retry_after_s)
    return t


def policy(**settings):
    return FlightPolicy(RetrySettings(**settings), RetryBudget(), settings.get("attempts_max", 3))


def test_it_starts_waits_and_commits():
    """The plain course of a flight that succeeds."""
    p, t = policy(), Try()
    assert p.decide([], inf, 0.0, Random(1)).do == "start"
    assert p.decide([t], inf, 0.0, Random(1)).do == "wait"
    t.end("ok", 1.0)
    assert p.decide([t], inf, 1.0, Random(1)).do == "commit"


def test_a_retry_waits_and_then_starts():
    """The wait is announced once and kept, however often it is asked."""
    p, tries, rng = policy(), [ended("server_error", 5.0)], Random(1)
    at_s = p.decide(tries, inf, 5.0, rng).at_s
    assert 5.0 <= at_s <= 5.5
    assert p.decide(tries, inf, 5.0, rng).at_s == at_s
    decision = p.decide(tries, inf, at_s, rng)
    assert (decision.do, decision.why) == ("start", "retry")


def test_final_failures_fail():
    """Nothing is gained by asking again."""
    assert policy().decide([ended("billing", retryable=False)], inf, 0.0, Random(1)).do == "fail"


def test_attempts_are_bounded():
    """Three tries; a caller that asked for one gets one, throttled or not."""
    assert policy().decide([ended("server_error")] * 3, inf, 0.0, Random(1)).do == "fail"
    assert policy(attempts_max=1).decide([ended("throttled")], inf, 0.0, Random(1)).do == "fail"


def test_throttles_have_a_bound_of_their_own():
    """A 429 was not worked on: it uses up no try, but not for ever."""
    p = policy(throttled_max=4)
    assert p.decide([ended("throttled")] * 4, inf, 0.0, Random(1)).do in ("wait", "start")
    assert policy(throttled_max=4).decide([ended("throttled")] * 5, inf, 0.0, Random(1)).do == "fail"


def test_nothing_is_planned_past_the_deadline():
    """A wait that ends after it is no wait."""
    assert policy().decide([ended("throttled", retry_after_s=60)], 30.0, 0.0, Random(1)).do == "fail"


def test_the_retry_budget_is_shared():
    """When it is spent, failures are final; successes and seconds earn it back."""
    budget = RetryBudget(ratio=0.1, per_s=1.0, reserve=2.0)
    settings = RetrySettings()
    kinds = [
        FlightPolicy(settings, budget, 3).decide([ended("server_error")], inf, 0.0, Random(1)).do for _ in range(4)
    ]
    assert kinds[:2] != ["fail", "fail"]
    assert kinds[2:] == ["fail", "fail"]
    assert not budget.available(0.5)
    assert budget.available(1.0)


@given(st.integers(1, 30), st.integers(0, 1000), st.one_of(st.none(), st.floats(0, 300)))
def test_backoff_stays_in_its_bounds(tries, seed, retry_after_s):
    """Full jitter below the cap; a wait the provider named is a floor."""
    delay_s = Backoff().delay_s(tries, Random(seed), retry_after_s=retry_after_s)
    assert (retry_after_s or 0.0) <= delay_s <= max(retry_after_s or 0.0, min(8.0, 0.5 * 2 ** (tries - 1)))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 500), st.floats(0, 1), st.booleans()), max_size=50))
def test_a_cap_is_never_passed_by_what_was_reserved(steps):
    """Spent + reserved <= cap, as long as the actual stays within its worst case."""
    cap = SpendCap(dollars_max=3.0, tokens_max=2000)
    open_: list[tuple[float, int, float]] = []
    for dollars, tokens, share, settle in steps:
        if cap.reserve(dollars, tokens):
            open_.append((dollars, tokens, share))
        if settle and open_:
            d, t, s = open_.pop(0)
            cap.settle(d, t, dollars_actual=d * s, tokens_actual=int(t * s))
        assert cap.dollars_spent + cap.dollars_reserved <= 3.0 + 1e-9
        assert cap.tokens_spent + cap.tokens_reserved <= 2000
    for d, t, s in open_:
        cap.settle(d, t, dollars_actual=d * s, tokens_actual=int(t * s))
    assert abs(cap.dollars_reserved) < 1e-9
    assert cap.tokens_reserved == 0


def test_a_retry_elsewhere_does_not_wait():
    """Another upstream need not recover from anything; the same one again must be given time."""
    p = FlightPolicy(RetrySettings(), RetryBudget(), 3, elsewhere=1)
    decision = p.decide([ended("server_error", 5.0, retry_after_s=60.0)], inf, 5.0, Random(1))
    assert (decision.do, decision.why) == ("start", "fallback")
    assert p.decide([ended("server_error", 5.0), ended("server_error", 6.0)], inf, 6.0, Random(1)).do == "wait"


def test_a_backup_is_one_of_the_tries():
    """Retries and backups are counted together: a try of one has no backup, and there is one a flight."""
    hedge = Hedge(HedgeSettings(ratio=0.5), HedgeBudget(HedgeSettings(ratio=0.5)))
    for _ in range(100):
        hedge.answered(1.0)
        hedge.sent(1.0)
    for attempts_max, expected in ((1, "wait"), (3, "start")):
        p, late = FlightPolicy(RetrySettings(), RetryBudget(), attempts_max, hedge, (0.0, 1.0)), Try()
        late.sent_at_s = 0.0
        assert p.decide([late], inf, 0.5, Random(1)).do == "wait"
        assert p.decide([late], inf, 5.0, Random(1)).do == expected
        assert p.decide([late, Try()], inf, 50.0, Random(1)).do == "wait"


def test_a_try_that_waits_for_its_turn_is_not_late():
    """Our own queue is no reason to send more."""
    hedge = Hedge(HedgeSettings(ratio=0.5), HedgeBudget(HedgeSettings(ratio=0.5)))
    for _ in range(100):
        hedge.answered(1.0)
        hedge.sent(1.0)
    p = FlightPolicy(RetrySettings(), RetryBudget(), 3, hedge, (0.0, 1.0))
    decision = p.decide([Try()], inf, 100.0, Random(1))
    assert decision.do == "wait"
    assert decision.at_s > 100.5
