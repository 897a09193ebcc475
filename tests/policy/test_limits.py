"""Requests, tokens and the ramp together, against a provider's bucket that is written down independently here."""

from __future__ import annotations

import heapq
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.policy.limits import Limits, LimitSettings
from headway.types import ErrorView


class R(NamedTuple):
    """A reading."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    window_s: float | None = None
    grain: int = 1


class Rs(NamedTuple):
    """All readings."""

    requests: R = R()
    tokens: R = R()
    input_tokens: R = R()
    output_tokens: R = R()
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


class Provider:
    """Token buckets over requests and tokens, with all the ways in which they may be told, shared and changed."""

    def __init__(
        self, *, rpm=None, tpm=None, capacity_s=60.0, other=0.0, headers=True, text=True, ratio=1.0, changes=()
    ):
        self.limits = {k: v for k, v in (("requests", rpm), ("tokens", tpm)) if v}
        self.levels = {k: v * capacity_s / 60 for k, v in self.limits.items()}
        self.capacity_s, self.other, self.headers, self.text, self.ratio = capacity_s, other, headers, text, ratio
        self.changes, self.at_s = list(changes), 0.0

    def ask(self, estimate, at_s):
        """(the readings, the error or None); `changes` are (when, which, the new limit)."""
        while self.changes and self.changes[0][0] <= at_s:
            _, kind, limit = self.changes.pop(0)
            self.limits[kind] = limit
            self.levels[kind] = min(self.levels[kind], limit * self.capacity_s / 60)
        for kind, limit in self.limits.items():
            refilled = self.levels[kind] + (at_s - self.at_s) * limit / 60 * (1 - self.other)
            self.levels[kind] = min(limit * self.capacity_s / 60, refilled)
        self.at_s = at_s
        costs = {"requests": 1.0, "tokens": estimate * self.ratio}
        error = next((self._error(k, costs[k]) for k in self.limits if self.levels[k] < costs[k]), None)
        if error is None:
            for kind in self.limits:
                self.levels[kind] -= costs[kind]
        return Rs(**{k: self._reading(k) for k in self.limits}) if self.headers else None, error

    def _reading(self, kind):
        limit = self.limits[kind]
        used = limit * self.capacity_s / 60 - self.levels[kind]
        return R(int(limit), max(0, int(limit - used)), used / limit * 60)

    def _error(self, kind, cost):
        if not self.text:
            return ErrorView(outcome="throttled")
        limit, used = int(self.limits[kind]), int(self.limits[kind] - self.levels[kind])
        return ErrorView(
            outcome="throttled", limit_kind=kind, limit=limit, used=used, requested=int(cost), limit_window_s=60.0
        )


def drive(limits, provider, until_s, sizes=(10,), latency_s=1.0, seed=1):
    """Send as fast as `limits` allow, requests of the sizes in turn; ([(when, size) admitted], [when refused])."""
    rnd, events, admitted, refused, sent, now_s = Random(seed), [], [], [], 0, 0.0
    while now_s < until_s:
        size = sizes[sent % len(sizes)]
        go_s = now_s + limits.wait_s(size, now_s)
        if (events and events[0][0] < go_s) or go_s >= until_s:
            if not events:
                break
            now_s, _, charge, size, sent_s, back = heapq.heappop(events)
            if back is None:
                readings, error = provider.ask(size, now_s)
                back_s = now_s + 0.02 + (0.0 if error else latency_s * (0.5 + rnd.random()))
                heapq.heappush(events, (back_s, rnd.random(), charge, size, sent_s, (readings, error, now_s)))
            elif back[1] is not None:
                refused.append(now_s)
                limits.refused(charge, back[0], back[1], now_s=now_s)
            else:
                admitted.append((back[2], size))
                if back[0] is not None:
                    limits.observe(charge, back[0], sent_at_s=sent_s, now_s=now_s)
            continue
        now_s, sent = go_s, sent + 1
        arrive_s = now_s + 0.02 + 0.005 * rnd.random()
        heapq.heappush(events, (arrive_s, rnd.random(), limits.charge(size, now_s), size, now_s, None))
    return admitted, refused


def use(admitted, from_s, to_s, per_min, *, tokens=False):
    """Share of a limit that was used in a span."""
    spent = sum(size if tokens else 1 for at_s, size in admitted if from_s <= at_s < to_s)
    return spent / (per_min / 60 * (to_s - from_s))


def late(times, from_s):
    return sum(at_s >= from_s for at_s in times)


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
    """Differencing: 180 tokens fewer for a charge of 100 moves the ratio up."""
    limits = Limits(LimitSettings(tokens_per_min=600_000))
    first = limits.charge(100, 0.0)
    second = limits.charge(100, 0.0)
    limits.observe(first, Rs(tokens=R(600_000, 500_000)), sent_at_s=0.0, now_s=0.0)
    limits.observe(second, Rs(tokens=R(600_000, 499_820)), sent_at_s=0.0, now_s=0.0)
    assert abs(limits.charge_ratio - 1.08) < 1e-9


def test_the_charge_ratio_is_what_the_429_says_however_many_say_it():
    """Four refusals in a row of requests that cost three times the estimate: 3, not 3 to the fourth."""
    limits = Limits(LimitSettings(tokens_per_min=100_000))
    error = ErrorView(outcome="throttled", limit_kind="tokens", limit=100_000, used=99_900, requested=300)
    for charge in [limits.charge(100, 0.0) for _ in range(4)]:
        limits.refused(charge, None, error, now_s=0.1)
        assert limits.charge_ratio == 3.0


def test_a_foreign_request_between_two_readings_is_not_taken_for_ours():
    """20,000 tokens of another client between two readings leave the ratio alone."""
    limits = Limits(LimitSettings(tokens_per_min=600_000))
    first, second = limits.charge(100, 0.0), limits.charge(100, 0.0)
    limits.observe(first, Rs(tokens=R(600_000, 500_000)), sent_at_s=0.0, now_s=0.0)
    limits.observe(second, Rs(tokens=R(600_000, 479_900)), sent_at_s=0.0, now_s=0.0)
    assert limits.charge_ratio == 1.0


def test_a_charge_ratio_gone_wrong_comes_back():
    """Ten times too high: readings that say 1 are far below, and are believed all the same."""
    limits = Limits(LimitSettings(tokens_per_min=600_000))
    limits.charge_ratio = 10.0
    for n in range(101):
        limits.observe(limits.charge(100, 0.0), Rs(tokens=R(600_000, 500_000 - 100 * n)), sent_at_s=0.0, now_s=0.0)
    assert 0.99 <= limits.charge_ratio <= 1.2


def test_a_refusal_without_numbers_shrinks_nothing():
    """`slow_down` with honest headers: the capacity stays, the rate is steered, the charge is given back."""
    limits = Limits(LimitSettings(requests_per_min=1000))
    charge = limits.charge(10, 0.0)
    error = ErrorView(outcome="throttled", code="slow_down", limit_kind="requests")
    limits.refused(charge, Rs(requests=R(1000, 500)), error, now_s=0.1)
    assert (limits.requests.capacity, limits.requests.hidden, limits.requests.charged) == (1000, 0, 0)
    assert limits.ramp.state == "steered"


def test_a_daily_limit_in_a_text_is_daily():
    """RPD 200, all used: the next may go in minutes, not in a third of a second."""
    limits = Limits(LimitSettings())
    error = ErrorView(
        outcome="throttled", limit_kind="requests", limit=200, used=200, requested=1, limit_window_s=86_400.0
    )
    limits.refused(limits.charge(10, 0.0), None, error, now_s=0.1)
    assert limits.wait_s(10, 0.1) > 400


def test_another_limits_text_does_not_replace_what_headers_say():
    """Headers give requests a minute; a 429 about the day steers the rate and touches neither limit nor capacity."""
    limits = Limits(LimitSettings())
    limits.observe(limits.charge(10, 0.0), Rs(requests=R(3000, 2999)), sent_at_s=0.0, now_s=0.1)
    error = ErrorView(
        outcome="throttled", limit_kind="requests", limit=200, used=200, requested=1, limit_window_s=86_400.0
    )
    limits.refused(limits.charge(10, 0.2), Rs(requests=R(3000, 2998)), error, now_s=0.3)
    assert (limits.requests.limit, limits.requests.capacity, limits.requests.window_s) == (3000, 3000, 60)
    assert limits.ramp.state == "steered"


def test_an_overload_steers_whatever_the_limits_say():
    """529: x0.9 of what was sent, once a quarter of a second."""
    limits = Limits(LimitSettings(requests_per_min=60_000))
    limits.ramp.settle()
    for n in range(100):
        limits.charge(10, 1 + n / 100)
    for _ in range(8):  # now they are a large share of the answers
        limits.overloaded(2.0)
    limits.overloaded(2.1)
    assert limits.ramp.state == "steered"
    assert 80 <= limits.ramp.rate_per_s <= 95


def test_a_few_overloads_are_chance_and_slow_nothing_down():
    """One answer in ten is a 503: retried, but the other nine are proof that there is room."""
    limits = Limits(LimitSettings(requests_per_min=60_000))
    limits.ramp.settle()
    for n in range(1000):
        charge = limits.charge(10, n / 100)
        if n % 10 == 3:
            limits.overloaded(n / 100)
        else:
            limits.observe(charge, Rs(requests=R(60_000, 59_999)), sent_at_s=n / 100, now_s=n / 100)
    assert limits.ramp.state == "off"


def test_what_was_never_sent_costs_no_turn():
    """Refunds reach the ramp, too."""
    limits = Limits(LimitSettings())
    for _ in range(100):
        limits.refund(limits.charge(10, 0.0), 0.0)
    assert limits.wait_s(10, 0.0) == 0.0


@pytest.mark.parametrize(("rpm", "to"), [(600, 300), (600, 1200), (3000, 500), (500, 3000)])
@pytest.mark.parametrize("capacity_s", [1.0, 60.0])
def test_a_limit_changed_at_run_time_is_followed(rpm, to, capacity_s):
    """Up or down: >= 97 % of the new limit is used 20 s later, and few are refused on the way."""
    provider = Provider(rpm=rpm, capacity_s=capacity_s, changes=[(90.0, "requests", to)])
    admitted, refused = drive(Limits(LimitSettings()), provider, 180.0)
    assert 0.97 <= use(admitted, 110, 178, to) <= 1.1
    assert late(refused, 10) <= 0.02 * len(admitted)


@pytest.mark.parametrize("preset", [60, 500, 10_000])
@pytest.mark.parametrize("capacity_s", [1.0, 60.0])
def test_a_wrong_preset_is_replaced_by_what_the_provider_says(preset, capacity_s):
    """600 RPM in truth: whatever was configured, >= 97 % is used from 75 s on and nearly nothing refused."""
    limits = Limits(LimitSettings(requests_per_min=preset))
    admitted, refused = drive(limits, Provider(rpm=600, capacity_s=capacity_s), 150.0)
    assert 0.97 <= use(admitted, 75, 148, 600) <= 1.05
    assert late(refused, 75) <= 0.01 * late([t for t, _ in admitted], 75)


@pytest.mark.parametrize(("rpm", "other", "capacity_s"), [(600, 0.5, 1), (600, 0.3, 1), (3000, 0.5, 1), (600, 0.5, 60)])
def test_a_second_client_on_the_quota_is_made_room_for(rpm, other, capacity_s):
    """What the other leaves is used to 95 % or more, with less than one in fifteen refused."""
    admitted, refused = drive(Limits(LimitSettings()), Provider(rpm=rpm, other=other, capacity_s=capacity_s), 240.0)
    assert use(admitted, 120, 238, rpm * (1 - other)) >= 0.95
    assert late(refused, 120) <= 0.066 * late([t for t, _ in admitted], 120)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_token_bound_mixes_use_the_limit(ratio):
    """6,000 RPM, 400,000 TPM, 1 s slices, mixed sizes, charged at any ratio: >= 98 % from second 3 on, <= 0.5 % refused."""
    sizes = [Random(5).choice([100, 100, 100, 600, 1500]) for _ in range(1)] + Random(6).choices(
        [100, 600, 1500], k=997
    )
    admitted, refused = drive(
        Limits(LimitSettings()), Provider(rpm=6000, tpm=400_000, capacity_s=1, ratio=ratio), 120.0, sizes
    )
    assert use(admitted, 3, 118, 400_000 / ratio, tokens=True) >= 0.98
    assert late(refused, 3) <= 0.005 * len(admitted)


@pytest.mark.parametrize("headers", [True, False])
def test_refusals_without_numbers_are_steered_around(headers):
    """600 RPM in 1 s slices and a 429 that says nothing, even after slow calls: >= 90 % used, <= 5 % refused."""
    limits = Limits(LimitSettings())
    for n in range(12):
        limits.charge(10, -20.0 + n)
    admitted, refused = drive(limits, Provider(rpm=600, capacity_s=1, headers=headers, text=False), 180.0)
    assert use(admitted, 60, 178, 600) >= 0.9
    assert late(refused, 60) <= 0.05 * late([t for t, _ in admitted], 60)


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.sampled_from([300, 600, 2000]),
    tpm=st.sampled_from([None, 60_000, 400_000]),
    capacity_s=st.sampled_from([5.0, 20.0, 60.0]),
    other=st.sampled_from([0.0, 0.0, 0.3, 0.6]),
    headers=st.booleans(),
    text=st.booleans(),
    ratio=st.sampled_from([0.7, 1.0, 2.5]),
    preset=st.sampled_from([None, 60, 1000, 10_000]),
    factors=st.lists(st.sampled_from([0.5, 0.8, 0.99, 1.01, 1.5, 3.0]), max_size=3),
    seed=st.integers(0, 1000),
)
def test_no_provider_stalls_it_or_makes_it_storm(
    rpm, tpm, capacity_s, other, headers, text, ratio, preset, factors, seed
):
    """Any mix of limits, changes, presets, sharing and silence: in the end most of the limit is used, few are refused."""
    changes, limit = [], float(rpm)
    for n, factor in enumerate(factors):
        limit = float(int(limit * factor))
        changes.append((40.0 + 20.0 * n, "requests", limit))
    provider = Provider(
        rpm=rpm, tpm=tpm, capacity_s=capacity_s, other=other, headers=headers, text=text, ratio=ratio, changes=changes
    )
    limits = Limits(LimitSettings(requests_per_min=preset))
    sizes = Random(seed).choices([50, 200, 800], k=499)
    admitted, refused = drive(limits, provider, 300.0, sizes, seed=seed)
    if text and not headers:
        limit = min(rpm, limit, *(change[2] for change in changes))  # without a refusal nobody says that it rose
    bound = limit / 60 * (1 - other)
    if tpm:
        bound = min(bound, tpm / 60 * (1 - other) / (sum(sizes) / len(sizes) * ratio))
    if not headers and preset is not None:
        bound = min(bound, preset / 60)  # nobody says that it could be more
    rate = late([t for t, _ in admitted], 200) / 98
    assert rate >= 0.7 * bound
    # Where only refusals tell (shared or silent), one every four seconds is the price of knowing: 2 % a second, x0.9.
    assert late(refused, 200) <= max(25, 0.15 * late([t for t, _ in admitted], 200))
    assert 0.3 <= limits.charge_ratio <= 6


def test_switched_off_nothing_waits():
    """To measure, limits are switched off: not even what is configured, learned or refused makes a request wait."""
    limits = Limits(LimitSettings(requests_per_min=1, paced=False))
    for n in range(1_000):
        assert limits.wait_s(10_000.0, 0.0) == 0.0
        limits.refused(limits.charge(10_000.0, 0.0), None, ErrorView(outcome="throttled"), now_s=float(n))
