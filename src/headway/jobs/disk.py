"""What a journal asks of the file system, on systems that have it and on those that do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headway.errors import ConfigError

__all__ = ["LineReader", "lock", "read_at", "sync_folder", "write_at"]

_CHUNK_BYTES = 4096
_WINDOW_BYTES = 256 * 1024
"""What is read at once where lines are asked for in about their order; rows finish within less of their place."""


def lock(fd: int, path: Path) -> None:
    """Keep other runs out for as long as the file is open; systems without `fcntl` go without."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"{path} is in use by another run; wait for it, or choose another --out") from None


def sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as what is in it, where folders can be flushed."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass  # some file systems have no such thing
    finally:
        os.close(fd)


if sys.platform == "win32":

    def read_at(fd: int, size: int, offset: int) -> bytes:
        """As `os.pread`."""
        before = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)
        finally:
            os.lseek(fd, before, os.SEEK_SET)

    def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
        """As `os.pwrite`."""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)

else:
    read_at, write_at = os.pread, os.pwrite


class LineReader:
    """Lines of an append-only file by their offsets; cheap when neighbours are asked for one after the other.

    Args:
        fd: The file; lines that were given out by their offsets never change.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0
        self._window = b""
        self._last = 0

    def line(self, offset: int) -> memoryview | None:
        """The line that begins there, without its end; None when the file ends before it."""
        begin = offset - self._at
        end = self._window.find(b"\n", begin) if 0 <= begin < len(self._window) else -1
        if end >= 0:
            return memoryview(self._window)[begin:end]
        near = abs(offset - self._last) <= _WINDOW_BYTES
        self._last = offset
        read = read_at(self._fd, _WINDOW_BYTES if near else _CHUNK_BYTES, offset)
        while (end := read.find(b"\n")) < 0:
            chunk = read_at(self._fd, max(_CHUNK_BYTES, len(read)), offset + len(read))
            if not chunk:
                return None
            read += chunk
        if near:
            self._at, self._window = offset, read
        return memoryview(read)[:end]
