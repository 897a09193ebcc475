"""Answers as bytes: the head of one, and what frames its body."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from headway.errors import Closed, HeadwayError
from headway.gateway.request import Refused
from headway.types import Headers
from headway.wire.refusals import refusal_body, refusal_event

__all__ = ["CONTINUE", "END", "ENDED", "broken_off", "head_of", "refusal", "whole"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
END: Final = b"0\r\n\r\n"
ENDED: Final = Closed("the gateway ended before this answer did; ask again")
_NO_BODY: Final = frozenset((204, 304))


def head_of(status: int, headers: Headers, length: int | None, *, keep: bool, chunked: bool) -> bytes:
    """An answer's head, blank line included.

    Args:
        status: HTTP status.
        headers: Without those of framing; names in lower case.
        length: Of the body, in bytes; None where it is not known.
        keep: Whether the connection carries another answer.
        chunked: How a body of unknown length ends: with a last chunk, or (False) with the connection.

    Raises:
        ValueError: A header holds a line break.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    if length is not None:
        lines.append(f"content-length: {length}\r\n")
    elif chunked:
        lines.append("transfer-encoding: chunked\r\n")
    if not keep:
        lines.append("connection: close\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError("a header of the answer holds a line break")
    return _status_line(status) + text.encode("latin-1", "replace") + b"\r\n"


def whole(method: str, status: int, headers: Headers, body: bytes, *, keep: bool) -> bytes:
    """An answer that is known to its end."""
    length = None if status in _NO_BODY else len(body)
    if method == "HEAD":
        body, length = b"", None  # the provider's own is not known any more
    return head_of(status, headers, length, keep=keep, chunked=False) + body


def broken_off(target: str, status: int, error: HeadwayError, *, bare: bool) -> bytes:
    """What ends a stream that is not whole; `bare` without chunks.

    The last chunk is missing: whoever counts bytes sees that it is not whole, whoever reads events is told why.
    """
    if status >= 300:
        return b""
    event = refusal_event(target, 502, str(error), error.code)
    return event if bare else b"%x\r\n%b\r\n" % (len(event), event)


def refusal(target: str, refused: Refused, headers: Headers = ()) -> bytes:
    """A whole answer of ours that ends its connection, in the shape of the API that was asked."""
    body = refusal_body(target, refused.status, refused.message, refused.code)
    headers = (("content-type", "application/json"), *headers)
    return head_of(refused.status, headers, len(body), keep=False, chunked=False) + body


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""  # 529 and the like
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
