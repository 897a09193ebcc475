"""Server-sent events as bytes: where one event ends, and what its data is.

Nothing is rewritten: joined, the events and the tail are the input, byte for byte. Source: WHATWG HTML,
section 9.2 "Server-sent events": lines end in LF, CRLF or CR, a blank line ends an event, a byte-order mark
may come first.
"""

from __future__ import annotations

import re

from headway.errors import BadReply

__all__ = ["EventSplitter", "data_of", "datas_of"]

# Atomic groups: a CRLF is one line end and must never be taken for two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BLANK_LINE_BYTES_MAX = 4
_BOM = b"\xef\xbb\xbf"


class EventSplitter:
    """Cuts a stream into whole events, however its bytes are chunked.

    Args:
        event_bytes_max: The longest event that is taken, its blank line included, in bytes.
    """

    __slots__ = ("_buffer", "_event_bytes_max", "_has_cr", "_searched")

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._buffer = bytearray()
        self._searched = 0  # no blank line starts before this offset
        self._has_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes, each with its blank line.

        Raises:
            BadReply: An event is longer than `event_bytes_max`.
        """
        if not self._buffer and chunk.find(b"\n\n") == len(chunk) - 2 >= 0 and b"\r" not in chunk:
            self._check(len(chunk))
            return [chunk]  # most chunks are one event
        self._buffer += chunk
        self._has_cr = self._has_cr or b"\r" in chunk
        events = self._cut()
        for event in events:
            self._check(len(event))
        self._check(len(self._buffer))
        return events

    def tail(self) -> bytes:
        """What is left when the stream has ended: an event that lacks its blank line, or nothing.

        The standard discards it; most clients, the official SDKs among them, read it: feed it to the reader.
        """
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return rest

    def _cut(self) -> list[bytes]:
        buffer, events, start = self._buffer, [], 0
        while (found := self._blank_line(max(start, self._searched))) is not None:
            first, end = found
            if end == len(buffer) and buffer[-1] == 0x0D:
                self._searched = first  # the LF of a CRLF may be on its way: wait for it
                break
            events.append(bytes(buffer[start:end]))
            start = self._searched = end
        else:
            self._searched = max(start, len(buffer) - _BLANK_LINE_BYTES_MAX)
        if start:
            del buffer[:start]
            self._searched -= start
            self._has_cr = self._has_cr and b"\r" in buffer
        return events

    def _blank_line(self, start: int) -> tuple[int, int] | None:
        if self._has_cr:
            match = _BLANK_LINE.search(self._buffer, start)
            return match.span() if match else None
        at = self._buffer.find(b"\n\n", start)
        return None if at < 0 else (at, at + 2)

    def _check(self, size: int) -> None:
        if size > self._event_bytes_max:
            raise BadReply(
                f"the provider's stream holds an event of more than {self._event_bytes_max} bytes; "
                "raise reply_bytes_max if such events are expected",
                maybe_billed=True,
            )


def data_of(event: bytes) -> bytes:
    """The data of one event, its lines joined by LF; b"" when it has none (comments, pings)."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]
    data = []
    for line in event.removeprefix(_BOM).splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
    return b"\n".join(data)


def datas_of(sse: bytes) -> list[bytes]:
    """The data of every event of a whole recorded stream, events without any left out, an unfinished last one kept."""
    splitter = EventSplitter(max(1, len(sse)))
    return [data for event in [*splitter.feed(sse), splitter.tail()] if (data := data_of(event))]
