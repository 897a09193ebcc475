"""Anthropic's limits: requests, input tokens and output tokens a minute, each a continuous bucket.

Input that is read from the prompt cache is free. Output is charged as what it comes to, never as `max_tokens`, so that
its bucket may run into debt; a request is admitted while it is not in debt. Nobody sets the output limit apart: it is
a fifth of the input limit, as in the provider's published tiers. Resets are RFC 3339 times at which a bucket is full,
remaining tokens are told in thousands, and `retry-after` is accurate. Source: Anthropic, "Rate limits".
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Final

import msgspec

from headway.sim.limits import Bucket, Kind, Refusal
from headway.sim.text import Memo
from headway.types import Headers

__all__ = ["AnthropicLimits"]

_OUTPUT_SHARE: Final = 5
_BUCKETS_MAX: Final = 10_000


class _Buckets(msgspec.Struct):
    requests: Bucket | None
    input: Bucket | None
    output: Bucket | None


class AnthropicLimits:
    """The buckets of every credential and model; the 10,000 used last are kept. Arguments are as for `Limits`."""

    def __init__(self, *, rpm: int | None, tpm: int | None, capacity_s: float = 60.0, start_full: bool = True) -> None:
        self._rpm, self._tpm = rpm, tpm
        self._capacity_s = capacity_s
        self._full = start_full
        self._held: Memo[tuple[str, str], _Buckets] = Memo(_BUCKETS_MAX)

    def admit(
        self, credential: str, model: str, family: str, tokens: int, now_s: float, organisation: str = "org-sim"
    ) -> Refusal | None:
        """Charge one request and `tokens` of uncached input, both or neither."""
        held = self._buckets(credential, family, now_s)
        asked: tuple[tuple[Kind, str, Bucket | None, int], ...] = (
            ("requests", "requests", held.requests, 1),
            ("tokens", "input tokens", held.input, tokens),
            ("tokens", "output tokens", held.output, 0),
        )
        for kind, name, bucket, amount in asked:
            if bucket is not None and amount > bucket.level(now_s) + 1e-6:
                return _refusal(kind, name, bucket, amount, model, now_s, organisation)
        if held.requests is not None:
            held.requests.take(1)
        if held.input is not None:
            held.input.take(tokens)
        return None

    def spend(self, credential: str, family: str, output_tokens: int, now_s: float) -> None:
        """Charge what an answer comes to."""
        bucket = self._buckets(credential, family, now_s).output
        if bucket is not None:
            bucket.level(now_s)
            bucket.take(output_tokens)

    def headers(self, credential: str, family: str, now_s: float, wall_s: float) -> Headers:
        """The `anthropic-ratelimit-*` headers; `tokens` is the sum of input and output."""
        held = self._buckets(credential, family, now_s)
        found: list[tuple[str, str]] = []
        if held.requests is not None:
            found += _lines(
                "requests", held.requests.limit, _left(held.requests, now_s), _full_s(held.requests, now_s), wall_s
            )
        if held.input is not None and held.output is not None:
            both = held.input, held.output
            rows = [(b.limit, _left(b, now_s), _full_s(b, now_s)) for b in both]
            total = rows[0][0] + rows[1][0], rows[0][1] + rows[1][1], max(rows[0][2], rows[1][2])
            for name, (limit, left, full_s) in zip(
                ("tokens", "input-tokens", "output-tokens"), (total, *rows), strict=True
            ):
                found += _lines(name, limit, round(left, -3), full_s, wall_s)
        return tuple(found)

    def _buckets(self, credential: str, family: str, now_s: float) -> _Buckets:
        key = (credential, family)
        if found := self._held.get(key):
            return found
        output = None if self._tpm is None else max(1, self._tpm // _OUTPUT_SHARE)
        made = [self._bucket(limit, now_s) for limit in (self._rpm, self._tpm, output)]
        return self._held.put(key, _Buckets(*made))

    def _bucket(self, limit: int | None, now_s: float) -> Bucket | None:
        return None if limit is None else Bucket(limit, self._capacity_s, now_s, full=self._full)


def _left(bucket: Bucket, now_s: float) -> int:
    return bucket.remaining(now_s)


def _full_s(bucket: Bucket, now_s: float) -> float:
    return (bucket.capacity - bucket.level(now_s)) / bucket.refill


def _lines(name: str, limit: int, left: int, full_s: float, wall_s: float) -> list[tuple[str, str]]:
    reset = datetime.fromtimestamp(ceil(wall_s + full_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = ("limit", str(limit)), ("remaining", str(left)), ("reset", reset)
    return [(f"anthropic-ratelimit-{name}-{which}", value) for which, value in values]


def _refusal(
    kind: Kind, name: str, bucket: Bucket, amount: int, model: str, now_s: float, organisation: str
) -> Refusal:  # fmt: skip
    text = (
        f"This request would exceed your organization's rate limit of {bucket.limit:,} {name} per minute (org:"
        f" {organisation}, model: {model}). For details, refer to: https://docs.claude.com/en/api/rate-limits. You can"
        " see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested,"
        " or try again later."
    )
    if amount > bucket.capacity:
        return Refusal(kind=kind, message=text, wait_ms=None)
    short = max(amount, 1) - bucket.level(now_s)
    return Refusal(kind=kind, message=text, wait_ms=max(1, ceil(short / bucket.refill * 1_000 - 1e-6)))
