"""Errors become what the engine acts on: an outcome, whether to retry, how long to wait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.wire import reader_for
from headway.wire.provider_errors import MESSAGE_CHARS_MAX, error_of, read_error

TPM = (
    "Rate limit reached for gpt-4.1 in organization org-x on tokens per min (TPM): Limit 60000, Used 54134, "
    "Requested 6465. Please try again in 599ms. Visit https://platform.openai.com/account/rate-limits."
)


def body(message: str = "m", type_: str | None = None, code: Any = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}}).encode()


def test_429_is_an_exact_reading() -> None:
    """The text of a token 429 gives limit, used, requested and the wait, which agree with each other."""
    error = read_error(429, body(TPM, "tokens", "rate_limit_exceeded"))
    assert (error.outcome, error.retryable, error.code) == ("throttled", True, "rate_limit_exceeded")
    assert (error.limit_kind, error.limit, error.used, error.requested) == ("tokens", 60_000, 54_134, 6_465)
    assert error.retry_after_s == pytest.approx(0.599)
    assert (error.used + error.requested - error.limit) / (error.limit / 60) == pytest.approx(0.599)


@pytest.mark.parametrize(
    ("message", "kind", "wait_s"),
    [
        (
            "on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
            "requests",
            20.0,
        ),
        (
            "on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
            "requests",
            432.0,
        ),
        (
            "on tokens per day (TPD): Limit 1,000, Used 999, Requested 10. Please try again in 1h2m3s.",
            "tokens",
            3723.0,
        ),
        (
            "on input tokens per minute (TPM): Limit 9, Used 1, Requested 9. Please try again in 6m0s.",
            "tokens",
            360.0,
        ),
        ("have exceeded token rate limit of your tier. Please retry after 20 seconds.", "tokens", 20.0),
        ("have exceeded call rate limit of your tier. Please retry after 1 second.", "requests", 1.0),
        ("Please try again in 1.2s.", "", 1.2),
        ("Too many requests", "", None),
    ],
)
def test_wordings(message: str, kind: str, wait_s: float | None) -> None:
    """The providers' wordings tell which limit was met and how long to wait."""
    error = read_error(429, body("Rate limit reached " + message))
    assert (error.outcome, error.limit_kind) == ("throttled", kind)
    assert error.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))


@pytest.mark.parametrize(
    ("words", "window_s"),
    [
        ("on requests per day (RPD): Limit 200", 86_400.0),
        ("on tokens per min (TPM): Limit 200", 60.0),
        ("on input tokens per minute: Limit 200", 60.0),
        ("on requests per hour: Limit 200", 3600.0),
        ("on requests per second: Limit 200", 1.0),
        ("TPD Limit 200", 86_400.0),
        ("on requests: Limit 200", None),
        ("requests per day", None),
    ],
)
def test_the_window_of_a_limit_is_read(words: str, window_s: float | None) -> None:
    """What the limit counts over; None where the text names no limit or no window."""
    assert read_error(429, body(f"Rate limit reached for m {words}, Used 1.")).limit_window_s == window_s


def test_kind_from_type() -> None:
    """Where the text does not say which limit it was, the type does."""
    assert read_error(429, body("Slow", "requests", "rate_limit_exceeded")).limit_kind == "requests"
    assert read_error(429, body("Slow", "tokens", "rate_limit_exceeded")).limit_kind == "tokens"


def test_larger_than_the_bucket() -> None:
    """A request that is larger than the whole bucket is not tried again: no wait makes it fit."""
    message = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 35000."
    error = read_error(429, body(message, "tokens", "rate_limit_exceeded"))
    assert (error.outcome, error.retryable) == ("throttled", False)
    assert (error.limit, error.used, error.requested) == (30_000, None, 35_000)


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    ],
)
@pytest.mark.parametrize("status", [200, 400, 403, 429])
def test_billing(code: str, status: int) -> None:
    """No money left is never tried again, whatever the status it comes with."""
    error = read_error(status, body("You exceeded your current quota", "insufficient_quota", code))
    assert (error.outcome, error.retryable, error.code) == ("billing", False, code)


def test_code_beats_type() -> None:
    """The type alone does not tell a spent budget from a rate limit: where there is a code, it decides."""
    assert read_error(429, body("m", "insufficient_quota", "rate_limit_exceeded")).outcome == "throttled"
    assert read_error(429, body("m", "requests", "insufficient_quota")).outcome == "billing"
    assert read_error(429, body("m", "insufficient_quota", None)).outcome == "billing"


