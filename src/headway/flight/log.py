"""The chunks of an answer in the order they came, each until nobody needs it any more."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ChunkLog"]


TRIM_CHUNKS = 32
"""Fewer are not worth moving the rest for."""


class ChunkLog:
    """Append-only at the end, trimmed at the front; places are counted from the first chunk ever."""

    __slots__ = ("_chunks", "_clock", "_ends", "bytes_logged", "first", "times_s")

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self.times_s: list[float] = []
        """When each chunk that is held came; empty without a clock."""
        self._chunks: list[bytes] = []
        self._ends: list[int] = []  # bytes up to and with each chunk, so that a lag is one subtraction
        self.bytes_logged = 0
        self.first = 0
        """The place of the first chunk that is still held."""

    @property
    def end(self) -> int:
        """The place behind the last chunk."""
        return self.first + len(self._chunks)

    def append(self, chunk: bytes) -> None:
        """Add a chunk."""
        self.bytes_logged += len(chunk)
        self._chunks.append(chunk)
        self._ends.append(self.bytes_logged)
        if self._clock is not None:
            self.times_s.append(self._clock())

    def at(self, place: int) -> bytes | None:
        """The chunk at that place; None while there is none yet."""
        index = place - self.first
        return self._chunks[index] if index < len(self._chunks) else None

    def lag_bytes(self, place: int) -> int:
        """How many bytes a reader at that place has still before it."""
        index = place - self.first
        return self.bytes_logged - (self._ends[index - 1] if index > 0 else self._start())

    def trim(self, place: int) -> None:
        """Let go of what lies before that place, now and then."""
        count = place - self.first
        if count < TRIM_CHUNKS:
            return
        del self._chunks[:count], self._ends[:count], self.times_s[:count]
        self.first = place

    def arrivals(self) -> list[tuple[int, float]]:
        """(bytes up to and with it, when it came) of each chunk; of a log that was never trimmed."""
        return list(zip(self._ends, self.times_s, strict=False))

    def body(self) -> bytes:
        """All that is held, in one piece."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _start(self) -> int:
        return self._ends[0] - len(self._chunks[0]) if self._chunks else self.bytes_logged
