"""Input and output counted apart: paced by both, against a provider's buckets written down independently here."""

from __future__ import annotations

import heapq
from math import inf
from random import Random
from typing import Any, NamedTuple

import pytest

from headway.policy.limits import OUTPUT_TOKENS_ASSUMED, Limits, LimitSettings
from headway.types import ErrorView, Usage
from headway.wire.rate_headers import LimitReading, RateSnapshot

REFUSED = ErrorView(outcome="throttled", code="rate_limit_error", retryable=True, limit_kind="tokens")


def reading(limit: int, remaining: float, *, grain: int = 1000) -> LimitReading:
    """As the headers have it: by the minute, tokens rounded to thousands."""
    rounded = max(0, round(remaining / grain) * grain)
    return LimitReading(limit=limit, remaining=rounded, reset_s=1.0, window_s=60.0, grain=grain)


def snapshot(**readings: LimitReading) -> RateSnapshot:
    nothing = LimitReading()
    return RateSnapshot(**{"requests": nothing, "tokens": nothing, "project_tokens": nothing, **readings})


class Ask(NamedTuple):
    """A request: our estimate of its input, what of its input is counted, and what comes out in the end."""

    estimate: float
    counted: float
    cached: float
    output: float


class Provider:
    """Three buckets of a minute. Input is spent at admission; output drains while it is generated, evenly."""

    def __init__(self, rpm: int, itpm: int, otpm: int, *, other: float = 0.0, owes: bool = False) -> None:
        self.limits = {"requests": rpm, "input_tokens": itpm, "output_tokens": otpm}
        self.levels = {kind: float(limit) for kind, limit in self.limits.items()}
        self.at_s = 0.0
        self.other = other
        self.owes = owes  # whether output that comes although nothing is left has to be paid off
        self.running: list[list[float]] = []  # tokens a second, and until when

    def advance(self, at_s: float) -> None:
        while self.at_s < at_s:
            step_s = min(0.05, at_s - self.at_s)
            drained = sum(rate * min(step_s, max(0.0, until_s - self.at_s)) for rate, until_s in self.running)
            self.running = [pair for pair in self.running if pair[1] > self.at_s]
            for kind, limit in self.limits.items():
                spent = drained if kind == "output_tokens" else 0.0
                refilled = self.levels[kind] + step_s * limit / 60 * (1 - self.other) - spent
                self.levels[kind] = min(float(limit), refilled if self.owes else max(0.0, refilled))
            self.at_s += step_s

    def ask(self, ask: Ask, at_s: float, generation_s: float) -> tuple[bool, RateSnapshot]:
        self.advance(at_s)
        levels = self.levels
        admitted = levels["requests"] >= 1 and levels["input_tokens"] >= ask.counted and levels["output_tokens"] > 0
        if admitted:
            levels["requests"] -= 1
            levels["input_tokens"] -= ask.counted
            self.running.append([ask.output / generation_s, at_s + generation_s])
        said = {kind: reading(limit, levels[kind]) for kind, limit in self.limits.items() if kind != "requests"}
        return admitted, snapshot(requests=reading(self.limits["requests"], levels["requests"], grain=1), **said)


def drive(
    provider: Provider, asks: list[Ask], until_s: float, *, streams: bool, seed: int = 1
) -> tuple[Limits, list[tuple[float, Ask]], list[float]]:
    """Send as fast as the limits allow; (the limits, [(when, what) admitted], [when refused])."""
    limits, rnd = Limits(LimitSettings()), Random(seed)
    events: list[tuple[float, float, str, Any]] = []
    admitted: list[tuple[float, Ask]] = []
    refused: list[float] = []
    now_s, sent = 0.0, 0
    while now_s < until_s:
        ask = asks[sent % len(asks)]
        size = (max(ask.estimate, 4096.0), now_s, ask.estimate, 4096.0)
        go_s = now_s + limits.wait_s(*size)
        if events and events[0][0] < go_s:
            now_s, _, kind, (charge, done, sent_s, back) = heapq.heappop(events)
            if kind == "arrive":
                generation_s = 1.0 + 4.0 * rnd.random()
                ok, readings = provider.ask(done, now_s, generation_s)
                if ok:
                    admitted.append((now_s, done))
                    end_s = now_s + generation_s + 0.02
                    head_s = now_s + 0.3 if streams else end_s
                    heapq.heappush(events, (head_s, rnd.random(), "head", (charge, done, sent_s, readings)))
                    heapq.heappush(events, (end_s, 2.0, "end", (charge, done, sent_s, None)))
                else:
                    refused.append(now_s)
                    heapq.heappush(events, (now_s + 0.02, rnd.random(), "refused", (charge, done, sent_s, readings)))
            elif kind == "head":
                limits.observe(charge, back, sent_at_s=sent_s, now_s=now_s)
            elif kind == "refused":
                limits.refused(charge, back, REFUSED, now_s=now_s)
            else:
                total = int(done.counted + done.cached)
                usage = Usage(input_tokens=total, cached_tokens=int(done.cached), output_tokens=int(done.output))
                limits.ended(charge, usage, now_s)
            continue
        if go_s >= until_s:
            break
        now_s, sent = go_s, sent + 1
        charge = limits.charge(max(ask.estimate, 4096.0), now_s, ask.estimate, 4096.0)
        heapq.heappush(
            events, (now_s + 0.02 + 0.005 * rnd.random(), rnd.random(), "arrive", (charge, ask, now_s, None))
        )
    return limits, admitted, refused


