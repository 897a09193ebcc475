"""A stream for lines that nobody may wait for: whoever reads it may be slow, or may have gone.

A pipe that is not read and a terminal held by Ctrl-S stop whoever writes to them, for as long as they like. Lines for
such a stream are written by a thread of their own, straight to its descriptor: of a few of them, as the rest is left
out and counted. The thread ends when nothing has come for a while.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
from collections import deque
from contextlib import suppress
from typing import Final, TextIO

__all__ = ["HELD_CHARS_MAX", "Steady"]

HELD_CHARS_MAX: Final = 1 << 20
"""What waits for a reader: some two thousand lines."""
LINGER_S: Final = 1.0
"""A thread takes longer to start than a line to write."""
END_S: Final = 1.0
"""How long the end of the process waits for a reader."""


class Steady:
    """Takes lines. Never fails, and never waits where the stream has a descriptor; one in memory is written at once.

    Args:
        stream: Where they go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._lines: deque[str] = deque()
        self._chars = 0
        self._lost = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Have a line written, its end included."""
        if self._descriptor is None:
            with suppress(OSError, ValueError):  # gone, or closed
                self._stream.write(text)
            return
        with self._changed:
            if self._chars + len(text) > HELD_CHARS_MAX:
                self._lost += 1
                return
            self._lines.append(text)
            self._chars += len(text)
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():  # a forked process has none
                with suppress(RuntimeError):  # no thread is left, or the interpreter ends: the next line tries again
                    thread = threading.Thread(target=self._run, name="headway-stderr", daemon=True)
                    thread.start()
                    self._thread = thread
                    atexit.register(self._settle)

    def flush(self) -> None:
        """Nothing to do: a line goes out as soon as it can."""

    def lost(self) -> int:
        """How many lines had no room since this was asked for, once there is room again; 0 until then."""
        if not self._lost or self._chars > HELD_CHARS_MAX // 2:
            return 0
        with self._changed:
            lost, self._lost = self._lost, 0
            return lost

    def _settle(self) -> None:
        """The end of the process: what is still held has a moment."""
        with self._changed:
            self._changed.wait_for(lambda: not self._chars, END_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._lines and not self._changed.wait_for(lambda: bool(self._lines), LINGER_S):
                    self._thread = None
                    atexit.unregister(self._settle)
                    return
                text = self._lines.popleft()
            self._put(text.encode("utf-8", "backslashreplace"))
            with self._changed:
                self._chars -= len(text)
                self._changed.notify_all()

    def _put(self, data: bytes) -> None:
        """A line in one piece as far as the system has it: several workers write to one pipe."""
        descriptor = self._descriptor
        assert descriptor is not None
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # somebody who shares it has set it to not wait
                select.select([], [descriptor], [])
            except OSError:
                return


def _descriptor_of(stream: TextIO) -> int | None:
    """What may make a writer wait."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
