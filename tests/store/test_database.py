"""Many processes that begin at once: one file, sound, with every row; what stood there is set aside once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headway.store.base import Entry
from headway.store.call_log import CallLog
from headway.store.database import DatabaseFile, Layout
from headway.store.sqlite import SqliteStore
from headway.store.writer import WriterSettings
from headway.types import Trace

PROCESSES = 6
ROUNDS = 3
ROWS = 20
LAYOUT = Layout(kind="test file", application_id=1, version=1, schema=("CREATE TABLE t (x)",), older="drop")
OFTEN = WriterSettings(batch_rows=5, batch_s=0.0)


def rows_of(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def compare(home: Path, name: str, said: list[str]) -> None:
    """As `headway compare` does: a second engine is opened on the files of the first, which is still in use."""
    engines: list[tuple[CallLog, SqliteStore]] = []
    for engine in "ab":
        log = CallLog(home / "calls.sqlite", writer=OFTEN, on_error=said.append)
        engines.append((log, SqliteStore(home / "cache.sqlite", 1 << 24, writer=OFTEN, on_error=said.append)))
        for number in range(ROWS):
            for nth, (log, cache) in enumerate(engines):
                row = f"{name}{engine}{nth}.{number}"
                log.write(Trace("call", row, 0.0, 0.0))
                entry = Entry(body=b"x" * 500, stored_wall_s=1.0, fresh_until_wall_s=2e9, stale_until_wall_s=3e9)
                cache.put(row.encode(), entry)
    for log, cache in engines:
        log.close()
        cache.close()


def rounds(homes: list[Path], name: str, start: Any, told: Any) -> None:
    said: list[str] = []
    for home in homes:
        start.wait(10)
        compare(home, name, said)
    told.put(said)


def at_once(homes: list[Path]) -> list[str]:
    """Have all processes use one home after the other, each at the same moment; return what they complain of."""
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(PROCESSES), context.SimpleQueue()
    processes = [context.Process(target=rounds, args=(homes, str(n), start, told)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    said = [message for _ in processes for message in told.get()]
    told.close()
    return said


def assert_whole(home: Path) -> None:
    for name, table in (("calls.sqlite", "calls_data"), ("cache.sqlite", "entries")):
        assert rows_of(home / name, "PRAGMA integrity_check") == [("ok",)]
        assert rows_of(home / name, f"SELECT count(*) FROM {table}") == [(PROCESSES * ROWS * 3,)]


def test_processes_that_start_at_once_share_new_files(tmp_path: Path):
    """Each makes the log and the cache if it is first, opens them twice, writes; no file breaks and no row is lost."""
    homes = [tmp_path / str(number) for number in range(ROUNDS)]
    assert at_once(homes) == []
    for home in homes:
        assert_whole(home)
        assert sorted(path.name for path in home.iterdir()) == ["cache.sqlite", "calls.sqlite"]


def test_processes_that_start_at_once_set_a_file_aside_once(tmp_path: Path):
    """An older log, rows and all, and a broken cache: the first process replaces them, the others use what it made."""
    homes = [tmp_path / str(number) for number in range(ROUNDS)]
    for home in homes:
        log = CallLog(home / "calls.sqlite", writer=WriterSettings(inline=True))
        log.write(Trace("call", "old", 0.0, 0.0))
        log.close()
        rows_of(home / "calls.sqlite", "PRAGMA user_version = 1")
        (home / "cache.sqlite").write_bytes(b"SQLite format 3\0" + b"garbage " * 1_000)
    said = at_once(homes)
    assert len(said) == 2 * ROUNDS
    for home in homes:
        assert_whole(home)
        assert rows_of(home / "calls.sqlite.v1", "SELECT id FROM calls_data") == [("old",)]
        assert b"garbage" in (home / "cache.sqlite.corrupt").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="locks there belong to the handle, not to the process")
def test_opening_a_file_again_takes_no_lock_away(tmp_path: Path):
    """Closing any descriptor of a file drops a process's locks on it; another then takes its log for left behind."""
    file = DatabaseFile(tmp_path / "t.db", LAYOUT, pytest.fail)
    with closing(file.open()) as first:
        first.execute("INSERT INTO t VALUES (1)")
        file.open().close()
        other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM t'); c.close()"
        subprocess.run([sys.executable, "-c", other, str(file.path)], check=True, timeout=30)
        assert Path(f"{file.path}-wal").exists()


def test_a_file_that_is_being_made_is_nobody_elses(tmp_path: Path):
    """A reader that looks while another process makes the schema sees all of it or nothing."""
    file = DatabaseFile(tmp_path / "t.db", LAYOUT, pytest.fail)
    file.path.touch()
    with closing(file.open_to_read()) as connection:

        def execute(sql: str) -> Any:
            row = connection.execute(sql).fetchone()
            file.open().close()  # the other process comes between any two statements
            return SimpleNamespace(fetchone=lambda: row)

        assert not file.is_current(SimpleNamespace(execute=execute))  # type: ignore[arg-type]
        assert file.is_current(connection)
