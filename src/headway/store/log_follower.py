"""Rows of a call log by their numbers, for whoever follows it while it is written: little work a row, no copies.

Row numbers ascend with the commits of all processes that write, and rows only ever go from the old end, so "all after
number n" misses nothing. Another file in the log's place is another log: `number` says so.

The dashboard's process folds a hundred thousand rows a second through here, so rows are given as they are kept
(`rows.Taken`), without the seven microseconds that `rows.row_of` takes. Whoever changes how rows are kept changes this.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from headway.errors import ConfigError
from headway.store.call_log import LAYOUT
from headway.store.database import DatabaseFile
from headway.store.rows import Taken, taken
from headway.store.writer import log_warning

__all__ = ["LogFollower", "Table"]

Table: TypeAlias = Literal["calls", "attempts"]


class LogFollower:
    """A call log that may not be there (yet), may be replaced, and is being written. Nothing here raises.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = DatabaseFile(Path(path), LAYOUT, log_warning)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self.number = 0
        """How many logs there have been: with another number, nothing of what was read before holds."""
        self.problem = ""
        """Why there is none, in one sentence; "" where there is."""

    def look(self) -> bool:
        """Whether there is a log to be read now; opens it where it is new or another."""
        inode = self._file.inode()
        if self._connection is not None and inode == self._inode:
            return True
        self.close()
        if not inode:
            self.problem = f"There is no call log at {self._file.path}."
            return False
        try:
            connection = self._file.open_to_read()
        except sqlite3.Error as problem:
            self.problem = f"The call log {self._file.path} cannot be read ({problem})."
            return False
        try:
            current = self._file.is_current(connection)
            self.problem = "" if current else f"The call log {self._file.path} is empty or of an older schema."
        except ConfigError as problem:
            current, self.problem = False, str(problem)
        except sqlite3.Error as problem:
            current, self.problem = False, f"The call log {self._file.path} cannot be read ({problem})."
        if not current:
            connection.close()
            return False
        self._connection, self._inode = connection, inode
        self.number += 1
        return True

    def last(self, table: Table) -> int:
        """The number of the youngest row; 0 where there is none."""
        found = self._rows(f"SELECT max(row), '' FROM {table}_data", ())  # noqa: S608 - our own words
        return found[0][0] or 0 if found else 0

    def after(self, table: Table, row: int, limit: int) -> tuple[int, list[Taken]]:
        """Rows after a number, oldest first, and the number of the last of them (`row` where there is none)."""
        sql = f"SELECT row, data FROM {table}_data WHERE row > ? ORDER BY row LIMIT ?"  # noqa: S608
        found = self._rows(sql, (row, limit))
        return (found[-1][0] if found else row), _decoded(found)

    def before(self, table: Table, row: int, limit: int) -> tuple[int, list[Taken]]:
        """Rows before a number, youngest first, and the number of the last of them (0 where there is none)."""
        sql = f"SELECT row, data FROM {table}_data WHERE row < ? ORDER BY row DESC LIMIT ?"  # noqa: S608
        found = self._rows(sql, (row, limit))
        return (found[-1][0] if found else 0), _decoded(found)

    def row_of(self, call_id: str) -> int:
        """The number of a call; 0 where it is not in the log."""
        found = self._rows("SELECT row, '' FROM calls_data WHERE id = ? LIMIT 1", (call_id,))
        return found[0][0] if found else 0

    def close(self) -> None:
        """Let go. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[int, str]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as problem:
            # Broken, locked for long, or changed under us: looked at anew next time.
            self.problem = f"The call log {self._file.path} cannot be read ({problem})."
            self.close()
            return []


def _decoded(rows: list[tuple[int, str]]) -> list[Taken]:
    try:
        return [taken(data) for _, data in rows]
    except msgspec.MsgspecError:
        pass
    found = []
    for _, data in rows:
        try:
            found.append(taken(data))
        except msgspec.MsgspecError:
            continue
    return found
