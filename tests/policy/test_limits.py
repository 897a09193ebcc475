"""Requests, tokens and the ramp together, against a provider's bucket that is written down independently here."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from headway.policy.limits import Limits, LimitSettings
from headway.types import ErrorView


class R(NamedTuple):
    """A reading."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None


class Rs(NamedTuple):
    """Both readings."""

    requests: R = R()
    tokens: R = R()
    retry_after_s: float | None = None
    provider_processing_s: float | None = None


def play(limits: Limits, *, rows: int, rpm: float, capacity_s: float, latency_s: float, rtt_s: float = 0.05):
    """Send `rows` requests through a provider of that limit; (finish, admissions, refusals), all by arithmetic."""
    refill, level, level_at = rpm / 60, rpm / 60 * capacity_s, 0.0
    capacity = level
    events: list = []
    now, owed, admitted, refused, seq = 0.0, rows, [], 0, 0
    while len(admitted) < rows:
        wait = limits.wait_s(10, now) if owed else None
        next_event = events[0][0] if events else float("inf")
        if wait is not None and now + wait <= next_event:
            now += wait
            charge = limits.charge(10, now)
            owed -= 1
            arrive = now + rtt_s / 2
            level = min(capacity, level + (arrive - level_at) * refill)
            level_at = arrive
            ok = level >= 1
            remaining = int(rpm - (capacity - (level - ok)))
            if ok:
                level -= 1
                admitted.append(arrive)
            seq += 1
            back = now + (rtt_s if not ok else rtt_s + latency_s)
            heapq.heappush(events, (back, seq, ok, charge, remaining, level, now))
            continue
        back, _, ok, charge, remaining, lvl, sent = heapq.heappop(events)
        now = max(now, back)
        reading = Rs(requests=R(int(rpm), remaining), provider_processing_s=latency_s if ok else None)
        if ok:
            limits.observe(charge, reading, sent_at_s=sent, now_s=now)
        else:
            refused += 1
            owed += 1
            error = ErrorView(
                outcome="throttled", limit_kind="requests", limit=int(rpm), used=int(rpm - lvl), requested=1
            )
            limits.refused(charge, reading, error, now_s=now)
    return now, admitted, refused


def test_a_hidden_slice_is_learned_with_few_refusals_and_then_used_to_the_full():
    """3,000 RPM enforced as 50 a second, nothing configured: >= 98 % of the rate after 2 s, <= 0.5 % refused."""
    _, admitted, refused = play(Limits(LimitSettings()), rows=3080, rpm=3000, capacity_s=1, latency_s=1.2)
    later = [t for t in admitted if t >= 2]
    rate = (len(later) - 1) / (later[-1] - later[0])
    assert rate >= 0.98 * 50
    assert refused <= 0.005 * (3080 + refused)


def test_a_full_bucket_is_spent_not_saved():
    """The same API with a minute's worth in its bucket: the burst is used, without a refusal."""
    finish, _, refused = play(Limits(LimitSettings()), rows=3080, rpm=3000, capacity_s=60, latency_s=1.2)
    assert refused == 0
    assert finish < 10


def test_configured_limits_hold_from_the_first_request():
    """With limits given, nothing is ever refused."""
    limits = Limits(LimitSettings(requests_per_min=600, capacity_s=1))
    _, _, refused = play(limits, rows=300, rpm=600, capacity_s=1, latency_s=0.5)
    assert refused == 0


def test_a_tiny_limit_is_learned_from_the_first_refusal():
    """3 RPM (the free tier): the blind burst is refused once, then the pace is right."""
    _, admitted, refused = play(Limits(LimitSettings()), rows=12, rpm=3, capacity_s=60, latency_s=1.0)
    assert refused <= 24
    assert len(admitted) == 12


def test_refusals_without_numbers_steer_the_rate():
    """A server without any header: the ramp turns into AIMD and does not wait for ever."""
    limits = Limits(LimitSettings())
    charge = limits.charge(10, 0.0)
    limits.refused(charge, None, ErrorView(outcome="throttled"), now_s=0.1)
    assert limits.ramp.state == "steered"
    assert 0 < limits.wait_s(10, 0.2) < 60


def test_the_requested_figure_of_a_429_corrects_the_charge():
    """Requested 500 where 1,000 was charged: the ratio learns it."""
    limits = Limits(LimitSettings(tokens_per_min=60000))
    charge = limits.charge(1000, 0.0)
    error = ErrorView(outcome="throttled", limit_kind="tokens", limit=60000, used=60000, requested=500)
    limits.refused(charge, None, error, now_s=0.1)
    assert limits.charge_ratio == 0.5


def test_two_readings_with_one_charge_between_them_show_what_was_charged():
    """Differencing: 300 tokens fewer for a charge of 100 moves the ratio up."""
    limits = Limits(LimitSettings(tokens_per_min=600_000))
    first = limits.charge(100, 0.0)
    second = limits.charge(100, 0.0)
    limits.observe(first, Rs(tokens=R(600_000, 500_000)), sent_at_s=0.0, now_s=0.0)
    limits.observe(second, Rs(tokens=R(600_000, 499_700)), sent_at_s=0.0, now_s=0.0)
    assert limits.charge_ratio > 1.1
