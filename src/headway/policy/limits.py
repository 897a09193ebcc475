"""One quota's limits together: requests, tokens, and the ramp while nobody knows; atomic admission, learned charges.

A quota scope is what the provider really limits: a credential at an upstream, for one model. Configured numbers are a
start; what headers and 429 texts say replaces them. Source: the recipe at the end of FACTS section 2.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from headway.policy.bucket import Bucket, Mark
from headway.policy.ramp import Ramp
from headway.types import ErrorView

__all__ = ["Charge", "LimitSettings", "Limits", "Reading", "Readings"]

OVERLOAD_SHARE = 0.3
"""Share of recent answers that are overloads from which the send rate is steered down."""


class Reading(Protocol):
    """One dimension as an answer's headers give it; `reset_s` is the time to full."""

    @property
    def limit(self) -> int | None: ...
    @property
    def remaining(self) -> int | None: ...
    @property
    def reset_s(self) -> float | None: ...


class Readings(Protocol):
    """Both dimensions, and how long the provider says it worked on the request."""

    @property
    def requests(self) -> Reading: ...
    @property
    def tokens(self) -> Reading: ...
    @property
    def retry_after_s(self) -> float | None: ...
    @property
    def provider_processing_s(self) -> float | None: ...


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beforehand; None means: learn it.

    `capacity_s` is how many seconds of refill the provider lets a client save up: 60 for a whole minute's worth.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    capacity_s: float | None = None
    headroom_ratio: float = 0.1


class Charge:
    """What one attempt was charged; needed to refund it and to place its answer's readings in time."""

    __slots__ = ("estimate", "request_mark", "seq", "token_mark", "tokens")

    def __init__(self, estimate: float, tokens: float, request_mark: Mark, token_mark: Mark, seq: int) -> None:
        self.estimate = estimate
        self.tokens = tokens
        self.request_mark = request_mark
        self.token_mark = token_mark
        self.seq = seq


