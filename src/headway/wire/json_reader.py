"""The base of the readers: what they do alike, so that a format's own file says only what is its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from headway.types import Answer, Headers, RequestView
from headway.wire.base import StreamReader
from headway.wire.decoding import UNREADABLE, canonical
from headway.wire.provider_errors import read_error

__all__ = ["JsonReader", "judged"]


class JsonReader(ABC):
    """Implements `wire.base.Reader` but for what a format must say itself, and survives any bytes.

    The methods that a format fills in may raise whatever decoding raises (`UNREADABLE`); it is caught here.
    """

    format: str = ""
    bound_fields: tuple[str, ...] = ()

    @abstractmethod
    def _view(self, body: bytes) -> RequestView:
        """What `read_request` returns of a readable body."""

    @abstractmethod
    def _judge(self, body: bytes, may_be_kept: bool) -> Answer:
        """What `read_answer` returns of a readable body; `may_be_kept` is whether the status was 200."""

    @abstractmethod
    def open_stream(self) -> StreamReader:
        """See `Reader.open_stream`."""

    @abstractmethod
    def _text(self, body: bytes) -> str:
        """The answer's text out of a readable body."""

    def _strip_markers(self, tree: dict[str, Any]) -> None:  # noqa: B027
        """Take cache breakpoints out of the decoded request, in place. Formats without any leave it."""

    def read_request(self, body: bytes, headers: Headers) -> RequestView:
        """See `Reader.read_request`. Prefix hashes are `wire.blocks`' business, on demand."""
        try:
            return self._view(body)
        except UNREADABLE:
            return RequestView(format=self.format, why_not_reusable="unreadable body")

    def canonical(self, body: bytes) -> bytes | None:
        """See `Reader.canonical`."""
        return canonical(body, self._strip_markers)

    def read_answer(self, status: int, body: bytes) -> Answer:
        """See `Reader.read_answer`."""
        if status >= 300:
            return Answer(complete=True, error=read_error(status, body))
        return judged(self._judge, body, may_be_kept=status == 200)

    def text(self, body: bytes) -> str:
        """See `Reader.text`."""
        try:
            return self._text(body)
        except UNREADABLE:
            return ""

    def aggregate(self, sse: bytes) -> bytes | None:
        """See `Reader.aggregate`. Formats that are never streamed leave it."""
        return None

    def synthesize(self, body: bytes, *, usage: bool = False) -> list[bytes] | None:
        """See `Reader.synthesize`. Formats that declare none leave it."""
        return None

    def ask_usage(self, body: bytes) -> bytes | None:
        """None: most formats' streams always carry their usage."""
        return None


def judged(judge: Callable[[bytes, bool], Answer], body: bytes, *, may_be_kept: bool) -> Answer:
    """What `judge` makes of `body`; of bytes that it cannot decode, an answer that is never kept."""
    try:
        return judge(body, may_be_kept)
    except msgspec.ValidationError:
        return Answer(complete=True)  # JSON, of a shape we do not know: handed on, never kept
    except UNREADABLE:
        return Answer()
