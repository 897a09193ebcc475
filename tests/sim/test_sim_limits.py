"""The provider's limits: arithmetic, headers, texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.sim import SimSettings, Simulator, run_virtual
from headway.sim.limits import Bucket, Limits, charge_tokens, duration
from tests.sim.helpers import chat, json

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400)), min_size=1, max_size=60)


@given(
    rpm=st.integers(1, 5_000), tpm=st.integers(60, 50_000), capacity_s=st.floats(1, 60), full=st.booleans(), steps=STEPS
)
def test_never_more_than_capacity_and_refill(rpm, tpm, capacity_s, full, steps):
    """Over any stretch of time, what is admitted is at most the capacity plus the refill: requests and tokens."""
    limits = Limits(rpm=rpm, tpm=tpm, capacity_s=capacity_s, start_full=full)
    now_s, admitted = 0.0, [(0.0, 0)]
    limits.headers("key", "m", 0.0)  # the bucket exists from now on
    for pause_s, tokens in steps:
        now_s += pause_s
        if limits.admit("key", "m", "m", tokens, now_s) is None:
            admitted.append((now_s, tokens))
    for first in range(1, len(admitted)):
        start_s = admitted[first][0]
        for last in range(first, len(admitted)):
            passed_s = admitted[last][0] - start_s
            window = admitted[first : last + 1]
            assert len(window) <= max(1, rpm / 60 * capacity_s) + rpm / 60 * passed_s + 1e-3
            assert sum(t for _, t in window) <= max(1, tpm / 60 * capacity_s) + tpm / 60 * passed_s + 1e-3
    if not full:
        assert sum(t for _, t in admitted) <= tpm / 60 * now_s + 1e-3


@given(rpm=st.integers(60, 5_000), capacity_s=st.floats(1, 60), steps=STEPS)
def test_a_refused_request_fits_after_the_wait_it_was_told(rpm, capacity_s, steps):
    """The wait in the text is enough, its arithmetic is that of its own numbers, and refusal charges nothing."""
    limits = Limits(rpm=rpm, tpm=None, capacity_s=capacity_s)
    now_s = 0.0
    for pause_s, repeats in steps:
        now_s += pause_s / 100
        for _ in range(repeats):
            before = limits.headers("key", "m", now_s)
            refusal = limits.admit("key", "m", "m", 1, now_s)
            if refusal is None:
                continue
            assert limits.headers("key", "m", now_s) == before
            found = re.search(
                r"Limit (\d+), Used (\d+), Requested (\d+)\. Please try again in (\S+)\. V", refusal.message
            )
            limit, used, requested = (int(found[n]) for n in (1, 2, 3))
            assert refusal.wait_ms == -(-(used + requested - limit) * 60_000 // limit)
            assert found[4] == duration(refusal.wait_ms)
            now_s += refusal.wait_ms / 1_000
            assert limits.admit("key", "m", "m", 1, now_s) is None
            break


@given(limit=st.integers(1, 200_000), capacity_s=st.floats(1, 60), taken=st.floats(0, 1), pause_s=st.floats(0, 70))
def test_the_reset_header_is_the_time_to_full(limit, capacity_s, taken, pause_s):
    """For every capacity, the reset in the headers is how long the bucket takes to fill, within one unit."""
    bucket = Bucket(limit, capacity_s, 0.0)
    bucket.take(int(bucket.capacity * taken))
    to_full_s = (bucket.capacity - bucket.level(pause_s)) / bucket.refill
    told_s = bucket.reset_ms(pause_s) / 1_000
    assert to_full_s - 0.001 <= told_s <= to_full_s + 60 / limit + 0.002
    assert told_s <= 60.001


def test_a_slice_of_one_second_reports_plenty_while_it_is_empty():
    """The trap: 3,000 a minute enforced as 50 a second says 2,950 remain when nothing is left."""
    limits = Limits(rpm=3_000, tpm=None, capacity_s=1.0)
    for _ in range(50):
        assert limits.admit("key", "gpt-4o", "gpt-4o", 1, 0.0) is None
    assert limits.headers("key", "gpt-4o", 0.0) == (
        ("x-ratelimit-limit-requests", "3000"),
        ("x-ratelimit-remaining-requests", "2950"),
        ("x-ratelimit-reset-requests", "1s"),
    )
    refusal = limits.admit("key", "gpt-4o", "gpt-4o", 1, 0.0)
    assert refusal.message.startswith(
        "Rate limit reached for gpt-4o in organization org-sim on requests per min (RPM): Limit 3000, Used 3000,"
        " Requested 1. Please try again in 20ms."
    )


def test_the_published_examples():
    """5,000 with 4,999 left resets in 12 ms; 160,000 with 159,976 in 9 ms; 54,134 + 6,465 over 60,000 waits 599 ms."""
    requests, tokens, slice_ = Bucket(5_000, 60, 0.0), Bucket(160_000, 60, 0.0), Bucket(60_000, 60, 0.0)
    requests.take(1)
    tokens.take(24)
    slice_.take(54_134)
    assert (requests.reset_ms(0.0), tokens.reset_ms(0.0)) == (12, 9)
    assert (slice_.used(0.0), slice_.wait_ms(6_465, 0.0)) == (54_134, 599)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0ms"), (12, "12ms"), (1_000, "1s"), (8_640, "8.64s"), (360_000, "6m0s"), (3_723_004, "1h2m3.004s")],
)
def test_durations_are_written_as_the_headers_do(ms, text):
    """Milliseconds below a second, then seconds with their fraction, minutes and hours."""
    assert duration(ms) == text


def test_the_charge_is_the_larger_of_bound_and_estimate():
    """A quarter of the characters, or the token bound if that is more; never nothing."""
    assert (charge_tokens(400, None), charge_tokens(400, 50), charge_tokens(401, 500), charge_tokens(0, None)) == (
        100, 100, 500, 1,
    )  # fmt: skip


def test_a_request_larger_than_the_bucket_is_refused_for_good():
    """It is told so, with no wait, for no wait would help."""
    refusal = Limits(rpm=None, tpm=60_000, capacity_s=1.0).admit("key", "m", "m", 1_001, 0.0)
    assert refusal.wait_ms is None
    assert "Request too large" in refusal.message
    assert "Limit 1000, Requested 1001" in refusal.message


def test_credentials_and_families_have_limits_of_their_own():
    """One key's use is not another's; models of a family share."""
    limits = Limits(rpm=60, tpm=None, capacity_s=1.0)
    assert limits.admit("a", "m", "f", 1, 0.0) is None
    assert limits.admit("a", "m-2", "f", 1, 0.0) is not None
    assert limits.admit("b", "m", "f", 1, 0.0) is None
    assert limits.admit("a", "m", "g", 1, 0.0) is None


def test_429s_carry_the_limit_headers_and_the_wait():
    """The refusal of a served request: status, code, type, headers, retry-after as asked for."""

    async def main():
        simulator = Simulator(SimSettings(rpm=60, tpm=None, capacity_s=1, retry_after=True, latency_scale=0))
        first = await chat(simulator, "one")
        return first, await chat(simulator, "two")

    first, second = run_virtual(main)
    assert (first.status, second.status) == (200, 429)
    assert json(second)["error"]["code"] == "rate_limit_exceeded"
    assert json(second)["error"]["type"] == "requests"
    assert (second.header("x-ratelimit-limit-requests"), second.header("x-ratelimit-reset-requests")) == ("60", "1s")
    assert (second.header("retry-after"), second.header("retry-after-ms")) == ("1", "1000")
    assert second.header("x-ratelimit-limit-tokens") == ""


def test_a_self_hosted_server_tells_nothing():
    """headers=False: no limit headers, no retry-after, not even on a 429."""

    async def main():
        simulator = Simulator(SimSettings(rpm=60, capacity_s=1, headers=False, retry_after=True, latency_scale=0))
        return await chat(simulator, "one"), await chat(simulator, "two")

    for reply in run_virtual(main):
        assert not [name for name, _ in reply.headers if "ratelimit" in name or "retry" in name]