def use(admitted: list[tuple[float, Ask]], from_s: float, to_s: float) -> tuple[float, float, float]:
    """Requests, counted input and output a minute."""
    span = [ask for at_s, ask in admitted if from_s <= at_s < to_s]
    per_min = 60 / (to_s - from_s)
    return len(span) * per_min, sum(a.counted for a in span) * per_min, sum(a.output for a in span) * per_min


INPUT_BOUND = [Ask(2000, 2200, 0, 50), Ask(500, 550, 0, 50), Ask(1000, 1100, 0, 20)]
CACHED = [Ask(10_000, 300, 9700, 60), Ask(10_000, 250, 9750, 60)]
OUTPUT_BOUND = [Ask(100, 100, 0, 900), Ask(100, 110, 0, 300), Ask(100, 90, 0, 1500)]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("limits", "asks", "bound"),
    [
        ((1000, 80_000, 16_000), INPUT_BOUND, 1),
        ((2000, 160_000, 32_000), INPUT_BOUND, 1),
        ((1000, 80_000, 16_000), CACHED, 2),
        ((4000, 80_000, 400_000), CACHED, 1),
        ((1000, 80_000, 16_000), OUTPUT_BOUND, 2),
        ((4000, 400_000, 80_000), OUTPUT_BOUND, 2),
        ((120, 400_000, 80_000), CACHED, 0),
    ],
    ids=[
        "input",
        "input, larger",
        "cached, output binds",
        "cached, input binds",
        "output",
        "output, larger",
        "requests",
    ],
)
def test_the_bucket_that_binds_is_used(
    limits: tuple[int, int, int], asks: list[Ask], bound: int, *, streams: bool
) -> None:
    """Nothing configured: >= 95 % of the limit that binds is used once the first burst is over, and none is refused."""
    _, admitted, refused = drive(Provider(*limits), asks, 300.0, streams=streams)
    assert 0.95 <= use(admitted, 190, 290)[bound] / limits[bound] <= 1.05
    assert len(refused) <= 40
    assert not [at_s for at_s in refused if at_s >= 20]


def test_output_that_is_owed_is_paid_off() -> None:
    """A first burst that ran into debt: few ask in vain until it is paid, and then the limit is used."""
    _, admitted, refused = drive(Provider(4000, 400_000, 80_000, owes=True), OUTPUT_BOUND, 300.0, streams=False)
    assert 0.95 <= use(admitted, 120, 290)[2] / 80_000 <= 1.05
    assert len(refused) <= 20


@pytest.mark.parametrize("streams", [True, False])
def test_a_second_client_on_the_quota_is_made_room_for(*, streams: bool) -> None:
    """Half the refill is somebody else's: >= 90 % of the rest is used, and few are refused."""
    limits = (1000, 80_000, 16_000)
    _, admitted, refused = drive(Provider(*limits, other=0.5), INPUT_BOUND, 400.0, streams=streams)
    assert use(admitted, 150, 390)[1] / limits[1] >= 0.45
    assert sum(at_s >= 60 for at_s in refused) <= 0.02 * len(admitted)


def test_what_requests_take_is_learned() -> None:
    """The counted part of the input and the usual output, from what answers took."""
    limits, *_ = drive(Provider(4000, 80_000, 400_000), CACHED, 60.0, streams=True)
    assert 0.02 <= limits.input_ratio <= 0.04
    assert limits.output_mean == pytest.approx(60.0)


