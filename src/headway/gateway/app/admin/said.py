"""What the API says of itself: sessions, problems, and answers before they are sent."""

from __future__ import annotations

from typing import Final

import msgspec

from headway.gateway.app.plane import Send
from headway.gateway.request import Refused
from headway.types import Headers

__all__ = ["HEADERS", "Answer", "NoMethod", "Problem", "Session", "SignIn", "TooMany", "answered", "began", "refused"]

HEADERS: Final[Headers] = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    needs_key: bool
    signed_in: bool
    name: str = ""


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An admin's key."""

    key: str


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong."""

    message: str
    """A sentence: what is wrong, and what to do."""
    code: str
    """A word for programs."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is none."""

    error: Error


class Answer(msgspec.Struct, frozen=True):
    """What is said."""

    body: bytes
    status: int = 200
    type: str = "application/json"
    headers: Headers = ()


class TooMany(Refused):
    """Too many wrong keys."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(429, "too many wrong keys came from there; wait a minute", "too_many_attempts")
        self.retry_after_s = retry_after_s


class NoMethod(Refused):
    """There is something at the path, but not for that method."""

    def __init__(self, allowed: str) -> None:
        super().__init__(405, f"this path knows {allowed}", "method_not_allowed")
        self.allowed = allowed


def refused(refusal: Refused) -> Answer:
    """A refusal as JSON."""
    headers: Headers = ()
    if isinstance(refusal, TooMany):
        headers = (("retry-after", str(max(1, round(refusal.retry_after_s)))),)
    elif isinstance(refusal, NoMethod):
        headers = (("allow", refusal.allowed),)
    elif refusal.status == 503:
        headers = (("retry-after", "2"),)
    problem = Problem(error=Error(message=refusal.message, code=refusal.code))
    return Answer(msgspec.json.encode(problem), refusal.status, headers=headers)


async def answered(send: Send, answer: Answer) -> None:
    """Send an answer."""
    own = (("content-type", answer.type), ("content-length", str(len(answer.body))))
    await began(send, answer.status, (*own, *answer.headers))
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def began(send: Send, status: int, headers: Headers) -> None:
    """Send an answer's head."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in (*headers, *HEADERS)]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
