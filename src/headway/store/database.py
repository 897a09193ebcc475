"""Opening a SQLite file of our own: made when missing, refused when not ours, set aside when broken.

What cannot be opened for a reason the user can mend (a path, a right, a newer schema) raises `ConfigError`.
What is broken is renamed to ``<name>.corrupt`` (one is kept), reported, and made anew: neither a cache nor a
log is worth a crash. A file that does not begin as SQLite's do is not broken but somebody's, and stays. Files are
made with mode 0600, their directory with 0700; SQLite gives its side files the same mode.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from headway.errors import ConfigError

__all__ = ["DatabaseFile", "Layout", "is_corruption"]

_WRITE_BUSY_S = 5.0
_READ_BUSY_S = 0.05  # readers only ever wait while a crashed process's log is being recovered
_WAL_BYTES_MAX = 16 * 1024 * 1024
_MAGIC = b"SQLite format 3\0"
"""How every SQLite file begins: https://www.sqlite.org/fileformat2.html#the_database_header"""
_MARKS = """SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_schema)"""  # in one statement: another process may be making the schema just now
_CORRUPTION = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of one kind looks like inside."""

    kind: str
    """What users call it, e.g. "cache"."""
    application_id: int
    """Marks the file as ours (PRAGMA application_id), so that another program's database is never touched."""
    version: int
    """PRAGMA user_version, >= 1."""
    schema: tuple[str, ...]
    """The statements that make it."""
    additions: Mapping[str, tuple[str, ...]] = {}
    """What came to a version later, by the name of a table, index or view that it makes: the statements to run where
    that is missing. Older Headways do not mind it."""
    older: Literal["drop", "keep"]
    """What becomes of an older version: contents dropped, or renamed to ``<name>.v<version>``."""
    page_bytes: int = 4096
    """Of a file that is new. Large pages suit rows that come one after the other."""


def is_corruption(problem: Exception) -> bool:
    """Whether SQLite says that the file itself is broken."""
    return isinstance(problem, sqlite3.Error) and getattr(problem, "sqlite_errorcode", 0) & 0xFF in _CORRUPTION


