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
    assert abs(bucket.wait_s(1, 0.0) - 301 / 50) < 1e-6


def test_a_refund_restores_the_level():
    """What was never sent was never spent."""
    bucket = Bucket(60, headroom_ratio=0)
    bucket.charge(60, 0.0)
    bucket.refund(60, 0.0)
    assert bucket.wait_s(60, 0.0) == 0.0
    assert bucket.charged == 0


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
