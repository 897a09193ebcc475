"""Many rows in one statement: the interpreter lock changes hands a few times per batch, not twice per row.

A thread that runs `executemany` beside a busy event loop waits up to a switch interval (5 ms) for the lock after
every row. One ``INSERT ... SELECT ... FROM (VALUES (?, ?), ...)`` steps through its rows with the lock released once.
"""

from __future__ import annotations

import sqlite3
from typing import Any

__all__ = ["BULK_ROWS", "BulkInsert"]

BULK_ROWS = 512
"""Rows to convert and insert at a time: the event loop waits for the lock while they are converted, about 1 ms."""

_ROWS_MIN = 8


class BulkInsert:
    """One INSERT for rows of a fixed number of columns. The first column must never be the integer 0.

    Args:
        into: The statement's head, e.g. "INSERT INTO t (a, b)".
        columns: Values per row.
        tail: What follows, e.g. an ON CONFLICT clause.

    Prefer `bytearray` to `bytes` and avoid None and bool: for these the sqlite3 module looks for an adapter, at
    about 0.3 us a value.
    """

    def __init__(self, into: str, columns: int, tail: str = "") -> None:
        self._into = into
        self._tail = tail
        self._columns = columns
        self._statements: dict[int, str] = {}  # few: numbers of rows are powers of two, so that sqlite3 keeps them

    def execute(self, connection: sqlite3.Connection, values: list[Any]) -> None:
        """Insert rows, given one after the other in one flat list."""
        columns = self._columns
        rows_max = min(BULK_ROWS, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // columns)
        for start in range(0, len(values), rows_max * columns):
            chunk = values[start : start + rows_max * columns]
            count = len(chunk) // columns
            rows = max(_ROWS_MIN, 1 << (count - 1).bit_length())
            rows = count if rows > rows_max else rows
            chunk += [0] * ((rows - count) * columns)
            connection.execute(self._statements.get(rows) or self._statement(rows), chunk)

    def _statement(self, rows: int) -> str:
        marks = f"({', '.join('?' * self._columns)})"
        values = ", ".join([marks] * rows)
        sql = f"{self._into} SELECT * FROM (VALUES {values}) WHERE column1 IS NOT 0 {self._tail}"  # noqa: S608
        self._statements[rows] = sql
        return sql
