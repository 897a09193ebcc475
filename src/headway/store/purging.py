"""Which entries of a cache file are meant, and how they are taken out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3

    from headway.store.base import Entry

__all__ = ["Purging", "Selection"]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Entries that meet every condition given; without any, all of them. Times are Unix seconds."""

    expired_before_wall_s: float | None = None
    """Gone by then: past the time in which they may stand in for a provider that fails."""
    stored_before_wall_s: float | None = None
    model: str | None = None
    key_prefix: str | None = None
    """The first hex digits of the key."""

    def matches(self, key: bytes, entry: Entry) -> bool:
        """Whether an entry is meant."""
        return (
            (self.expired_before_wall_s is None or entry.stale_until_wall_s < self.expired_before_wall_s)
            and (self.stored_before_wall_s is None or entry.stored_wall_s < self.stored_before_wall_s)
            and (self.model is None or entry.model == self.model)
            and (self.key_prefix is None or key.hex().startswith(self.key_prefix.lower()))
        )

    def where(self) -> tuple[str, list[Any]]:
        """As SQL: a condition over `entries`, and its values."""
        clauses: list[tuple[str, Any]] = []
        if self.expired_before_wall_s is not None:
            clauses.append(("stale_until < ?", self.expired_before_wall_s))
        if self.stored_before_wall_s is not None:
            clauses.append(("stored < ?", self.stored_before_wall_s))
        if self.model is not None:
            clauses.append(("model = ?", self.model))
        if self.key_prefix is not None:
            clauses.append(("substr(hex(key), 1, length(?)) = ?", self.key_prefix.upper()))
        sql, values = [], []
        for clause, value in clauses:
            sql.append(clause)
            values += [value] * clause.count("?")
        return " AND ".join(sql) or "1", values


class Purging:
    """The sink that deletes: a row is a `Selection`."""

    def write(self, connection: sqlite3.Connection, rows: list[Selection]) -> None:
        """Delete; the freed pages are given back to the disk."""
        for selection in rows:
            where, values = selection.where()
            connection.execute(f"DELETE FROM entries WHERE {where}", values)  # noqa: S608
        (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
        for _ in range(pages):  # the pragma frees a page per step, and the sqlite3 module steps it only once
            connection.execute("PRAGMA incremental_vacuum")

    def written(self, rows: list[Selection]) -> None:
        """Nothing waits for it."""