def test_nothing_said_apart_costs_nothing() -> None:
    """Where no provider counts apart, sizes given for it change no wait."""
    one, other = Limits(LimitSettings(tokens_per_min=60_000)), Limits(LimitSettings(tokens_per_min=60_000))
    for step in range(50):
        now_s = step / 10
        assert one.wait_s(900, now_s) == other.wait_s(900, now_s, 800, inf)
        one.charge(900, now_s)
        other.charge(900, now_s, 800, inf)


def test_output_that_did_not_come_is_given_back_once() -> None:
    """A charge of what is usual, less what came; ending twice, or after a refund, gives nothing more."""
    limits = Limits(LimitSettings())
    limits.observe(limits.charge(1, 0.0), snapshot(output_tokens=reading(60_000, 60_000)), sent_at_s=0.0, now_s=0.0)
    level = limits.output_tokens.level
    charge = limits.charge(1, 0.0, 10, inf)
    assert limits.output_tokens.level == level - OUTPUT_TOKENS_ASSUMED
    usage = Usage(input_tokens=10, output_tokens=100)
    for _ in range(2):
        limits.ended(charge, usage, 0.0)
        assert limits.output_tokens.level == level - 100
    refunded = limits.charge(1, 0.0, 10, inf)
    limits.refund(refunded, 0.0)
    limits.ended(refunded, usage, 0.0)
    assert limits.output_tokens.level == level - 100


def test_an_estimate_teaches_nothing() -> None:
    """What was estimated, or is unknown, is no evidence of what requests take."""
    limits = Limits(LimitSettings())
    limits.ended(limits.charge(1, 0.0, 10, inf), Usage(input_tokens=1000, output_tokens=9, estimated=True), 0.0)
    limits.ended(limits.charge(1, 0.0, 10, inf), None, 0.0)
    assert (limits.input_ratio, limits.output_mean) == (1.0, None)


def test_rounding_is_no_news() -> None:
    """A reading that agrees within half its grain corrects nothing; one beyond it does, at once."""
    limits = Limits(LimitSettings())
    first = limits.charge(1, 0.0, 400, 0.0)
    limits.observe(first, snapshot(input_tokens=reading(30_000, 29_600)), sent_at_s=0.0, now_s=0.0)
    level = limits.input_tokens.level
    second = limits.charge(1, 0.0, 300, 0.0)
    limits.observe(second, snapshot(input_tokens=reading(30_000, 29_700)), sent_at_s=0.0, now_s=0.0)
    assert limits.input_tokens.level == level - 300
    third = limits.charge(1, 0.0, 100, 0.0)
    limits.observe(third, snapshot(input_tokens=reading(30_000, 20_000)), sent_at_s=0.0, now_s=0.0)
    assert 20_000 <= limits.input_tokens.level <= 20_500


def test_a_refusal_that_the_headers_explain_does_not_steer() -> None:
    """No input left: that bucket is empty, the others keep theirs, and the rate is the bucket's business."""
    limits = Limits(LimitSettings())
    said = {"requests": reading(1000, 990, grain=1), "output_tokens": reading(16_000, 16_000)}
    limits.observe(
        limits.charge(1, 0.0), snapshot(input_tokens=reading(60_000, 60_000), **said), sent_at_s=0.0, now_s=0.0
    )
    output = limits.output_tokens.level
    charge = limits.charge(1, 1.0, 5000, 500)
    limits.refused(charge, snapshot(input_tokens=reading(60_000, 1000), **said), REFUSED, now_s=1.0)
    assert limits.ramp.state == "off"
    assert limits.input_tokens.level == pytest.approx(1000)
    assert limits.output_tokens.level == output
    assert limits.wait_s(1, 1.0, 5000, 500) > 4


def test_a_refusal_of_growth_steers() -> None:
    """Room everywhere by the headers: usage grew too fast, so the rate goes down and no bucket is touched."""
    limits = Limits(LimitSettings())
    said = snapshot(input_tokens=reading(60_000, 60_000), output_tokens=reading(16_000, 16_000))
    limits.observe(limits.charge(1, 0.0), said, sent_at_s=0.0, now_s=0.0)
    limits.refused(limits.charge(1, 1.0, 500, 500), said, REFUSED, now_s=1.0)
    assert limits.ramp.state == "steered"
    assert (limits.input_tokens.capacity, limits.input_tokens.share) == (60_000, 1.0)