class Limits:
    """What may be sent in one quota scope, and when."""

    __slots__ = (
        "_count",
        "_count_at_s",
        "_last",
        "_overload_share",
        "_sent_per_s",
        "_seq",
        "charge_ratio",
        "ramp",
        "refusals",
        "requests",
        "tokens",
    )

    def __init__(self, settings: LimitSettings, ramp: Ramp | None = None) -> None:
        self.requests = _bucket(settings.requests_per_min, settings)
        self.tokens = _bucket(settings.tokens_per_min, settings)
        self.ramp = ramp or Ramp()
        self.charge_ratio = 1.0
        """Tokens the provider charges for one that we estimate; learned."""
        self.refusals = 0
        self._overload_share = 0.0
        self._seq = 0
        self._last: tuple[int, float, float] | None = None  # seq, tokens remaining, when the provider read it
        self._sent_per_s = 0.0
        self._count = 0
        self._count_at_s = 0.0

    @property
    def requests_per_min(self) -> float | None:
        """The allowed rate as far as it is known."""
        limit = self.requests.limit
        return None if limit is None else limit * 60.0 / self.requests.window_s

    def wait_s(self, tokens_estimate: float, now_s: float) -> float:
        """Seconds until a request of that size may go; 0.0 for now."""
        wait_s = self.ramp.wait_s(now_s)
        if self.requests.limit is not None:
            wait_s = max(wait_s, self.requests.wait_s(1.0, now_s))
        if self.tokens.limit is not None:
            wait_s = max(wait_s, self.tokens.wait_s(tokens_estimate * self.charge_ratio, now_s))
        return wait_s

    def charge(self, tokens_estimate: float, now_s: float) -> Charge:
        """Spend one request and its tokens, both at once."""
        tokens = tokens_estimate * self.charge_ratio
        request_mark = self.requests.charge(1.0, now_s)
        token_mark = self.tokens.charge(tokens, now_s)
        self.ramp.charge(now_s)
        self._seq += 1
        self._count += 1
        if now_s - self._count_at_s >= 1.0:
            self._sent_per_s = self._count / (now_s - self._count_at_s) if self._count_at_s else float(self._count)
            self._count, self._count_at_s = 0, now_s
        return Charge(tokens_estimate, tokens, request_mark, token_mark, self._seq)

    def refund(self, charge: Charge, now_s: float) -> None:
        """The request was never sent: give everything back."""
        self.requests.refund(1.0, now_s)
        self.tokens.refund(charge.tokens, now_s)
        self.ramp.refund(now_s)

    def overloaded(self, now_s: float) -> None:
        """Learn from a 503 or 529: the provider as a whole is short of room, whatever our limits say.

        A few of them are chance, and retried; steering begins where they are a large share of the answers.
        """
        self._overload_share += 0.05 * (1.0 - self._overload_share)
        if self._overload_share >= OVERLOAD_SHARE:
            self._steer(now_s)

    def observe(self, charge: Charge, readings: Readings, *, sent_at_s: float, now_s: float) -> None:
        """Learn from an answer that was admitted, when its headers arrive."""
        self._overload_share *= 0.95
        elapsed_s = max(0.0, now_s - sent_at_s)
        processing_s = readings.provider_processing_s
        age_s = elapsed_s if processing_s is None else min(processing_s, elapsed_s)
        reading = readings.requests
        if reading.limit is not None or reading.remaining is not None:
            self.requests.observe(
                charge.request_mark,
                reading.limit,
                reading.remaining,
                reading.reset_s,
                age_s=age_s,
                now_s=now_s,
            )
        reading = readings.tokens
        if reading.limit is not None or reading.remaining is not None:
            if reading.remaining is not None:
                self._learn_charge(charge, float(reading.remaining), now_s - age_s)
            self.tokens.observe(
                charge.token_mark, reading.limit, reading.remaining, reading.reset_s, age_s=age_s, now_s=now_s
            )

    def refused(self, charge: Charge, readings: Readings | None, error: ErrorView, *, now_s: float) -> None:
        """Learn from a 429. It resyncs the bucket it names (both when it names none) and pauses nothing else."""
        self.refusals += 1
        explained = False
        if error.requested and error.limit_kind == "tokens" and charge.estimate > 0:
            self.charge_ratio = _clamp(error.requested / charge.estimate)
        for kind, bucket, cost, mark in (
            ("requests", self.requests, 1.0, charge.request_mark),
            ("tokens", self.tokens, charge.tokens, charge.token_mark),
        ):
            reading: Reading | None = getattr(readings, kind) if readings is not None else None
            if reading is not None and reading.limit is not None:
                bucket.observe(mark, reading.limit, None, None, age_s=0.0, now_s=now_s)
            if error.limit_kind not in ("", kind):
                bucket.refund(cost, now_s)  # not the one that refused; but nothing was spent on it either
            elif _resync(bucket, mark, cost, reading, error, now_s):
                explained = True
        if explained:
            self.ramp.settle()
        else:
            self._steer(now_s)

    def _steer(self, now_s: float) -> None:
        self.ramp.refused(now_s, sent_per_s=max(self._sent_per_s, float(self._count)))

    def _learn_charge(self, charge: Charge, remaining: float, read_at_s: float) -> None:
        """Difference two readings between which exactly one charge lies: that is what the provider charged for it."""
        last, self._last = self._last, (charge.seq, remaining, read_at_s)
        limit = self.tokens.limit
        if last is None or charge.seq != last[0] + 1 or limit is None or charge.estimate <= 0:
            return
        refilled = self.tokens.refill_per_s * (read_at_s - last[2])
        if last[1] + refilled >= limit or abs(refilled) > 0.25 * charge.tokens:
            return  # it ran full in between, or the clock's jitter and a shared refill would weigh too much
        ratio = (last[1] + refilled - remaining) / charge.estimate
        # Somebody else's request in between, or one of ours that overtook, only adds: what is far above is not ours.
        # What is far below is believed, in small steps; left out, a ratio gone wrong could never come back.
        if 0.0 < ratio <= 2.0 * self.charge_ratio:
            ratio = max(ratio, 0.5 * self.charge_ratio)
            self.charge_ratio = _clamp(0.9 * self.charge_ratio + 0.1 * ratio)


def _bucket(per_min: float | None, settings: LimitSettings) -> Bucket:
    capacity = per_min * settings.capacity_s / 60.0 if per_min and settings.capacity_s else None
    return Bucket(per_min, capacity=capacity, headroom_ratio=settings.headroom_ratio)


def _resync(bucket: Bucket, mark: Mark, cost: float, reading: Reading | None, error: ErrorView, now_s: float) -> bool:
    """Set one bucket by a 429 that may be its own; return whether the refusal's numbers explain it.

    Numbers that explain nothing (headers that claim room, another bucket's text) show no capacity either: whatever
    refused is not this bucket, and the request is given back to it.
    """
    if error.limit and not (bucket.learned and (reading is None or reading.limit is not None)):
        bucket.observe(mark, error.limit, None, None, age_s=0.0, now_s=now_s, window_s=error.limit_window_s)
    if bucket.limit is None:
        return False
    asked = float(error.requested) if error.requested else cost
    remaining = None if reading is None else reading.remaining
    if error.limit is not None and error.used is not None and abs(error.limit - bucket.limit) <= 0.02 * bucket.limit:
        level = float(error.limit - error.used)
    elif remaining is not None and remaining - bucket.hidden < asked:
        level = remaining - bucket.hidden
    else:
        bucket.refund(cost, now_s)
        return False
    bucket.refused(mark, asked, level=level, remaining=remaining, now_s=now_s)
    return True


def _clamp(ratio: float) -> float:
    return min(20.0, max(0.05, ratio))
