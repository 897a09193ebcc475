"""Requests read from bytes: the HTTP/1.1 side of a client's connection, without any I/O.

httptools (llhttp, as in Node.js) reads heads and chunks and is strict: two lengths, a length and chunks, folded or
bare-LF lines and control characters are errors. What stands here is what it leaves open: where a request ends among
those that follow it, one Host, one coding, no target but a path, and a bound for everything.

Each request has a parser of its own (0.3 us), so nothing of one can reach the next. The head is cut out of the bytes
before it is parsed: what is meant for somebody else can be handed on as it came.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from headway.gateway.limits import Limits
from headway.gateway.protocol.heads import Head, Heads
from headway.gateway.request import Refused, Request
from headway.upstream.headers import HeaderNames

__all__ = ["Incoming"]

_END: Final = b"\r\n\r\n"
_METHODS: Final = frozenset((b"GET", b"POST", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_OFFER: Final = re.compile(rb"(?<=\r\n)upgrade[ \t]*:[^\r\n]*\r\n", re.IGNORECASE)
_WEBSOCKET: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Incoming:
    """One request after the other: `receive` bytes, then ask for the `next` request until there is none.

    Args:
        limits: See `Limits`.
        names: Header names met so far, shared by all connections.
        heads: Heads met so far, likewise.
    """

    __slots__ = (
        "_body_bytes_max", "_buffer", "_chunked", "_done", "_heads", "_held_bytes", "_last", "_left", "_limits",
        "_names", "_parser", "_parts", "_raw_headers", "_searched", "_target", "body_s", "continues", "keep", "old",
        "raw_head", "request", "upgrade",
    )  # fmt: skip

    def __init__(self, limits: Limits, names: HeaderNames, heads: Heads) -> None:
        self._limits = limits
        self._heads = heads
        self._names = names
        self._buffer = b""
        self._last: Head | None = None
        self.over()

    def over(self) -> None:
        """The request of `body`, if there was one, has been answered."""
        self._target = b""
        self._searched = 0
        self._left = 0
        self._held_bytes = 0
        self._chunked = self._done = False
        self._parts: list[bytes] = []
        self.request: Request | None = None
        """The request whose head has come; its body may still be missing."""
        self.raw_head = b""
        self.continues = False
        """It wants to hear that its body is welcome."""
        self.keep = False
        """Its connection may carry another one."""
        self.old = False
        """It is of HTTP/1.0: no chunks."""
        self.upgrade = False
        self.body_s = self._limits.body_s
        """How long its body may take."""
        self._body_bytes_max = self._limits.body_bytes_max

    @property
    def target(self) -> str:
        """What is asked for, as far as that is known."""
        return self.request.target if self.request is not None else self._target.decode("latin-1")

    @property
    def ahead_bytes(self) -> int:
        """Bytes that have come and were not looked at."""
        return len(self._buffer)

    @property
    def held_bytes(self) -> int:
        """Bytes of the body so far, its framing included."""
        return self._held_bytes

    def receive(self, data: bytes) -> None:
        """Take bytes in."""
        self._buffer = self._buffer + data if self._buffer else data

    def rest(self) -> bytes:
        """All that was not looked at, taken out."""
        rest, self._buffer = self._buffer, b""
        return rest

    def head(self) -> Request | None:
        """The request whose head is there, its body not yet read; None until it is.

        Raises:
            Refused: It is no request, or one that is not taken.
        """
        if self.request is not None:
            return self.request
        buffer, head = self._buffer, self._last
        # Most often it is the last one's, but for the length.
        same = None if head is None else head.begins(buffer)
        if same is not None:
            end, self._left = same
        else:
            if buffer[:2] == b"\r\n" and not self._searched:
                buffer = self._buffer = buffer[2:]  # RFC 9112, section 2.2: one empty line before a request is forgiven
            if not buffer or buffer == b"\r":
                return None
            end = buffer.find(_END, max(self._searched - 3, 0), self._limits.head_bytes_max) + 4
            if end < 4:
                self._incomplete(buffer)
                return None
        self.raw_head, self._buffer = buffer[:end], buffer[end:]
        if head is None or same is None:
            known = self._heads.find(self.raw_head)
            if known is not None:
                head, self._left = known
            else:
                head = self._parse(self.raw_head)
            self._last = head
        self.keep, self.old, self.continues = head.keep, head.old, head.continues
        self.request = Request(head.method, head.target, head.headers, notes=head.notes)
        self._body_bytes_max, self.body_s = head.body
        self._check_length()
        return self.request

    def body(self) -> Request | None:
        """The request of `head`, with its body, when all of it has come. The next `head` is another request's.

        Raises:
            Refused: The body is malformed or too large.
        """
        request, data = self.request, self._buffer
        assert request is not None
        if self._chunked:
            self._read_chunks(data)
        elif self._left == len(data) and not self._parts:
            request.body, self._buffer = data, b""
            self._held_bytes, self._left = self._left, 0
        elif self._left:
            part = data[: self._left]
            self._left -= len(part)
            self._held_bytes += len(part)
            self._buffer = data[len(part) :]
            self._parts.append(part)
        if self._left or (self._chunked and not self._done):
            return None
        parts = self._parts
        if parts:
            request.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
        return request

    # -- the head ----------------------------------------------------------------------------------------------------

    def _incomplete(self, buffer: bytes) -> None:
        """Refuse early what can become no head."""
        if len(buffer) >= self._limits.head_bytes_max:
            raise Refused(431, f"the headers are larger than {self._limits.head_bytes_max} bytes", "headers_too_large")
        if not 65 <= buffer[0] <= 90 or b"\n\n" in buffer:  # TLS to a plain port, or lines that end as none may
            raise Refused(400, "this is no HTTP/1.1 request; check the address and whether it begins with http://")
        self._searched = len(buffer)

    def _parse(self, head: bytes) -> Head:
        offered = self._feed(head)
        if offered:
            # With such an offer the parser reads no body. All but WebSockets are declined by not heeding them.
            self.upgrade = self._parser.get_method() == b"GET" and _WEBSOCKET.search(head) is not None
            if not self.upgrade:
                self.raw_head = head = _OFFER.sub(b"", head)
                self._feed(head)
        parser = self._parser
        version, method = parser.get_http_version(), parser.get_method()
        if version not in ("1.1", "1.0"):
            raise Refused(505, f"HTTP/{version} is not spoken here; use HTTP/1.1", "http_version")
        if method not in _METHODS:
            raise Refused(405, f"the method {method.decode('latin-1')[:20]!r} is not taken here", "method_not_allowed")
        if not self._target.startswith(b"/") or b"#" in self._target:
            raise Refused(400, "the request's target must be a path, such as /v1/models")
        if len(self._raw_headers) > self._limits.headers_max:
            raise Refused(431, f"there are more than {self._limits.headers_max} headers", "headers_too_large")
        self.old = version == "1.0"
        headers = self._headers()
        verb, target = method.decode("ascii"), self._target.decode("ascii")
        made = Head(
            verb,
            target,
            headers,
            body=self._limits.body_of(verb, target),
            keep=self.keep and not self.old,
            old=self.old,
            continues=self.continues,
        )
        if not self._chunked and not offered:
            self._heads.keep(head, made)
        return made

    def _feed(self, head: bytes) -> bool:
        """Parse a head; whether it offers to go on in another protocol."""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._target, self._done = b"", False
        self._parser = HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except HttpParserUpgrade:
            return True
        except HttpParserError as error:
            raise Refused(400, f"the request is not well formed: {str(error).lower()}") from None
        return False

    def _headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, and what those of framing say."""
        names, headers, hosts = self._names, [], []
        for raw, value in self._raw_headers:
            name, text = names[raw], value.decode("latin-1").rstrip(" \t")
            headers.append((name, text))
            if name == "content-length":
                self._length(text)
            elif name == "host":
                hosts.append(text)
            elif name == "transfer-encoding":
                if text.lower() != "chunked" or self._chunked or self.old:
                    raise Refused(400, "transfer-encoding must be chunked, once, in HTTP/1.1")
                self._chunked = True
            elif name == "expect":
                if text.lower() != "100-continue":
                    raise Refused(417, "expect must be 100-continue", "expectation_failed")
                self.continues = not self.old
        if len(hosts) > 1 or (not hosts and not self.old):
            raise Refused(400, "a request has exactly one host header")
        if hosts and _HOST.fullmatch(hosts[0]) is None:
            raise Refused(400, "the host header is not well formed")
        return tuple(headers)

    def _length(self, text: str) -> None:
        # The parser has refused anything but digits, and a second length.
        if len(text) > 15:
            raise Refused(400, "the content-length is too long")
        self._left = int(text)

    def _check_length(self) -> None:
        if self._left > self._body_bytes_max:
            raise self._too_large()

    def _too_large(self) -> Refused:
        most = self._body_bytes_max
        return Refused(413, f"the request's body is larger than {most >> 20} MiB", "request_too_large")

    # -- the body ----------------------------------------------------------------------------------------------------

    def _read_chunks(self, data: bytes) -> None:
        """Feed the parser up to where the body can end, each time, for it does not say where it did."""
        at, straddled = 0, 3 if self._held_bytes else 0
        while at < len(data) and not self._done:
            # The end may have begun in what was fed before: then its last bytes are among the first three.
            newline = data.find(b"\n", at, straddled) if at < straddled else -1
            end = data.find(_END, max(at - 3, 0)) + 4 if newline < 0 else newline + 1
            stop = end if newline >= 0 or end >= 4 else len(data)
            try:
                self._parser.feed_data(data[at:stop])
            except HttpParserError as error:
                raise Refused(400, f"the body is not well formed: {str(error).lower()}") from None
            self._held_bytes += stop - at
            at = stop
            if self._held_bytes > self._body_bytes_max:
                raise self._too_large()
        self._buffer = data[at:]

    # -- httptools calls these ---------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.request is None:  # else: a trailer, which nobody asked for
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.keep = self._parser.should_keep_alive()  # the parser knows it now, and not after the end

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self._done = True
