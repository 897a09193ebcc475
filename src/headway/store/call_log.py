"""The call log: a row per caller, per try and per step of a pipeline, in one SQLite file. Reports and advice read it.

No prompt and no answer is in it unless it is handed over; credentials are in it as digests only.
`call_reader` reads it; for SQL by hand there are three views (`log_layout`).

A try waits in the queue like any other row. Where its caller ends before it is written, and it was the only one, both
become one row (`rows.folded`): at thousands of calls a second that halves what there is to be written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from headway.store.bulk import BULK_ROWS, BulkInsert
from headway.store.database import DatabaseFile
from headway.store.log_layout import LAYOUT
from headway.store.rows import SNAPSHOT, Tried, encoded, folded, snapshot
from headway.store.step_rows import step_values
from headway.store.writer import SqliteWriter, WriterSettings, log_warning
from headway.types import Trace
from headway.types.steps import StepRow

__all__ = ["LAYOUT", "CallLog"]

_PRUNE_ROWS_MAX = 20_000
_ID, _FLIGHT_ID, _START_WALL_S, _TAGS, _ATTEMPT_INDEX, _HASHES = map(
    SNAPSHOT.index, ("id", "flight_id", "start_wall_s", "tags", "attempt_index", "block_hashes")
)
_TRIED_HASHES = Tried.__struct_fields__.index("block_hashes")
_Texts: TypeAlias = tuple[()] | tuple[str | None, str | None]
_Columns: TypeAlias = tuple[str, float, str, Any, float | None]
"""Of a call: id, start_wall_s, run, data (or what is to be `encoded`), try_wall_s."""


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
        self._calls = _Calls(rows_max)
        self._steps = _Steps(rows_max)
        self._held = self._calls.held
        self._writer = SqliteWriter(file, writer, on_error=on_error, forked=self._held.clear)
        self._submit = self._writer.submit

    @property
    def dropped(self) -> int:
        """Rows that are not in the log: the queue was full, or the disk refused."""
        return self._writer.dropped

    def write(self, trace: Trace, prompt: str | None = None, answer: str | None = None) -> None:
        """Queue the trace's row, as the trace stands now; texts only where the user asked for them."""
        row, held = snapshot(trace), self._held
        # Block hashes that are made late keep the body until then.
        size_bytes = 0 if type(row[_HASHES]) is tuple else trace.body_bytes
        texts: _Texts = ()
        if prompt is not None or answer is not None:
            texts = prompt, answer
            size_bytes += len(prompt or "") + len(answer or "")
        flight_id = row[_FLIGHT_ID]
        if trace.kind != "call":
            tried = _Try(flight_id, row, texts)
            if not row[_ATTEMPT_INDEX]:
                held[flight_id] = tried  # before the thread can see it
            if not self._submit(self._calls, tried, size_bytes):
                held.pop(flight_id, None)
            return
        waiting = held.get(flight_id)
        if waiting is not None and not texts and (own := folded(row, waiting.row)) is not None:
            waiting.both = _columns(row, (row, None, None, own), own[0], late=type(own[_TRIED_HASHES]) is not tuple)
            # From here on it is the row of both, unless the thread was quicker and writes the try alone.
            if held.pop(flight_id, None) is waiting:
                waiting.row = ()
                return
        self._submit(self._calls, _columns(row, (row, *texts), None, late=size_bytes > 0), size_bytes)

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


class _Try(msgspec.Struct, eq=False):
    """A try in the queue. While it is held, its caller may make it the row of both."""

    flight_id: str
    row: tuple[Any, ...]
    """Its snapshot, for as long as it may be needed."""
    texts: _Texts
    both: _Columns | None = None
    alone: bool = False
    """The thread has taken it."""


def _columns(row: tuple[Any, ...], data: Any, try_wall_s: float | None, *, late: bool) -> _Columns:
    """What a call becomes in its table. `late`: what is long is encoded by the thread."""
    if not late:
        try:
            data = encoded(*data)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
            pass  # the thread comes upon it again, and counts it
    return row[_ID], row[_START_WALL_S], row[_TAGS].run, data, try_wall_s


class _Calls:
    """The sink of callers and tries: inserts, and keeps each table under its number of rows."""

    def __init__(self, rows_max: int) -> None:
        self.held: dict[str, _Try] = {}
        """By flight: first tries in the queue that their callers may take. Whichever side pops one has it."""
        self._calls = BulkInsert("INSERT INTO calls_data (id, start_wall_s, run, data, try_wall_s)", 5)
        self._tries = BulkInsert("INSERT INTO attempts_data (flight_id, start_wall_s, run, data)", 4)
        self._bounds = _Bound("calls", rows_max), _Bound("attempts", rows_max)

    def write(self, connection: sqlite3.Connection, rows: list[_Try | _Columns]) -> None:
        for start in range(0, len(rows), BULK_ROWS):
            calls: list[Any] = []
            tries: list[Any] = []
            for row in rows[start : start + BULK_ROWS]:
                if isinstance(row, _Try):
                    self._add_try(row, calls, tries)
                else:
                    _add_call(row, calls)
            if calls:
                self._calls.execute(connection, calls)
            if tries:
                self._tries.execute(connection, tries)
        for bound in self._bounds:
            bound.keep(connection)

    def written(self, rows: list[_Try | _Columns]) -> None:
        for row in rows:
            if isinstance(row, _Try) and not row.alone:
                self._take(row)  # given up: a caller that comes now is a row of its own, and is counted as such

    def _take(self, tried: _Try) -> None:
        """From here on it is no caller's."""
        taken = self.held.pop(tried.flight_id, None)
        if taken is not None:
            taken.alone = True  # also when it is asked for again

    def _add_try(self, tried: _Try, calls: list[Any], tries: list[Any]) -> None:
        row = tried.row
        self._take(tried)
        if tried.both is not None and not tried.alone:
            _add_call(tried.both, calls)
        else:
            tries += (tried.flight_id, row[_START_WALL_S], row[_TAGS].run, encoded(row, *tried.texts))


def _add_call(columns: _Columns, calls: list[Any]) -> None:
    id_, start_wall_s, run, data, try_wall_s = columns
    calls += (id_, start_wall_s, run, data if type(data) is str else encoded(*data), try_wall_s)


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
        if youngest is None:
            return
        # Rows only ever go from the old end, so their numbers are gapless. In chunks: a smaller bound than
        # last time must not hold the lock for seconds.
        excess = min(youngest - oldest + 1 - self._rows_max, _PRUNE_ROWS_MAX)
        if excess > 0:
            connection.execute(self._prune, (oldest + excess,))