class DatabaseFile:
    """A path, and what is expected to be there. Holds no connection.

    Args:
        path: The file; its directory is made if need be.
        layout: What it holds.
        warn: Told one sentence when a file was set aside.
    """

    def __init__(self, path: Path, layout: Layout, warn: Callable[[str], None]) -> None:
        self.path = path
        self._layout = layout
        self._warn = warn

    def inode(self) -> int:
        """Which file stands at the path now; 0 when there is none."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def open(self, *, broken_inode: int = 0) -> sqlite3.Connection:
        """A connection in autocommit mode for writing: WAL, synchronous=NORMAL, schema in place.

        Args:
            broken_inode: The file that was found broken; set aside first if it still stands at the path.

        Raises:
            ConfigError: The path cannot be written, or the file is no database, another program's or a newer
                Headway's.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _others_kept_out(self.path.parent):
                if broken_inode and broken_inode == self.inode():
                    self._set_aside_broken()
                try:
                    return self._prepared()
                except sqlite3.DatabaseError as problem:
                    if not is_corruption(problem):
                        raise
                self._set_aside_broken()
                return self._prepared()
        except (OSError, sqlite3.Error) as problem:
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
            raise ConfigError(
                f"The {self._layout.kind} {self.path} cannot be opened ({reason}); name a writable path."
            ) from problem

    def open_to_read(self) -> sqlite3.Connection:
        """A connection that cannot write, for inline reads. Raises `sqlite3.Error`."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_READ_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only = 1")
        return connection

    def is_current(self, connection: sqlite3.Connection) -> bool:
        """Whether the schema stands; False for none or an older one. Raises `ConfigError` if not ours."""
        layout = self._layout
        application_id, version, tables = connection.execute(_MARKS).fetchone()
        if not tables and not application_id:
            return False
        if application_id != layout.application_id:
            raise ConfigError(
                f"{self.path} is another program's database, not a Headway {layout.kind}; name another path."
            )
        if version > layout.version:
            raise ConfigError(
                f"The {layout.kind} {self.path} has schema {version}, newer than this Headway's "
                f"{layout.version}; upgrade Headway or name another path."
            )
        return bool(version == layout.version)

    def _prepared(self) -> sqlite3.Connection:
        self._make_empty()
        connection = sqlite3.connect(self.path, timeout=_WRITE_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self.is_current(connection)  # before anything is changed: it may be another program's
            connection.execute(f"PRAGMA page_size = {self._layout.page_bytes}")  # of an empty file only
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
            older = 0 if self.is_current(connection) else self._lay_out(connection)
            if not older:
                self._add(connection)
        except BaseException:
            connection.close()
            raise
        if not older:
            return connection
        connection.close()
        self._set_aside(f".v{older}")
        self._warn(f"The {self._layout.kind} {self.path} had an older schema; it is now {self.path.name}.v{older}.")
        return self._prepared()

    def _make_empty(self) -> None:
        """Make the file when there is none, readable by its owner only.

        An existing one is never opened here: closing any descriptor of a file takes away all locks that this
        process's other connections hold on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        try:
            os.close(os.open(os.path.realpath(self.path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    def _lay_out(self, connection: sqlite3.Connection) -> int:
        """Make the schema, dropping an older one; return the version of one that is to be kept, else 0."""
        layout = self._layout
        connection.execute("BEGIN IMMEDIATE")
        with connection:  # commits, or rolls back
            if self.is_current(connection):  # another process was quicker
                return 0
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version and layout.older == "keep":
                return version
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
            for (name,) in names.fetchall():
                connection.execute(f'DROP TABLE "{name}"')
            for statement in (*layout.schema, *chain.from_iterable(layout.additions.values())):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {layout.application_id}")
            connection.execute(f"PRAGMA user_version = {layout.version}")
        return 0

    def _add(self, connection: sqlite3.Connection) -> None:
        """Make what is missing of the layout's additions; several processes may do so at once."""
        if not self._missing(connection):
            return
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for name in self._missing(connection):
                for statement in self._layout.additions[name]:
                    connection.execute(statement)

    def _missing(self, connection: sqlite3.Connection) -> list[str]:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        return [name for name in self._layout.additions if name not in there]

    def _set_aside_broken(self) -> None:
        try:
            with self.path.open("rb") as file:
                head = file.read(len(_MAGIC))
        except FileNotFoundError:
            return  # another process was quicker
        if head and head != _MAGIC:
            raise ConfigError(
                f"{self.path} is no database, so it is no Headway {self._layout.kind}; name another path, or move it."
            )
        self._set_aside(".corrupt")
        self._warn(
            f"The {self._layout.kind} {self.path} was broken; it was renamed to "
            f"{self.path.name}.corrupt, and a new one was made."
        )

    def _set_aside(self, suffix: str) -> None:
        """Rename the file and its write-ahead log; processes that have it open keep it under its new name."""
        for side in ("", "-wal"):
            old = Path(f"{self.path}{side}")
            if old.exists():
                old.replace(f"{self.path}{suffix}{side}")
        Path(f"{self.path}-shm").unlink(missing_ok=True)


@contextmanager
def _others_kept_out(folder: Path) -> Iterator[None]:
    """Let one process or thread at a time open files of a folder: one that sets a file aside must be alone.

    Otherwise a second one sets aside what the first has made since, or loses its new write-ahead log to the first.
    SQLite's own locks go away with the file. Where folders cannot be locked, or somebody else holds this one's lock
    for long, we go without: all but setting aside is safe then too.
    """
    if sys.platform == "win32":
        yield  # a file that is open cannot be renamed there
        return
    import fcntl

    fd = -1
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        until_s = time.monotonic() + _WRITE_BUSY_S
        while time.monotonic() < until_s:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.005)
    try:
        yield
    finally:
        if fd >= 0:
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was forked meanwhile holds the descriptor too
            os.close(fd)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Processes that do so at once are told "locked" without waiting: we wait."""
    for _ in range(100):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA journal_mode = WAL")
