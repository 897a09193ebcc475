"""The call log: a row per caller and a row per try, in one SQLite file. Reports, metrics and advice read it.

No prompt and no answer is in it unless it is handed over; credentials are in it as digests only.
`call_reader` reads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from headway.store.database import DatabaseFile, Layout
from headway.store.rows import COLUMN_TYPES, columns_of, snapshot
from headway.store.writer import SqliteWriter, WriterSettings, log_warning
from headway.types import Trace

__all__ = ["LAYOUT", "CallLog"]

_COLUMNS = ", ".join(f'"{name}" {kind}' for name, kind in COLUMN_TYPES.items())
_PRUNE_ROWS_MAX = 2_000

LAYOUT = Layout(
    kind="call log",
    application_id=0x48574C31,  # "HWL1"
    version=1,
    older="keep",
    schema=tuple(
        statement.format(table=table, found_by=found_by, columns=_COLUMNS)
        for table, found_by in (("calls", "id"), ("attempts", "flight_id"))
        for statement in (
            "CREATE TABLE {table} (row INTEGER PRIMARY KEY, {columns})",
            "CREATE INDEX {table}_{found_by} ON {table} ({found_by})",
            "CREATE INDEX {table}_start ON {table} (start_wall_s)",
            "CREATE INDEX {table}_run ON {table} (run, start_wall_s) WHERE run != ''",
        )
    ),
)

_Taken: TypeAlias = tuple[tuple[Any, ...], str | None, str | None]


class CallLog:
    """Writes traces. What cannot be written is dropped and counted, and the calls go on.

    Args:
        path: The database file; made with mode 0600, its directory with 0700.
        rows_max: Rows kept in each of the two tables, > 0; the oldest go first.
        writer: Bounds and pace of the writer; `inline` under virtual time.
        on_error: Told one sentence, once, when the file fails.

    Raises:
        ConfigError: The path cannot be written, or the file is another program's or a newer Headway's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rows_max: int = 1_000_000,
        writer: WriterSettings | None = None,
        on_error: Callable[[str], None] = log_warning,
    ) -> None:
        file = DatabaseFile(Path(path), LAYOUT, on_error)
        file.open().close()
        self.path = file.path
        self._calls = _Table("calls", rows_max)
        self._attempts = _Table("attempts", rows_max)
        self._writer = SqliteWriter(file, writer, on_error=on_error)

    @property
    def dropped(self) -> int:
        """Rows that are not in the log: the queue was full, or the disk refused."""
        return self._writer.dropped

    def write(self, trace: Trace, prompt: str | None = None, answer: str | None = None) -> None:
        """Queue the trace's row, as the trace stands now; texts only where the user asked for them."""
        texts_bytes = (len(prompt) if prompt else 0) + (len(answer) if answer else 0)
        table = self._calls if trace.kind == "call" else self._attempts
        self._writer.submit(table, (snapshot(trace), prompt, answer), texts_bytes)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was written so far is on disk (or given up); False when that took longer."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what is queued and let go. Idempotent."""
        self._writer.close()


class _Table:
    """The sink of one table: inserts, and keeps it under its number of rows."""

    def __init__(self, name: str, rows_max: int) -> None:
        self._insert = f"INSERT INTO {name} VALUES (NULL{', ?' * len(COLUMN_TYPES)})"  # noqa: S608
        self._span = f"SELECT (SELECT min(row) FROM {name}), (SELECT max(row) FROM {name})"  # noqa: S608
        self._prune = f"DELETE FROM {name} WHERE row < ?"  # noqa: S608
        self._rows_max = rows_max

    def write(self, connection: sqlite3.Connection, rows: list[_Taken]) -> None:
        connection.executemany(self._insert, [columns_of(*row) for row in rows])
        oldest, youngest = connection.execute(self._span).fetchone()
        # Rows only ever go from the old end, so their numbers are gapless. In chunks: a smaller bound than
        # last time must not hold the lock for seconds.
        excess = min(youngest - oldest + 1 - self._rows_max, _PRUNE_ROWS_MAX)
        if excess > 0:
            connection.execute(self._prune, (oldest + excess,))

    def written(self, rows: list[_Taken]) -> None:
        pass
