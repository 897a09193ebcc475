"""Answers read from bytes: the HTTP/1.1 side of a connection, without any I/O.

httptools (llhttp, as in Node.js) knows the grammar and is strict about it: both a length and chunks, two lengths,
folded or bare-LF lines and control characters are errors. What stands here is what an answer *means*: interim answers
(1xx) are skipped, HEAD has no body, a body that announced no length ends with the connection, and all is bounded.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from headway.types import Headers
from headway.upstream.headers import HeaderNames

__all__ = ["HEADERS_MAX", "HEAD_BYTES_MAX", "Incoming", "Oversize", "Unreadable"]

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 200
"""Source: FACTS section 9 (limits of gateways: headers 64 KiB)."""


class Unreadable(Exception):
    """These bytes are no answer; the text says why."""


class Oversize(Exception):
    """The body is larger than allowed."""


class Incoming:
    """One answer after the other. `expect()` before each, then `feed()` until `complete`.

    Args:
        names: Header names met so far, shared by all connections.
        body_bytes_max: A larger body raises `Oversize`.
    """

    __slots__ = (
        "_body_bytes_left",
        "_body_bytes_max",
        "_dry_bytes",
        "_head_only",
        "_headers",
        "_names",
        "_parser",
        "buffered_bytes",
        "chunks",
        "complete",
        "keep",
        "status",
    )

    def __init__(self, names: HeaderNames, body_bytes_max: int) -> None:
        self._names = names
        self._body_bytes_max = body_bytes_max
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self, *, head_only: bool = False) -> None:
        """Begin anew: the next bytes are another answer's. `head_only`: it answers a HEAD request."""
        self._head_only = head_only
        self._headers: list[tuple[str, str]] = []
        self._body_bytes_left = self._body_bytes_max
        self._dry_bytes = 0  # read since the last byte of a body: heads, chunk sizes, trailers; they are bounded too
        self.chunks: list[bytes] = []
        """The body's bytes that nobody has taken yet. Whoever takes them clears list and count."""
        self.buffered_bytes = 0
        self.status = 0
        """0 until the head is whole."""
        self.complete = False
        self.keep = False
        """Complete, and the connection may carry another answer."""

    @property
    def headers(self) -> Headers:
        """The whole head's headers; names in lower case."""
        return tuple(self._headers)

    def feed(self, data: bytes) -> None:
        """Read bytes. Raises `Unreadable`, or `Oversize`."""
        self._dry_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self.complete:  # the answer is whole; what follows it is not ours to read
                self.keep = False
                return
            if isinstance(error.__context__, Unreadable | Oversize):
                raise error.__context__ from None
            raise Unreadable("no HTTP/1.1" if isinstance(error, HttpParserUpgrade) else str(error)) from None
        if self._dry_bytes > HEAD_BYTES_MAX and not self.complete:
            raise Unreadable(f"more than {HEAD_BYTES_MAX} bytes of headers or framing")

    def eof(self) -> bool:
        """The connection has ended in good order: whether this was the end of the answer, too."""
        if self.status and not self.complete and not self.framed():
            self.complete = True
        return self.complete

    def framed(self) -> bool:
        """Whether the head says where the body ends; otherwise the end of the connection does."""
        return any(name in ("content-length", "transfer-encoding") for name, _ in self._headers)

    def header(self, name: str) -> str:
        """The value of the header of that (lower-case) name; "" if there is none."""
        return next((value for own, value in self._headers if own == name), "")

    # -- httptools calls these ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise Unreadable("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else: a trailer
            self._headers.append((self._names[name], value.decode("latin-1").rstrip(" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                raise Unreadable("it switched protocols unasked")
            self._headers = []
            return
        if len(self._headers) > HEADERS_MAX:
            raise Unreadable(f"more than {HEADERS_MAX} headers")
        if self._dry_bytes > HEAD_BYTES_MAX:  # the read may hold the body's beginning: count exactly
            head_bytes = sum(len(name) + len(value) + 4 for name, value in self._headers)
            if head_bytes > HEAD_BYTES_MAX:
                raise Unreadable(f"more than {HEAD_BYTES_MAX} bytes of headers")
        self.status = status
        if self._head_only:
            self.complete = True
            raise Unreadable("the parser waits for a body that an answer to HEAD does not have")

    def on_body(self, data: bytes) -> None:
        length = len(data)
        self._dry_bytes = 0
        self._body_bytes_left -= length
        if self._body_bytes_left < 0:
            raise Oversize
        self.chunks.append(data)
        self.buffered_bytes += length

    def on_message_complete(self) -> None:
        if self.status:  # else: an interim answer's end
            self.complete = True
            self.keep = self._parser.should_keep_alive()
