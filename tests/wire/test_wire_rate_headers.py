"""Limits, waits and timings out of a reply's headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.wire.rate_headers import LimitReading, duration_s, read_limits

NOW_S = 1_777_777_777.0  # 2026-05-03 03:09:37 UTC


def test_openai_headers() -> None:
    """The headers of a usual reply are read in full; the first of a name counts."""
    headers = (
        ("content-type", "application/json"),
        ("openai-processing-ms", "812"),
        ("x-ratelimit-limit-requests", "5000"),
        ("x-ratelimit-limit-tokens", "160000"),
        ("x-ratelimit-limit-project-tokens", "90000"),
        ("x-ratelimit-remaining-requests", "4999"),
        ("x-ratelimit-remaining-tokens", "159976"),
        ("x-ratelimit-reset-requests", "12ms"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("x-request-id", "req_1"),
        ("x-request-id", "req_2"),
    )
    snapshot = read_limits(headers, NOW_S)
    assert snapshot is not None
    assert snapshot.requests == LimitReading(limit=5000, remaining=4999, reset_s=0.012)
    assert snapshot.tokens == LimitReading(limit=160_000, remaining=159_976, reset_s=360.0)
    assert snapshot.project_tokens == LimitReading(limit=90_000)
    assert (snapshot.provider_processing_s, snapshot.request_id) == (0.812, "req_1")
    assert snapshot.retry_after_s is None


def test_anthropic_headers() -> None:
    """Input and output are apart, by the minute, rounded to thousands; resets are times, and the sum is no bucket."""
    headers = (
        ("request-id", "req_018Ee"),
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2026-05-03T03:09:38Z"),
        ("anthropic-ratelimit-tokens-limit", "38000"),
        ("anthropic-ratelimit-tokens-remaining", "37000"),
        ("anthropic-ratelimit-tokens-reset", "2026-05-03T03:09:39Z"),
        ("anthropic-ratelimit-input-tokens-limit", "30000"),
        ("anthropic-ratelimit-input-tokens-remaining", "29000"),
        ("anthropic-ratelimit-input-tokens-reset", "2026-05-03T03:09:39+00:00"),
        ("anthropic-ratelimit-output-tokens-limit", "8000"),
        ("anthropic-ratelimit-output-tokens-remaining", "8000"),
        ("anthropic-ratelimit-output-tokens-reset", "2026-05-03T03:09:36Z"),
        ("retry-after", "7"),
    )
    snapshot = read_limits(headers, NOW_S)
    assert snapshot is not None
    assert snapshot.requests == LimitReading(limit=50, remaining=49, reset_s=1.0, window_s=60.0)
    assert snapshot.tokens == LimitReading()
    assert snapshot.input_tokens == LimitReading(limit=30_000, remaining=29_000, reset_s=2.0, window_s=60.0, grain=1000)
    assert snapshot.output_tokens == LimitReading(limit=8000, remaining=8000, reset_s=0.0, window_s=60.0, grain=1000)
    assert (snapshot.retry_after_s, snapshot.request_id) == (7.0, "req_018Ee")
    alone = read_limits(headers[4:7], NOW_S)
    assert alone is not None
    assert alone.tokens == LimitReading(limit=38_000, remaining=37_000, reset_s=2.0, window_s=60.0, grain=1000)


@pytest.mark.parametrize("reset", ["", "soon", "2026-05-03", "2026-05-03T03:09:38", "99999-01-01T00:00:00Z", "60"])
def test_a_reset_that_is_no_time(reset: str) -> None:
    """What is no RFC 3339 time is no reset, and hides nothing else."""
    headers = (("anthropic-ratelimit-requests-limit", "50"), ("anthropic-ratelimit-requests-reset", reset))
    snapshot = read_limits(headers, NOW_S)
    assert snapshot is not None
    assert snapshot.requests == LimitReading(limit=50, window_s=60.0)


def test_nothing_said() -> None:
    """Headers without a word about limits give None, so that nobody learns from silence."""
    assert read_limits((), NOW_S) is None
    assert read_limits((("content-type", "text/html"), ("date", "x")), NOW_S) is None


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ((("retry-after", "2"),), 2.0),
        ((("retry-after", "1.5"),), 1.5),
        ((("retry-after-ms", "250"), ("retry-after", "1")), 0.25),
        ((("retry-after", "1"), ("retry-after-ms", "junk")), 1.0),
        ((("retry-after", "-3"),), 0.0),
        ((("retry-after", "Sun, 03 May 2026 03:09:47 GMT"),), 10.0),
        ((("retry-after", "Sun, 03 May 2026 03:00:00 GMT"),), 0.0),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "nan"),), None),
        ((("retry-after", "inf"),), None),
        ((("retry-after", "1_0"),), None),
        ((("retry-after", ""),), None),
        ((("retry-after", "Sun, 99 May 99999999 03:09:47 GMT"),), None),
    ],
)
def test_retry_after(headers: tuple[tuple[str, str], ...], wait_s: float | None) -> None:
    """Milliseconds, then seconds, then a date against the given clock; never negative, garbage is nothing."""
    snapshot = read_limits(headers, NOW_S)
    assert snapshot is not None
    assert snapshot.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1h30m0s", 5400.0),
        ("1h2m3s", 3723.0),
        ("1s", 1.0),
        ("0s", 0.0),
        ("1m33.6s", 93.6),
        ("8.64s", 8.64),
        ("1d2h", 93_600.0),
        ("20 seconds", 20.0),
        ("1 minute 30 seconds", 90.0),
        ("500 milliseconds", 0.5),
        ("59", 59.0),
        ("-1", None),
        ("", None),
        ("s", None),
        ("1x", None),
        ("1s later", None),
        ("nan", None),
        ("9" * 400, None),
    ],
)
def test_duration(text: str, seconds: float | None) -> None:
    """Durations in the providers' notations are seconds; anything else is nothing."""
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


NAMES = [
    "retry-after",
    "retry-after-ms",
    "openai-processing-ms",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-limit-tokens",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-input-tokens-limit",
]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=20)), max_size=6))
def test_no_value_raises(headers: list[tuple[str, str]]) -> None:
    """Whatever a header holds, what is read of it is absent or sane."""
    snapshot = read_limits(tuple(headers), NOW_S)
    assert (snapshot is None) == (not headers)
    if snapshot is not None:
        assert snapshot.retry_after_s is None or snapshot.retry_after_s >= 0
        assert snapshot.tokens.limit is None or snapshot.tokens.limit >= 0
        for reading in (snapshot.tokens, snapshot.input_tokens):
            assert reading.reset_s is None or reading.reset_s >= 0
