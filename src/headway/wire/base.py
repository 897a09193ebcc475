"""What a wire reader is. One file per format implements it; `wire.reader_for(path)` finds it.

Readers read; they never translate. They are stateless and pure: bytes in, frozen views out, no clock and no I/O.
A reader must survive any bytes: what it cannot read becomes an empty view, never an exception.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from headway.types import Answer, Headers, RequestView

__all__ = ["EventKind", "Reader", "StreamReader"]

EventKind: TypeAlias = Literal[
    "other",  # pings, created, role deltas
    "reasoning",  # thinking that the caller may see, but no answer yet
    "content",  # answer text, a refusal, or tool-call arguments
    "usage",  # carries usage and nothing else (the extra chunk of include_usage)
    "terminal",  # the answer's end
    "error",  # an error inside a 200
]


class StreamReader(Protocol):
    """Follows one stream. Feed it every event in order; ask `answer()` at any time."""

    def feed(self, event: bytes) -> EventKind:
        """Read one whole SSE event (its bytes, blank line included or not). Cheap once content was seen."""
        ...

    def answer(self) -> Answer:
        """What has been read so far; `complete` once the terminal event was seen."""
        ...


class Reader(Protocol):
    """Reads one wire format."""

    format: str
    """Its name, e.g. ``openai_chat``."""

    @property
    def bound_fields(self) -> tuple[str, ...]:
        """The request's fields that bound its output in tokens, the one to set first (`splice.with_output_bound`)."""
        ...

    def read_request(self, body: bytes, headers: Headers) -> RequestView:
        """Read what decisions need. Unreadable bodies give ``RequestView(format=..., reusable=False)``."""
        ...

    def canonical(self, body: bytes) -> bytes | None:
        """The body with object keys sorted and the deny-listed top-level fields dropped; None if unreadable.

        Source: FACTS section 5 (deny-list, so unknown fields always stay in the key; text is never normalised).
        """
        ...

    def read_answer(self, status: int, body: bytes) -> Answer:
        """Read a whole non-streamed answer, or an error body of any status."""
        ...

    def open_stream(self) -> StreamReader:
        """A fresh follower for one stream."""
        ...

    def text(self, body: bytes) -> str:
        """The answer's text out of a non-streamed body; "" if there is none."""
        ...

    def aggregate(self, sse: bytes) -> bytes | None:
        """The non-streamed body that a whole recorded stream amounts to; None if it is not whole."""
        ...

    def synthesize(self, body: bytes, *, usage: bool = False) -> list[bytes] | None:
        """The events of a stream that amounts to a whole answer: `aggregate` of them is that answer again.

        None where the format declares no such stream, or the answer holds what one could not carry. `usage`: with the
        extra usage event, in formats where it has to be asked for.
        """
        ...

    def ask_usage(self, body: bytes) -> bytes | None:
        """The body with usage asked for, by a span splice; None if it is there already or cannot be added.

        Where it returns bytes, events of kind "usage" are the extra chunk and are taken out of the stream again.
        """
        ...
