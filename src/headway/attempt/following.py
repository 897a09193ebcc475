"""A stream followed event by event: what it says, and what of it the caller gets."""

from __future__ import annotations

from headway.types import Answer
from headway.wire.base import Reader
from headway.wire.event_text import event_text
from headway.wire.sse import EventSplitter

__all__ = ["Following"]


FRAME_SAMPLES = 3
TOKEN_BYTES = 4


class Following:
    """Reads a stream on its way through.

    Args:
        reader: Knows the format.
        strip: Whether usage was asked for by us: its extra event is then taken out again.
        event_bytes_max: A longer event is a `BadReply`.
    """

    __slots__ = (
        "_follower",
        "_frame_bytes",
        "_sampled",
        "_splitter",
        "_strip",
        "content_bytes",
        "content_seen",
        "failed",
        "reasoning_seen",
        "terminal",
        "usage_event",
    )

    def __init__(self, reader: Reader, *, strip: bool, event_bytes_max: int) -> None:
        self._follower = reader.open_stream()
        self._splitter = EventSplitter(event_bytes_max)
        self._strip = strip
        self._frame_bytes = 0
        self._sampled = 0
        self.content_bytes = 0
        """About as much as the answer says: events less what stands around their text."""
        self.content_seen = False
        self.reasoning_seen = False
        self.terminal = False
        self.failed = False
        """An error event came."""
        self.usage_event = b""

    def feed(self, chunk: bytes) -> bytes:
        """Read a chunk; the bytes to hand on."""
        kept = bytearray() if self._strip else None
        for event in self._splitter.feed(chunk):
            if self._read(event) and kept is not None:
                kept += event
        return chunk if kept is None else bytes(kept)

    def finish(self) -> bytes:
        """The stream is over: read what stands behind its last whole event; what of that is still to be handed on."""
        tail = self._splitter.tail()
        keep = self._read(tail) if tail else False
        return tail if keep and self._strip else b""

    def answer(self) -> Answer:
        """What has been read so far."""
        return self._follower.answer()

    def _read(self, event: bytes) -> bool:
        """Note what the event is; whether it is the caller's."""
        kind = self._follower.feed(event)
        if kind == "content":
            self.content_seen = True
            self._count(event)
        elif kind == "reasoning":
            self.reasoning_seen = True
        elif kind == "usage":
            self.usage_event = event
        elif kind == "terminal":
            self.terminal = True
        elif kind == "error":
            self.failed = True
        return kind != "usage"

    def _count(self, event: bytes) -> None:
        """Nobody tells the tokens of a stream that is cut short. What stands around its text is much, but always alike.

        It is measured on the first few events; an event says a token at least, whatever it is.
        """
        size_bytes = len(event)
        if self._sampled < FRAME_SAMPLES:
            frame_bytes = size_bytes - len(event_text(event))
            self._frame_bytes = frame_bytes if not self._sampled else min(self._frame_bytes, frame_bytes)
            self._sampled += 1
        self.content_bytes += max(TOKEN_BYTES, size_bytes - self._frame_bytes)
