"""What is refused before a provider is asked, said the way the path's provider would say it.

An SDK reads an error's body to choose its exception and to show the message, so a refusal of ours has its provider's
shape. Source: OpenAI, "Error codes"; Anthropic API reference, "Errors" (also for events inside a stream).
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["refusal_body", "refusal_event"]

_MESSAGES: Final = "/v1/messages"
_RESPONSES: Final = "/responses"

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Of the Messages API; any other 4xx is a wrong request, any other 5xx an ``api_error``."""


def refusal_body(path: str, status: int, message: str, code: str) -> bytes:
    """The body of a refusal.

    Args:
        path: What was asked for, e.g. ``/v1/messages``; "" where that is not known.
        status: HTTP status, 400 to 599.
        message: A sentence.
        code: A word for programs.
    """
    return msgspec.json.encode(_refusal(path, status, message, code))


def refusal_event(path: str, status: int, message: str, code: str) -> bytes:
    """The last event of a stream that broke; the arguments are those of `refusal_body`."""
    plain = path.partition("?")[0]
    if plain.endswith(_RESPONSES):
        event = {"type": "error", "code": code, "message": message, "param": None}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    name = b"event: error\n" if _is_messages(plain) else b""
    return name + b"data: " + refusal_body(path, status, message, code) + b"\n\n"


def _refusal(path: str, status: int, message: str, code: str) -> dict[str, object]:
    if _is_messages(path.partition("?")[0]):
        type_ = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": type_, "message": message}}
    type_ = "rate_limit_error" if status == 429 else ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def _is_messages(path: str) -> bool:
    return path.endswith(_MESSAGES) or f"{_MESSAGES}/" in path
