"""A cache file looked at from outside: what is in it, and how much it served. For the command line, not the engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from headway.errors import ConfigError
from headway.store.base import Entry
from headway.store.database import DatabaseFile
from headway.store.entries import LAYOUT, EntryCodec
from headway.store.purging import Purging, Selection

__all__ = ["CacheFile", "CacheRow", "CacheTotals"]


class CacheTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One file's figures. Hits and misses are counted over all processes, when they close their engines."""

    entries: int
    bytes_used: int
    hits: int
    misses: int
    saved_dollars: float


class CacheRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, with its body."""

    key: bytes
    size_bytes: int
    used: bool
    """Served since the eviction's hand last came by."""
    parts: bytes
    entry: Entry


_ROWS = (
    "SELECT key, size, hits.id IS NOT NULL, parts, codec, answer FROM entries LEFT JOIN hits ON hits.id = entries.id"
)


class CacheFile:
    """An existing cache file.

    Raises:
        ConfigError: There is none at that path, or it is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = DatabaseFile(path, LAYOUT, lambda _: None)
        self._codec = EntryCodec()
        if not path.exists():
            raise ConfigError(f"there is no cache at {path}; name one with --file, or run something with cache = true")
        try:
            self._connection = self._file.open_to_read()
            if not self._file.is_current(self._connection):
                self._connection.close()
                raise ConfigError(f"{path} is no cache of this version of Headway; it is made anew when next used")
        except sqlite3.Error as problem:
            raise ConfigError(f"{path} cannot be read ({problem}); name a cache file") from problem

    def totals(self) -> CacheTotals:
        """The file's figures."""
        names = CacheTotals.__struct_fields__
        row = self._connection.execute("SELECT entries, bytes, hits, misses, saved_dollars FROM state").fetchone()
        return CacheTotals(**dict(zip(names, row, strict=True)))

    def rows(self, selection: Selection | None = None, limit: int = 100) -> Iterator[CacheRow]:
        """The youngest entries that are selected, with their bodies, one at a time."""
        where, values = (selection or Selection()).where()
        for key, size, used, parts, codec, answer in self._connection.execute(
            f"{_ROWS} WHERE {where} ORDER BY stored DESC, entries.id DESC LIMIT ?",
            [*values, limit],
        ):
            entry = self._codec.unpack(codec, answer)
            if entry is not None:
                yield CacheRow(key=key, size_bytes=size, used=bool(used), parts=parts, entry=entry)

    def count(self, selection: Selection) -> tuple[int, int]:
        """(entries, bytes) that are selected."""
        where, values = selection.where()
        sql = f"SELECT count(*), coalesce(sum(size), 0) FROM entries WHERE {where}"  # noqa: S608
        entries, size = self._connection.execute(sql, values).fetchone()
        return entries, size

    def purge(self, selection: Selection) -> None:
        """Delete what is selected, and give the space back.

        Raises:
            ConfigError: The file cannot be written.
        """
        connection = self._file.open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                Purging().write(connection, [selection])
        except sqlite3.Error as problem:
            raise ConfigError(f"{self.path} cannot be written ({problem}); try again when it is not busy") from problem
        finally:
            connection.close()

    def close(self) -> None:
        """Let go. Idempotent."""
        self._connection.close()

    def __enter__(self) -> CacheFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
