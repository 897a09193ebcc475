"""What a bucket allows, and what it learns from headers and refusals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.bucket import Bucket


def test_an_unknown_bucket_grants_everything():
    """Without a limit there is nothing to wait for."""
    bucket = Bucket()
    bucket.charge(1e9, 0.0)
    assert bucket.wait_s(1e9, 0.0) == 0.0


def test_it_starts_full_and_then_paces_at_the_refill():
    """3,000 a minute: the capacity less the headroom at once, then one each 20 ms."""
    bucket = Bucket(3000, capacity=50, headroom_ratio=0.1)
    sent = 0
    while bucket.wait_s(1, 0.0) == 0.0:
        bucket.charge(1, 0.0)
        sent += 1
    assert sent == 45
    assert abs(bucket.wait_s(1, 0.0) - 0.02) < 1e-9


def test_reset_is_the_time_to_full_and_gives_the_window():
    """Groq counts requests by the day: (limit - remaining) / limit * window = reset tells so."""
    bucket = Bucket()
    bucket.observe(bucket.charge(1, 1.0), 14400, 14300, 100 / 14400 * 86400, age_s=0, now_s=1.0)
    assert bucket.window_s == 86400
    assert abs(bucket.refill_per_s - 14400 / 86400) < 1e-9


def test_a_reading_of_a_request_sent_in_ignorance_counts_its_age_and_what_was_sent_since():
    """Available = last remaining + refill * age - charges sent since that snapshot."""
    bucket = Bucket()
    mark = bucket.charge(1, 8.0)
    bucket.charge(300, 8.0)
    bucket.observe(mark, 6000, 1000, None, age_s=2.0, now_s=10.0)
    assert abs(bucket.level - (1000 + 200 - 300)) < 1e-6


def test_one_discrepancy_is_corrected_once_however_many_answers_report_it():
    """Fifty answers under way all say that 100 are missing: the level falls by 100, not by 5,000."""
    bucket = Bucket(6000, window_s=60)
    marks = [bucket.charge(1, 0.0) for _ in range(50)]
    for n, mark in enumerate(marks):
        bucket.observe(mark, 6000, 6000 - 100 - n - 1, None, age_s=1.0, now_s=0.0)
    assert abs(bucket.level - (6000 - 50 - 100)) < 1e-6


def test_a_contradicting_429_shows_the_hidden_capacity():
    """Headers claim 2,950 of 3,000 remain while the slice of 50 is empty: the difference is hidden from now on."""
    bucket = Bucket()
    mark = bucket.charge(1, 0.0)
    bucket.observe(mark, 3000, 2990, None, age_s=0, now_s=0.0)
    assert bucket.refused(mark, 1, level=0.0, remaining=2950, now_s=0.0)
    assert bucket.capacity == 50
    bucket.observe(bucket.charge(1, 10.0), 3000, 2980, None, age_s=0, now_s=10.0)
    assert bucket.level <= 50


def test_a_429_that_agrees_with_its_headers_only_resyncs():
    """Somebody else spent the quota: the level falls, the capacity stays."""
    bucket = Bucket(3000)
    assert not bucket.refused(bucket.charge(1, 0.0), 1, level=0.0, remaining=0, now_s=0.0)
    assert bucket.capacity == 3000
    assert bucket.level == 0
    assert 301 / 50 <= bucket.wait_s(1, 0.0) <= 10


def test_a_refund_restores_the_level():
    """What was never sent was never spent."""
    bucket = Bucket(60, headroom_ratio=0)
    bucket.charge(60, 0.0)
    bucket.refund(60, 0.0)
    assert bucket.wait_s(60, 0.0) == 0.0
    assert bucket.charged == 0


def test_a_lower_limit_does_not_stall_and_a_higher_one_does_not_overspend():
    """10,000 believed, 500 true: the level is what the answer says, not 9,500 below it; answers under way add nothing."""
    for believed, real in ((10_000, 500), (5000, 500), (600, 1200), (300, 6000)):
        bucket = Bucket(believed)
        marks = [bucket.charge(1, 0.0) for _ in range(20)]
        for n, mark in enumerate(marks):
            bucket.observe(mark, real, real - n - 1, None, age_s=0.5, now_s=0.5)
        assert bucket.limit == real
        assert real - 20 - 1 <= bucket.level <= real


def test_an_answer_that_was_overtaken_does_not_bring_the_old_limit_back():
    """600 becomes 300; a slow answer from before still says 600."""
    bucket = Bucket()
    old, new = bucket.charge(1, 0.0), bucket.charge(1, 0.1)
    bucket.observe(bucket.charge(1, 0.0), 600, 590, None, age_s=0, now_s=0.2)
    late = bucket.charge(1, 0.3)
    bucket.observe(late, 300, 200, None, age_s=0, now_s=0.4)
    bucket.observe(old, 600, 598, None, age_s=1, now_s=1.0)
    bucket.observe(new, 600, 597, None, age_s=1, now_s=1.0)
    assert bucket.limit == 300
    assert bucket.level <= 204


def test_a_limit_that_wavers_keeps_the_account():
    """600, 599, 600, ...: one limit, whose level is never set anew."""
    bucket = Bucket(600)
    bucket.charge(500, 0.0)
    for n in range(100):
        bucket.observe(bucket.charge(1, 0.0), 600 - n % 2, 99 - n, None, age_s=0, now_s=0.0)
    assert -3 <= bucket.level <= 1


def test_a_changed_limit_keeps_its_slices():
    """50 of 3,000 at once are 25 of 1,500: how many seconds of refill may be saved up is what was learned."""
    bucket = Bucket(3000, capacity=50)
    bucket.observe(bucket.charge(1, 0.0), 1500, 1490, None, age_s=0, now_s=0.0)
    assert abs(bucket.capacity - 25) < 1e-9
    assert bucket.level <= 25


def test_what_is_admitted_below_zero_uncovers_what_was_hidden_by_mistake():
    """500 of 1,000 remain and requests pass, though 950 are believed hidden: the belief goes, nothing stalls for ever."""
    bucket = Bucket()
    mark = bucket.charge(1, 0.0)
    assert bucket.observe(mark, 1000, 999, None, age_s=0, now_s=0.0) is None
    assert bucket.refused(mark, 1, level=0, remaining=950, now_s=0.0)
    now_s = 0.0
    for _ in range(40):
        now_s += bucket.wait_s(1, now_s)
        bucket.observe(bucket.charge(1, now_s), 1000, 500, None, age_s=0, now_s=now_s)
    assert bucket.hidden < 505
    assert now_s < 300


def test_windows_are_snapped_by_their_ratio():
    """27 s is nearer to a minute than to a second."""
    bucket = Bucket()
    bucket.observe(bucket.charge(1, 0.0), 1000, 900, 2.7, age_s=0, now_s=1.0)
    assert bucket.window_s == 60


def test_a_window_that_starts_afresh_is_not_an_hour_for_long():
    """Ten of 1,000 used and 45 s to go look like an hour; with 300 used it is a minute."""
    bucket = Bucket()
    bucket.observe(bucket.charge(10, 0.0), 1000, 990, 45.0, age_s=0, now_s=0.0)
    bucket.observe(bucket.charge(290, 0.0), 1000, 700, 40.0, age_s=0, now_s=0.0)
    assert bucket.window_s == 60


def test_a_refusal_our_account_cannot_explain_lowers_the_share_once_a_pack():
    """Somebody else takes a part of the refill: x0.9 a quarter of a second at most, then +2 % a second."""
    bucket = Bucket(600)
    marks = [bucket.charge(1, 0.0) for _ in range(5)]
    for mark in marks:
        bucket.refused(mark, 1, level=0, remaining=0, now_s=0.0)
    assert abs(bucket.refill_per_s - 9.0) < 1e-9
    for second in range(1, 11):
        bucket.wait_s(1, float(second))
    assert bucket.refill_per_s == 10.0


@given(
    st.floats(1, 1e6),
    st.floats(0.02, 1),
    st.lists(st.tuples(st.floats(0.001, 5), st.floats(0.1, 100)), max_size=60),
)
def test_it_never_spends_more_than_capacity_plus_refill(limit, share, steps):
    """Whatever is asked when: spent <= capacity + refill * time, as the provider's own bucket demands."""
    bucket = Bucket(limit, capacity=limit * share)
    now_s = spent = 0.0
    for gap_s, cost in steps:
        now_s += gap_s
        cost = min(cost, bucket.capacity)
        now_s += bucket.wait_s(cost, now_s)
        bucket.charge(cost, now_s)
        spent += cost
        assert spent <= limit * share + limit / 60 * now_s + 1e-6 * limit
