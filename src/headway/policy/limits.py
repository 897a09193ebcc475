"""One quota's limits together: requests, tokens, and the ramp while nobody knows; atomic admission, learned charges.

A quota scope is what the provider really limits: a credential at an upstream, for one model. Configured numbers are a
start; what headers and 429 texts say replaces them. Tokens are one bucket, charged beforehand with what a request may
take; or two, where a provider counts input (what its cache held is free) and output (as it comes) apart. What is
charged to those two is what the answers took on average. Source: the recipe at the end of FACTS section 2; Anthropic,
"Rate limits".
"""

from __future__ import annotations

from math import inf

import msgspec

from headway.policy.bucket import Bucket
from headway.policy.ramp import Ramp
from headway.policy.readings import Charge, Reading, Readings
from headway.policy.resync import observe, resync
from headway.types import ErrorView, Usage

__all__ = ["Charge", "LimitSettings", "Limits", "Reading", "Readings"]

OVERLOAD_SHARE = 0.3
"""Share of recent answers that are overloads from which the send rate is steered down."""
OUTPUT_TOKENS_ASSUMED = 500.0
"""Charged to an output bucket before any answer has shown how many there are; a guess."""
DOUBLE_S, DEAF_DOUBLE_S = 0.35, 0.6
"""How long the ramp takes to double, and how long before any answer has come: where refusals are slow to come back (a
busy machine, a slow network) silence says less."""
HEADROOM_S = 1.5
"""Left at first in buckets whose readings are exact. Where they are rounded to thousands, all headroom is needed."""
_UNTOLD = ErrorView(outcome="throttled")


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beforehand; None means: learn it.

    `capacity_s` is how many seconds of refill the provider lets a client save up: 60 for a whole minute's worth.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    capacity_s: float | None = None
    headroom_ratio: float = 0.1
    paced: bool = True
    """False: nothing waits, whatever is known; refusals come back to the caller."""


