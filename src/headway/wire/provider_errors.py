"""Providers' errors: a body of any status, or an event inside a 200, becomes an `ErrorView`.

Their formats are one shape: ``{"error": {"type", "code", "message"}}``, more or less of it. `error.type` alone does
not tell a spent budget from a rate limit, so the code decides (Anthropic's stands in ``details.error_code``), then
the HTTP status.

Source: FACTS sections 2 and 4; OpenAI, "Error codes"; Anthropic, "Errors" and "Rate limits"; Azure OpenAI, "Quota".
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from headway.types import ErrorView, Outcome
from headway.wire.decoding import UNREADABLE
from headway.wire.rate_headers import duration_s

__all__ = ["MESSAGE_CHARS_MAX", "error_of", "read_error"]

MESSAGE_CHARS_MAX: Final = 500

_BILLING: Final = frozenset(
    {
        "billing_error",
        "billing_hard_limit_reached",
        "contract_spend_limit_reached",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)
_THROTTLED: Final = frozenset(
    {"ramp_limit_exceeded", "rate_limit_error", "rate_limit_exceeded", "slow_down", "too_many_requests"}
)
_OVERLOADED: Final = frozenset(
    "NoCapacity engine_overloaded overloaded overloaded_error resource_unavailable server_is_overloaded".split()
)
"""No room, whatever the status; `resource_unavailable` is the flex tier's (FACTS section 2: unbilled)."""
_AUTH: Final = frozenset({"authentication_error", "invalid_api_key", "permission_error"})
_SERVER: Final = frozenset(
    {
        "api_error",
        "internal_error",
        "internal_server_error",
        "server_error",
        "service_unavailable",
        "timeout",
        "timeout_error",
        "vector_store_timeout",
    }
)

_COUNT: Final = r":? ([0-9]{1,15}(?:,[0-9]{3}){0,5})"
_BUCKET: Final = re.compile(rf"\bLimit{_COUNT}(?:, Used{_COUNT})?(?:, Requested{_COUNT})?")
_AGAIN: Final = re.compile(
    r"(?:again|retry) (?:in|after) ((?:[0-9]{1,9}(?:\.[0-9]{0,9})? ?"
    r"(?:milliseconds?|ms|minutes?|m|seconds?|s|hours?|h|days?|d) ?)+)",
    re.IGNORECASE,
)
_TOKENS: Final = re.compile(r"\btokens? (?:per|rate)|\bTP[MD]\b", re.IGNORECASE)
_REQUESTS: Final = re.compile(r"\b(?:requests?|call) (?:per|rate)|\bRP[MD]\b", re.IGNORECASE)
_WINDOW: Final = re.compile(r"\b(?:per (s|m|h|d)(?:ec|econd|in|inute|our|ay)?s?|[RT]P([SMHD]))\b", re.IGNORECASE)
_WINDOW_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NO_MONEY: Final = re.compile(
    r"credit balance is too low|reached your specified (?:workspace )?API usage limits", re.IGNORECASE
)
"""Anthropic's 400s without a code of their own for it."""
_SECRET: Final = re.compile(r"\b(?:sk|rk|pk|gsk|xai|Bearer)[-_ ][\w*.-]{6,}")


def read_error(status: int, body: bytes) -> ErrorView:
    """Read the body of a reply that is no answer; no JSON (HTML, empty) means by `status` alone."""
    try:
        error = msgspec.json.decode(body)
    except UNREADABLE:
        text = body[: 4 * MESSAGE_CHARS_MAX].decode("utf-8", "replace").strip()
        error = "" if text.startswith("<") else text
    return error_of(status, error)


def error_of(status: int, error: Any) -> ErrorView:
    """Classify a decoded error.

    Args:
        status: HTTP status; 200 for an error event inside a stream.
        error: The error object, or an object or list that holds it, or its text.
    """
    error = _innermost(error)
    fields = error if type(error) is dict else {"message": error}
    details = fields.get("details")
    number, code = _word(details.get("error_code") if type(details) is dict else fields.get("code"))
    type_ = _word(fields.get("type"))[1]
    if status < 300 and 400 <= number <= 599:
        status = number  # some providers put the status they would have sent into the event
    message = fields.get("message") or fields.get("detail")
    message = message[: 4 * MESSAGE_CHARS_MAX] if type(message) is str else ""
    outcome, retryable = _classify(status, code, type_)
    if outcome == "client_error" and _NO_MONEY.search(message):
        outcome = "billing"
    limit, used, requested = _bucket(message) if outcome == "throttled" else (None, None, None)
    if limit is not None and requested is not None and requested > limit:
        retryable = False  # it is larger than the whole bucket: no wait makes it fit
    again = _AGAIN.search(message)
    return ErrorView(
        outcome=outcome,
        code=code or type_ or (str(number) if number else ""),
        message=_SECRET.sub("[key]", message)[:MESSAGE_CHARS_MAX],
        retry_after_s=duration_s(again[1]) if again else None,
        retryable=retryable,
        limit_kind=_limit_kind(message, type_) if outcome == "throttled" else "",
        limit=limit,
        used=used,
        requested=requested,
        limit_window_s=_window_s(message) if limit is not None else None,
    )


def _innermost(error: Any) -> Any:
    """The error object out of ``{"error": {...}}`` and ``[{"error": {...}}]``."""
    if type(error) is list and error:
        error = error[0]
    if type(error) is dict and error.get("error") is not None:
        error = error["error"]
    return error


def _word(value: Any) -> tuple[int, str]:
    """A code as number and as word, one of which it is: 429 and "429" are numbers."""
    if type(value) is str and not (value.isdecimal() and len(value) == 3):
        return 0, value[:100]
    return (int(value), "") if type(value) in (int, str) else (0, "")


def _classify(status: int, code: str, type_: str) -> tuple[Outcome, bool]:
    """What went wrong, and whether another try could help."""
    words = {code, type_}
    if status == 402 or (code or type_) in _BILLING:
        return "billing", False
    if words & _OVERLOADED:
        return "overloaded", True
    if status == 429 or words & _THROTTLED:
        return "throttled", True
    if status in (503, 529):
        return "overloaded", True
    if status in (401, 403):
        return "auth", False
    if status in (408, 409) or status >= 500:
        return "server_error", True
    if status >= 300:
        return "client_error", False
    if words & _AUTH:
        return "auth", False
    if words & _SERVER or not (code or type_):
        return "server_error", True
    return "client_error", False


def _bucket(message: str) -> tuple[int | None, int | None, int | None]:
    """Limit, Used and Requested: together an exact reading of the bucket, for the text is arithmetic."""
    match = _BUCKET.search(message)
    if match is None:
        return None, None, None
    limit, used, requested = (None if text is None else int(text.replace(",", "")) for text in match.groups())
    return limit, used, requested


def _window_s(message: str) -> float | None:
    """What the limit counts over: "requests per day (RPD)" is 86,400 s."""
    match = _WINDOW.search(message)
    return None if match is None else _WINDOW_S[(match[1] or match[2]).lower()]


def _limit_kind(message: str, type_: str) -> Literal["requests", "tokens", ""]:
    if _TOKENS.search(message) or (type_ == "tokens" and not _REQUESTS.search(message)):
        return "tokens"
    if _REQUESTS.search(message) or type_ == "requests":
        return "requests"
    return ""
