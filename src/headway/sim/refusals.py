"""The answers that are no answer: status, body and the provider's own words."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Headers

__all__ = [
    "FAULT_REFUSALS",
    "HTML",
    "Refused",
    "invalid",
    "model_not_found",
    "not_found",
    "rate_limited",
    "too_large",
    "wrong_key",
]

HTML: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


class Refused(Exception):
    """A reply that is raised: an error answer on its way out. `outcome` is the ledger's word for it."""

    def __init__(
        self, status: int, message: str, kind: str, code: str | None, param: str | None = None, *,
        outcome: str = "client_error", headers: Headers = (),
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.outcome = outcome
        self.headers = headers
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}

    def body(self) -> bytes:
        """As the provider writes it."""
        return msgspec.json.encode({"error": self.error})


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """400."""
    return Refused(400, message, "invalid_request_error", code, param)


def too_large() -> Refused:
    """413."""
    return Refused(413, "Request body too large.", "invalid_request_error", None)


def wrong_key(given: bool) -> Refused:
    """401; the key itself is not repeated."""
    if not given:
        text = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer"
            " auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from"
            " https://platform.openai.com/account/api-keys."
        )
        return Refused(401, text, "invalid_request_error", None, outcome="auth")
    text = "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
    return Refused(401, text, "invalid_request_error", "invalid_api_key", outcome="auth")


def model_not_found(model: str) -> Refused:
    """404."""
    text = f"The model `{model[:100]}` does not exist or you do not have access to it."
    return Refused(404, text, "invalid_request_error", "model_not_found")


def not_found(method: str, path: str) -> Refused:
    """404."""
    return Refused(404, f"Invalid URL ({method} {path[:200]})", "invalid_request_error", None)


def rate_limited(message: str, kind: str, headers: Headers) -> Refused:
    """429."""
    return Refused(429, message, kind, "rate_limit_exceeded", outcome="throttled", headers=headers)


_QUOTA: Final = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error,"
    " read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
FAULT_REFUSALS: Final[dict[str, tuple[int, str, str, str | None]]] = {
    "429": (429, "Rate limit reached for requests. Please try again in 1s.", "requests", "rate_limit_exceeded"),
    "500": (500, "The server had an error while processing your request. Sorry about that!", "server_error", None),
    "503": (503, "The server is currently overloaded with other requests. Please try again later.",
            "service_unavailable_error", "server_is_overloaded"),
    "529": (529, "Overloaded", "overloaded_error", "overloaded_error"),
    "quota": (429, _QUOTA, "insufficient_quota", "insufficient_quota"),
    "billing": (429, "Billing hard limit has been reached.", "invalid_request_error", "billing_hard_limit_reached"),
}  # fmt: skip
"""Fault -> status, message, type, code."""