class Limits:
    """What may be sent in one quota scope, and when."""

    __slots__ = (
        "_count",
        "_count_at_s",
        "_deaf",
        "_due",
        "_last",
        "_overload_share",
        "_sent_per_s",
        "_seq",
        "charge_ratio",
        "input_ratio",
        "input_tokens",
        "led",
        "output_mean",
        "output_tokens",
        "paced",
        "ramp",
        "refusals",
        "requests",
        "scope",
        "settings",
        "tokens",
    )

    def __init__(self, settings: LimitSettings, ramp: Ramp | None = None, *, scope: str = "") -> None:
        self.scope = scope
        """What these limits are called where processes share them."""
        self.settings = settings
        self.led = False
        """Whether a bucket that processes share decides about requests and tokens at present; see `shared_pace`."""
        self.paced = settings.paced
        self.requests = _bucket(settings.requests_per_min, settings)
        self.tokens = _bucket(settings.tokens_per_min, settings)
        self.input_tokens = _bucket(None, settings, inf)
        self.output_tokens = _bucket(None, settings, inf)
        self.ramp = ramp or Ramp(double_s=DEAF_DOUBLE_S)
        self._deaf = ramp is None
        self.charge_ratio = 1.0
        """Tokens the provider charges for one that we estimate; learned."""
        self.input_ratio = 1.0
        """Input tokens that were counted for one that we estimate, cache reads left out; learned."""
        self.output_mean: float | None = None
        """Output tokens of an answer; learned."""
        self.refusals = 0
        self._due = 0.0  # output that is charged, and that the provider has yet to see come
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

    @property
    def apart(self) -> bool:
        """Whether this provider counts input and output apart, as far as it has said."""
        return self.input_tokens.limit is not None or self.output_tokens.limit is not None

    def wait_s(
        self, tokens_estimate: float, now_s: float, input_tokens: float = 0.0, output_tokens_max: float = 0.0
    ) -> float:
        """Seconds until a request of that size may go; 0.0 for now. Arguments as in `charge`."""
        if not self.paced:
            return 0.0
        wait_s = self.ramp.wait_s(now_s)
        if self.requests.limit is not None and not self.led:
            wait_s = max(wait_s, self.requests.wait_s(1.0, now_s))
        if self.tokens.limit is not None and not self.led:
            wait_s = max(wait_s, self.tokens.wait_s(tokens_estimate * self.charge_ratio, now_s))
        if self.apart:
            wait_s = max(wait_s, self.input_tokens.wait_s(input_tokens * self.input_ratio, now_s))
            wait_s = max(wait_s, self.output_tokens.wait_s(self._output(output_tokens_max), now_s))
        return wait_s

    def backlog_s(self, requests: float, tokens_estimate: float, now_s: float) -> float:
        """Seconds until that much could have gone; unlike `wait_s`, for more than fits into a bucket at once."""
        wait_s = requests / self.ramp.rate_per_s if self.ramp.state == "steered" else 0.0
        for bucket, cost in ((self.requests, requests), (self.tokens, tokens_estimate * self.charge_ratio)):
            wait_s = max(wait_s, bucket.backlog_s(cost, now_s))
        return wait_s

    def refill_s(self, tokens: float) -> float:
        """Seconds in which one request of so many charged tokens comes back; 0.0 where nothing is known."""
        return max(1.0 / self.requests.refill_per_s, tokens / self.tokens.refill_per_s)

    def charge(
        self, tokens_estimate: float, now_s: float, input_tokens: float = 0.0, output_tokens_max: float = 0.0
    ) -> Charge:
        """Spend one request and its tokens, all at once.

        Args:
            tokens_estimate: What one bucket of all tokens is charged.
            now_s: The time now.
            input_tokens: An estimate of the prompt alone, for providers that count input and output apart.
            output_tokens_max: What the answer may have at most; `inf` for no bound.
        """
        tokens = tokens_estimate * self.charge_ratio
        request_mark = self.requests.charge(1.0, now_s)
        token_mark = self.tokens.charge(tokens, now_s)
        self.ramp.charge(now_s)
        self._seq += 1
        self._count += 1
        if now_s - self._count_at_s >= 1.0:
            self._sent_per_s = self._count / (now_s - self._count_at_s) if self._count_at_s else float(self._count)
            self._count, self._count_at_s = 0, now_s
        charge = Charge(tokens_estimate, tokens, request_mark, token_mark, self._seq)
        charge.input_estimate, charge.input_tokens = input_tokens, input_tokens * self.input_ratio
        charge.output_tokens = self._output(output_tokens_max)
        charge.input_mark = self.input_tokens.charge(charge.input_tokens, now_s)
        charge.output_mark = self.output_tokens.charge(charge.output_tokens, now_s)
        self._due += charge.output_tokens
        return charge

    def refund(self, charge: Charge, now_s: float) -> None:
        """The request was never sent: give everything back."""
        self._end(charge)
        self.requests.refund(1.0, now_s)
        self.tokens.refund(charge.tokens, now_s)
        self.input_tokens.refund(charge.input_tokens, now_s)
        self.output_tokens.refund(charge.output_tokens, now_s)
        self.ramp.refund(now_s)

    def ended(self, charge: Charge, usage: Usage | None, now_s: float) -> None:
        """Learn from an attempt that is over what requests take, where input and output are counted apart.

        What was charged and not used is given back. More than was charged is left to the readings, which show it.

        Args:
            charge: Of the attempt. Ending it twice, or after its refund, does nothing.
            usage: What it took; None if nobody knows.
            now_s: The time now.
        """
        if not self._end(charge) or usage is None or usage.estimated:
            return
        counted = float(max(0, usage.input_tokens - usage.cached_tokens))
        if charge.input_estimate > 0:
            self.input_ratio += 0.1 * (min(20.0, counted / charge.input_estimate) - self.input_ratio)
        mean, output = self.output_mean, float(usage.output_tokens)
        self.output_mean = output if mean is None else mean + 0.1 * (output - mean)
        for bucket, charged, used in (
            (self.input_tokens, charge.input_tokens, counted),
            (self.output_tokens, charge.output_tokens, output),
        ):
            if used < charged:
                bucket.refund(charged - used, now_s)

    def _end(self, charge: Charge) -> bool:
        """Whether it has just ended."""
        if charge.ended:
            return False
        charge.ended = True
        self._due -= charge.output_tokens
        return True

    def _output(self, tokens_max: float) -> float:
        mean = self.output_mean
        return min(tokens_max, OUTPUT_TOKENS_ASSUMED if mean is None else mean)

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
        if self._deaf:
            self._deaf, self.ramp.double_s = False, DOUBLE_S
        elapsed_s = max(0.0, now_s - sent_at_s)
        processing_s = readings.provider_processing_s
        age_s = elapsed_s if processing_s is None else min(processing_s, elapsed_s)
        if readings.tokens.remaining is not None:
            self._learn_charge(charge, float(readings.tokens.remaining), now_s - age_s)
        observe(self.requests, charge.request_mark, readings.requests, age_s, now_s)
        observe(self.tokens, charge.token_mark, readings.tokens, age_s, now_s)
        if readings.input_tokens is readings.output_tokens:
            return  # neither: most providers have one bucket for both
        observe(self.input_tokens, charge.input_mark, readings.input_tokens, age_s, now_s)
        # What is still to come of all answers under way is charged here, and not yet there.
        observe(self.output_tokens, charge.output_mark, readings.output_tokens, age_s, now_s, less=max(0.0, self._due))

    def refused(self, charge: Charge, readings: Readings | None, error: ErrorView, *, now_s: float) -> None:
        """Learn from a 429. It resyncs the bucket it names (both when it names none) and pauses nothing else."""
        self.refusals += 1
        explained = False
        if error.requested and error.limit_kind == "tokens" and charge.estimate > 0:
            self.charge_ratio = _clamp(error.requested / charge.estimate)
        self._end(charge)
        for kind, bucket, cost, mark in (
            ("requests", self.requests, 1.0, charge.request_mark),
            ("tokens", self.tokens, charge.tokens, charge.token_mark),
            ("input_tokens", self.input_tokens, charge.input_tokens, charge.input_mark),
            ("output_tokens", self.output_tokens, charge.output_tokens, charge.output_mark),
        ):
            reading: Reading | None = getattr(readings, kind) if readings is not None else None
            if reading is not None and reading.limit is not None:
                bucket.observe(mark, reading.limit, None, None, age_s=0.0, now_s=now_s, window_s=reading.window_s)
            apart = kind in ("input_tokens", "output_tokens")
            if error.limit_kind not in ("", "tokens" if apart else kind):
                bucket.refund(cost, now_s)  # not the one that refused; but nothing was spent on it either
            elif resync(bucket, mark, cost, reading, _UNTOLD if apart else error, now_s):
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


def _bucket(per_min: float | None, settings: LimitSettings, headroom_s: float = HEADROOM_S) -> Bucket:
    capacity = per_min * settings.capacity_s / 60.0 if per_min and settings.capacity_s else None
    return Bucket(per_min, capacity=capacity, headroom_ratio=settings.headroom_ratio, headroom_s=headroom_s)


def _clamp(ratio: float) -> float:
    return min(20.0, max(0.05, ratio))
