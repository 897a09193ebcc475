"""Answers as bytes: the head of one, and what frames its body."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from headway.gateway.request import Refused
from headway.types import Headers
from headway.wire.refusals import refusal_body

__all__ = ["CONTINUE", "END", "head_of", "refusal"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
END: Final = b"0\r\n\r\n"


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