@pytest.mark.parametrize(
    "text", [b"", b"<html><h1>Bad gateway</h1></html>", b"\xff\xfe", b"null", b"{}", b'{"error":null}']
)
@pytest.mark.parametrize(
    ("status", "outcome", "retryable"),
    [
        (302, "client_error", False),
        (400, "client_error", False),
        (401, "auth", False),
        (402, "billing", False),
        (403, "auth", False),
        (404, "client_error", False),
        (408, "server_error", True),
        (409, "server_error", True),
        (413, "client_error", False),
        (422, "client_error", False),
        (429, "throttled", True),
        (500, "server_error", True),
        (502, "server_error", True),
        (503, "overloaded", True),
        (504, "server_error", True),
        (529, "overloaded", True),
    ],
)  # fmt: skip
def test_status_alone(status: int, outcome: str, retryable: bool, text: bytes) -> None:
    """A body that says nothing is classified by its status, through either reader."""
    for path in ("/v1/responses", "/v1/chat/completions"):
        reader = reader_for(path)
        assert reader is not None
        answer = reader.read_answer(status, text)
        assert answer.error is not None
        assert (answer.error.outcome, answer.error.retryable) == (outcome, retryable)
        assert (answer.complete, answer.admissible) == (True, False)
        assert "<" not in answer.error.message


@pytest.mark.parametrize(
    ("status", "error", "outcome", "retryable", "code"),
    [
        (503, {"code": "server_is_overloaded"}, "overloaded", True, "server_is_overloaded"),
        (429, {"code": "engine_overloaded"}, "overloaded", True, "engine_overloaded"),
        (503, {"code": "slow_down"}, "throttled", True, "slow_down"),
        (429, {"code": "slow_down", "type": "requests"}, "throttled", True, "slow_down"),
        (200, {"type": "overloaded_error", "code": None}, "overloaded", True, "overloaded_error"),
        (200, {"code": "rate_limit_exceeded"}, "throttled", True, "rate_limit_exceeded"),
        (200, {"code": "server_error"}, "server_error", True, "server_error"),
        (200, {"code": "vector_store_timeout"}, "server_error", True, "vector_store_timeout"),
        (200, {"code": "invalid_prompt"}, "client_error", False, "invalid_prompt"),
        (
            200,
            {"code": "image_content_policy_violation"},
            "client_error",
            False,
            "image_content_policy_violation",
        ),
        (200, {"code": "invalid_api_key"}, "auth", False, "invalid_api_key"),
        (200, {"code": 502, "message": "Provider returned error"}, "server_error", True, "502"),
        (200, {"code": "429"}, "throttled", True, "429"),
        (200, {"code": 402}, "billing", False, "402"),
        (200, {}, "server_error", True, ""),
        (
            404,
            {"code": "model_not_found", "type": "invalid_request_error"},
            "client_error",
            False,
            "model_not_found",
        ),
        (
            400,
            {"type": "invalid_request_error", "code": None},
            "client_error",
            False,
            "invalid_request_error",
        ),
        (429, {"code": 429, "status": "RESOURCE_EXHAUSTED"}, "throttled", True, "429"),
        (500, {"code": ["odd"], "type": {"odd": 1}}, "server_error", True, ""),
    ],
)
def test_codes(status: int, error: dict[str, Any], outcome: str, retryable: bool, code: str) -> None:
    """The provider's word is kept and decides; inside a 200 it decides alone, and numbers are statuses."""
    view = error_of(status, error)
    assert (view.outcome, view.retryable, view.code) == (outcome, retryable, code)


@pytest.mark.parametrize(
    "text",
    [
        b'{"error":{"message":"No such model","code":"x"}}',
        b'[{"error":{"message":"No such model","code":"x"}}]',
        b'{"message":"No such model","code":"x"}',
        b'{"error":"No such model"}',
        b'{"detail":"No such model"}',
        b"No such model",
        b'"No such model"',
    ],
)
def test_shapes_of_bodies(text: bytes) -> None:
    """The message is found in the shapes that compatible providers wrap it in."""
    error = read_error(404, text)
    assert (error.outcome, error.message) == ("client_error", "No such model")


def test_messages_are_bounded_and_hold_no_key() -> None:
    """A message is cut, and a key that a provider echoes is taken out of it."""
    message = read_error(401, body("Incorrect API key provided: sk-proj-abcDEF123456. " + "x" * 5000)).message
    assert "abcDEF" not in message
    assert "[key]" in message
    assert len(message) == MESSAGE_CHARS_MAX


@given(
    status=st.integers(100, 599),
    text=st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["error", "message", "code", "type", "detail"]),
        st.none()
        | st.integers()
        | st.text(max_size=30)
        | st.dictionaries(st.sampled_from(["code", "message"]), st.text()),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_body_raises(status: int, text: bytes) -> None:
    """Whatever the body, it is classified; money and keys are never worth a retry."""
    error = read_error(status, text)
    assert not (error.retryable and error.outcome in ("billing", "auth", "client_error"))
