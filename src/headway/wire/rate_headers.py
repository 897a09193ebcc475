"""Rate-limit and timing headers of a reply, read in one pass.

`x-ratelimit-reset-*` is the time until the bucket is *full* again, not a wait (FACTS section 2). How long a
window is differs by provider (a minute, or a day for requests); `reset_s`, `limit` and `remaining` together
tell. Anthropic keeps input and output tokens apart, in buckets of a minute; its resets are RFC 3339 times of whole
seconds and its tokens are rounded to thousands (Anthropic, "Rate limits").
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Final

import msgspec
from msgspec.structs import replace

from headway.types import Headers

__all__ = ["LimitReading", "RateSnapshot", "duration_s", "read_limits", "rfc3339_s"]


class LimitReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One bucket as the provider last saw it; None where it did not say."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    """Seconds until the bucket is full again."""
    window_s: float | None = None
    """What the limit counts over, where the provider's documentation says it; None: as the numbers tell."""
    grain: int = 1
    """What `remaining` is rounded to."""


class RateSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of one reply say."""

    requests: LimitReading
    tokens: LimitReading
    project_tokens: LimitReading
    """The project's own token bucket, where a provider keeps one beside the organisation's."""
    input_tokens: LimitReading = LimitReading()
    output_tokens: LimitReading = LimitReading()
    """Where a provider keeps these two apart; `tokens` says nothing then, for what it stands for changes."""
    retry_after_s: float | None = None
    """Seconds to wait before trying again, >= 0."""
    provider_processing_s: float | None = None
    """The provider's own account of how long it worked on the request, in seconds."""
    request_id: str = ""
    organisation: str = ""
    """Whose quota it counts towards, where the provider says so."""


