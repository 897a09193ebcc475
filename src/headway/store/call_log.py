"""The call log: a row per caller, per try and per step of a pipeline, in one SQLite file. Reports and advice read it.

No prompt and no answer is in it unless it is handed over; credentials are in it as digests only.
`call_reader` reads it; for SQL by hand there are three views, `calls` and `attempts` with the columns of `LogRow`, and
`steps` with those of `types.steps.StepRow`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headway.store.bulk import BULK_ROWS, BulkInsert
from headway.store.database import DatabaseFile, Layout
from headway.store.rows import SNAPSHOT, VIEW_COLUMNS, encoded, snapshot
from headway.store.step_rows import STEPS, step_values
from headway.store.writer import SqliteWriter, WriterSettings, log_warning
from headway.types import Trace
from headway.types.steps import StepRow

__all__ = ["LAYOUT", "CallLog"]

_PRUNE_ROWS_MAX = 20_000
_START_WALL_S, _TAGS = SNAPSHOT.index("start_wall_s"), SNAPSHOT.index("tags")


def _view(table: str, found_by: str) -> str:
    shown = {**VIEW_COLUMNS, found_by: found_by}
    columns = ", ".join(f'{sql} AS "{name}"' for name, sql in shown.items())
    return f"CREATE VIEW {table} AS SELECT row AS rowid, {columns} FROM {table}_data"  # noqa: S608 - our own words


LAYOUT = Layout(
    kind="call log",
    application_id=0x48574C31,  # "HWL1"
    version=2,
    older="keep",
    additions=STEPS,
    schema=tuple(
        statement
        for table, found_by in (("calls", "id"), ("attempts", "flight_id"))
        for statement in (
            f"""CREATE TABLE {table}_data (row INTEGER PRIMARY KEY, {found_by} TEXT NOT NULL,
                start_wall_s REAL NOT NULL, run TEXT NOT NULL, data TEXT NOT NULL)""",
            f"CREATE INDEX {table}_{found_by} ON {table}_data ({found_by})",
            f"CREATE INDEX {table}_start ON {table}_data (start_wall_s)",
            f"CREATE INDEX {table}_run ON {table}_data (run, start_wall_s) WHERE run != ''",
            _view(table, found_by),
        )
    ),
)


class CallLog:
    """Writes traces. What cannot be written is dropped and counted, and the calls go on.

    Args:
        path: The database file; made with mode 0600, its directory with 0700.
        rows_max: Rows kept in each of the tables, > 0; the oldest go first.
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
        self._calls = _Table("calls", "id", rows_max)
        self._attempts = _Table("attempts", "flight_id", rows_max)
        self._steps = _Steps(rows_max)
        self._writer = SqliteWriter(file, writer, on_error=on_error)
        self._submit = self._writer.submit

    @property
    def dropped(self) -> int:
        """Rows that are not in the log: the queue was full, or the disk refused."""
        return self._writer.dropped

    def write(self, trace: Trace, prompt: str | None = None, answer: str | None = None) -> None:
        """Queue the trace's row, as the trace stands now; texts only where the user asked for them."""
        table = self._calls if trace.kind == "call" else self._attempts
        # Block hashes that are made late keep the body until then.
        size_bytes = 0 if type(trace.block_hashes) is tuple else trace.body_bytes
        if prompt is None and answer is None:
            self._submit(table, snapshot(trace), size_bytes)
        else:
            size_bytes += len(prompt or "") + len(answer or "")
            self._submit(table, (*snapshot(trace), prompt, answer), size_bytes)

    def write_steps(self, rows: Sequence[StepRow]) -> None:
        """Queue the rows of a pipeline's run."""
        for row in rows:
            self._submit(self._steps, row)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was written so far is on disk (or given up); False when that took longer."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what is queued and let go. Idempotent."""
        self._writer.close()


class _Table:
    """The sink of one table: inserts, and keeps it under its number of rows."""

    def __init__(self, name: str, found_by: str, rows_max: int) -> None:
        self._found_by = SNAPSHOT.index(found_by)
        self._insert = BulkInsert(f"INSERT INTO {name}_data ({found_by}, start_wall_s, run, data)", 4)
        self._bound = _Bound(name, rows_max)

    def write(self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        found_by = self._found_by
        for start in range(0, len(rows), BULK_ROWS):
            values: list[Any] = []
            for row in rows[start : start + BULK_ROWS]:
                values += (row[found_by], row[_START_WALL_S], row[_TAGS].run, encoded(row).decode())
            self._insert.execute(connection, values)
        self._bound.keep(connection)

    def written(self, rows: list[tuple[Any, ...]]) -> None:
        pass


class _Steps:
    """The sink of steps."""

    def __init__(self, rows_max: int) -> None:
        self._insert = BulkInsert("INSERT INTO steps_data (pipeline, run, start_wall_s, data)", 4)
        self._bound = _Bound("steps", rows_max)

    def write(self, connection: sqlite3.Connection, rows: list[StepRow]) -> None:
        for start in range(0, len(rows), BULK_ROWS):
            self._insert.execute(connection, [v for row in rows[start : start + BULK_ROWS] for v in step_values(row)])
        self._bound.keep(connection)

    def written(self, rows: list[StepRow]) -> None:
        pass


class _Bound:
    """How many rows a table keeps."""

    def __init__(self, name: str, rows_max: int) -> None:
        self._span = f"SELECT (SELECT min(row) FROM {name}_data), (SELECT max(row) FROM {name}_data)"  # noqa: S608
        self._prune = f"DELETE FROM {name}_data WHERE row < ?"  # noqa: S608
        self._rows_max = rows_max

    def keep(self, connection: sqlite3.Connection) -> None:
        """Take away the oldest beyond that."""
        oldest, youngest = connection.execute(self._span).fetchone()
        # Rows only ever go from the old end, so their numbers are gapless. In chunks: a smaller bound than
        # last time must not hold the lock for seconds.
        excess = min(youngest - oldest + 1 - self._rows_max, _PRUNE_ROWS_MAX)
        if excess > 0:
            connection.execute(self._prune, (oldest + excess,))
