"""Rate limits as providers enforce them: continuous token buckets, their headers and their 429 texts.

A bucket holds `capacity_s` seconds of refill, `limit * capacity_s / 60`, and refills at `limit / 60` a second. A
request is admitted when both its request and its tokens fit, and then charged for both at once; refused ones are
charged nothing. Requests that fail after admission stay charged.

The headers always speak of the per-minute limit: `remaining = floor(limit - (capacity - level))`, so that the time
to full, `reset = (limit - remaining) / limit * 60 s`, is right for every capacity. With one second of capacity they
report plenty while the slice is empty, which is the trap the field has. The 429 text reads the slice itself:
`Used = limit - level`, and the wait is `(Used + Requested - Limit) / refill`, exactly.
"""

from __future__ import annotations

from math import floor
from typing import Literal, TypeAlias

import msgspec

from headway.sim.text import Memo
from headway.types import Headers

__all__ = ["Bucket", "Kind", "Limits", "Refusal", "charge_tokens", "duration"]

Kind: TypeAlias = Literal["requests", "tokens"]
_UNIT = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}
_BUCKETS_MAX = 10_000


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not admitted. `wait_ms` is None when it can never be, being larger than the bucket."""

    kind: Kind
    message: str
    wait_ms: int | None


class Bucket:
    """One continuous bucket. `now_s` must not run backwards; when it does, no time has passed.

    Args:
        limit: Per minute.
        capacity_s: Seconds of refill it holds, 1 to 60.
        now_s: The time it starts at.
        full: Whether it starts full or empty.
    """

    __slots__ = ("_at_s", "_level", "capacity", "limit", "refill")

    def __init__(self, limit: int, capacity_s: float, now_s: float, *, full: bool = True) -> None:
        self.limit = limit
        self.refill = limit / 60
        self.capacity = max(1.0, self.refill * capacity_s)
        self._level = self.capacity if full else 0.0
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """What could be taken now."""
        if now_s > self._at_s:
            self._level = min(self.capacity, self._level + (now_s - self._at_s) * self.refill)
            self._at_s = now_s
        return self._level

    def take(self, amount: int) -> None:
        """Take what `level` said was there."""
        self._level -= amount

    def remaining(self, now_s: float) -> int:
        """What the header says: whole units of the per-minute limit."""
        return max(0, floor(self.limit - (self.capacity - self.level(now_s)) + 1e-6))

    def reset_ms(self, now_s: float) -> int:
        """Milliseconds to full by the header's own figures, rounded up."""
        return -(-(self.limit - self.remaining(now_s)) * 60_000 // self.limit)

    def used(self, now_s: float) -> int:
        """What a 429 says was used: the limit less the whole units that are left in the slice."""
        return self.limit - floor(self.level(now_s) + 1e-6)

    def wait_ms(self, requested: int, now_s: float) -> int:
        """Milliseconds until `requested` fits, rounded up; never below 1."""
        return max(1, -(-(self.used(now_s) + requested - self.limit) * 60_000 // self.limit))


class _Pair(msgspec.Struct):
    requests: Bucket | None
    tokens: Bucket | None


class Limits:
    """The buckets of every credential and model; the 10,000 used last are kept."""

    def __init__(self, *, rpm: int | None, tpm: int | None, capacity_s: float = 60.0, start_full: bool = True) -> None:
        self._rpm, self._tpm = rpm, tpm
        self._capacity_s = capacity_s
        self._full = start_full
        self._pairs: Memo[tuple[str, str], _Pair] = Memo(_BUCKETS_MAX)

    def admit(
        self, credential: str, model: str, family: str, tokens: int, now_s: float, organisation: str = "org-sim"
    ) -> Refusal | None:
        """Charge one request and `tokens`, both or neither; the refusal says which did not fit."""
        pair = self._pair(credential, family, now_s)
        for kind, bucket, amount in (("requests", pair.requests, 1), ("tokens", pair.tokens, tokens)):
            if bucket is not None and amount > bucket.level(now_s) + 1e-6:
                return _refusal(
                    "requests" if kind == "requests" else "tokens", bucket, amount, model, now_s, organisation
                )
        if pair.requests is not None:
            pair.requests.take(1)
        if pair.tokens is not None:
            pair.tokens.take(tokens)
        return None

    def headers(self, credential: str, family: str, now_s: float, wall_s: float = 0.0) -> Headers:
        """The six `x-ratelimit-*` headers, or three where only one limit is set; no calendar time is in them."""
        pair = self._pair(credential, family, now_s)
        found: list[tuple[str, str]] = []
        for kind, bucket in (("requests", pair.requests), ("tokens", pair.tokens)):
            if bucket is not None:
                found += (
                    (f"x-ratelimit-limit-{kind}", str(bucket.limit)),
                    (f"x-ratelimit-remaining-{kind}", str(bucket.remaining(now_s))),
                    (f"x-ratelimit-reset-{kind}", duration(bucket.reset_ms(now_s))),
                )
        return tuple(found)

    def _pair(self, credential: str, family: str, now_s: float) -> _Pair:
        key = (credential, family)
        if found := self._pairs.get(key):
            return found
        return self._pairs.put(key, _Pair(self._bucket(self._rpm, now_s), self._bucket(self._tpm, now_s)))

    def _bucket(self, limit: int | None, now_s: float) -> Bucket | None:
        return None if limit is None else Bucket(limit, self._capacity_s, now_s, full=self._full)


def _refusal(
    kind: Kind, bucket: Bucket, requested: int, model: str, now_s: float, organisation: str
) -> Refusal:  # fmt: skip
    where = f"for {model} in organization {organisation} on {_UNIT[kind]}"
    if requested > bucket.capacity + 1e-6:
        text = (
            f"Request too large {where}: Limit {floor(bucket.capacity)}, Requested {requested}. The input or output"
            " tokens must be reduced in order to run successfully."
        )
        return Refusal(kind=kind, message=text, wait_ms=None)
    wait_ms = bucket.wait_ms(requested, now_s)
    text = (
        f"Rate limit reached {where}: Limit {bucket.limit}, Used {bucket.used(now_s)}, Requested {requested}."
        f" Please try again in {duration(wait_ms)}. Visit https://platform.openai.com/account/rate-limits to learn"
        " more."
    )
    return Refusal(kind=kind, message=text, wait_ms=wait_ms)


def charge_tokens(chars: int, output_tokens_max: int | None) -> int:
    """What a request is charged before it runs: the larger of its token bound and a quarter of its characters.

    It is not corrected afterwards, and cached tokens count too. Source: OpenAI, "Rate limits".
    """
    return max(output_tokens_max or 0, -(-chars // 4), 1)


def duration(ms: int) -> str:
    """Milliseconds as the headers write them: "12ms", "1.5s", "6m0s", "1h0m0s"."""
    if ms < 1_000:
        return f"{ms}ms"
    seconds, rest = divmod(ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{seconds}.{rest:03d}".rstrip("0") + "s" if rest else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