_NOTHING: Final = LimitReading()
_PLACES: Final = {
    name: place
    for place, name in enumerate(
        (
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-limit-project-tokens",
            "x-ratelimit-remaining-project-tokens",
            "x-ratelimit-reset-project-tokens",
            "retry-after-ms",
            "retry-after",
            "openai-processing-ms",
            "x-request-id",
            "request-id",
            "apim-request-id",
            *(
                f"anthropic-ratelimit-{bucket}-{part}"
                for bucket in ("requests", "tokens", "input-tokens", "output-tokens")
                for part in ("limit", "remaining", "reset")
            ),
            "openai-organization",
            "anthropic-organization-id",
        )
    )
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_WORDS: Final = r"([0-9]{1,12}(?:\.[0-9]{0,12})?) ?(milliseconds?|ms|minutes?|m|seconds?|s|hours?|h|days?|d) ?"
_PART: Final = re.compile(_WORDS)
_DURATION: Final = re.compile(f"(?:{_WORDS})+")
_DIGITS_MAX: Final = 15
_GRAIN: Final = 1000
_NONE_APART: Final[list[str | None]] = [None] * 12
_UNIT_S: Final = {"m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0}


def read_limits(headers: Headers, wall_s: float) -> RateSnapshot | None:
    """What the headers say about limits and time; None when they say nothing.

    Args:
        headers: Name-value pairs, names in lower case; the first of a name counts.
        wall_s: Now, in Unix seconds: what a `retry-after` date is measured against.
    """
    found: list[str | None] | None = None
    for name, value in headers:
        place = _PLACES.get(name)
        if place is not None:
            if found is None:
                found = [None] * len(_PLACES)
            if found[place] is None:
                found[place] = value
    if found is None:
        return None
    processing_ms = _number(found[11])
    snapshot = RateSnapshot(
        requests=_reading(found[0], found[1], found[2]),
        tokens=_reading(found[3], found[4], found[5]),
        project_tokens=_reading(found[6], found[7], found[8]),
        retry_after_s=_retry_after_s(found[9], found[10], wall_s),
        provider_processing_s=None if processing_ms is None or processing_ms < 0 else processing_ms / 1000,
        request_id=found[12] or found[13] or found[14] or "",
        organisation=found[27] or found[28] or "",
    )
    return snapshot if found[15:27] == _NONE_APART else _apart(snapshot, found[15:27], wall_s)


def _apart(snapshot: RateSnapshot, found: list[str | None], wall_s: float) -> RateSnapshot:
    """With Anthropic's readings: requests, tokens, input and output, each with limit, remaining and reset."""
    requests, tokens, input_tokens, output_tokens = (
        _minute_reading(*found[at : at + 3], grain=grain, wall_s=wall_s)
        for at, grain in ((0, 1), (3, _GRAIN), (6, _GRAIN), (9, _GRAIN))
    )
    return replace(
        snapshot,
        requests=snapshot.requests if requests is _NOTHING else requests,
        # The "most restrictive limit in effect", or the sum of both: no bucket, so it counts only where it is alone.
        tokens=tokens if input_tokens is _NOTHING and output_tokens is _NOTHING else snapshot.tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def duration_s(text: str) -> float | None:
    """Seconds of ``6m0s``, ``12ms``, ``1h30m0s``, ``20 seconds``, or a bare number of seconds; else None."""
    text = text.strip().lower()
    if single := _PART.fullmatch(text):
        return _part_s(single[1], single[2])
    if _DURATION.fullmatch(text):
        return sum(_part_s(number, unit) for number, unit in _PART.findall(text))
    bare = _number(text)
    return None if bare is None or bare < 0 else bare


_short_duration_s = lru_cache(maxsize=1024)(duration_s)  # resets come back: most requests take about as much


def _part_s(number: str, unit: str) -> float:
    return float(number) * (0.001 if unit == "ms" or unit.startswith("milli") else _UNIT_S[unit[0]])


def _reading(limit: str | None, remaining: str | None, reset: str | None) -> LimitReading:
    if limit is None and remaining is None and reset is None:
        return _NOTHING
    reset_s = None if reset is None else _short_duration_s(reset) if len(reset) <= 32 else duration_s(reset)
    return LimitReading(limit=_count(limit), remaining=_count(remaining), reset_s=reset_s)


def _minute_reading(
    limit: str | None, remaining: str | None, reset: str | None, *, grain: int, wall_s: float
) -> LimitReading:
    if limit is None and remaining is None and reset is None:
        return _NOTHING
    full_at_s = None if reset is None else rfc3339_s(reset)
    return LimitReading(
        limit=_count(limit),
        remaining=_count(remaining),
        reset_s=None if full_at_s is None else max(0.0, full_at_s - wall_s),
        window_s=60.0,
        grain=grain,
    )


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    if text.isdecimal() and len(text) <= _DIGITS_MAX:
        return float(text)
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _count(text: str | None) -> int | None:
    if text is not None and text.isdecimal() and len(text) <= _DIGITS_MAX:
        return int(text)
    number = _number(text)  # some say "9999.0"
    return None if number is None or number < 0 else int(number)


def _retry_after_s(fine_ms: str | None, coarse: str | None, wall_s: float) -> float | None:
    """The finer header first; a date counts from `wall_s`; the past is 0. Source: RFC 9110, 10.2.3."""
    if fine_ms is None and coarse is None:
        return None
    for text, scale in ((fine_ms, 0.001), (coarse, 1.0)):
        if text is not None and (number := _number(text)) is not None:
            return max(0.0, number * scale)
    date_s = _date_s(coarse or "")
    return None if date_s is None else max(0.0, date_s - wall_s)


def _date_s(text: str) -> float | None:
    if not text:
        return None
    from email.utils import mktime_tz, parsedate_tz  # slow to import, and dates are rare here

    try:
        parsed = parsedate_tz(text)
        date_s = None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return date_s if date_s is not None and isfinite(date_s) else None


def rfc3339_s(text: str) -> float | None:
    """Unix seconds of ``2026-05-03T03:09:47Z``; None if it is no such time, or says no offset."""
    try:
        at = datetime.fromisoformat(text.strip())
        return None if at.tzinfo is None else at.timestamp()
    except (ValueError, OverflowError):
        return None
