"""What a journal asks of the file system, on systems that have it and on those that do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headway.errors import ConfigError

__all__ = ["lock", "read_at", "sync_folder", "write_at"]


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

    def write_at(fd: int, data: memoryview, offset: int) -> int:
        """As `os.pwrite`."""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)

else:
    read_at, write_at = os.pread, os.pwrite
