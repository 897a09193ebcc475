"""The writer: rows gather into batches, arrive by themselves, and a broken file is replaced once."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headway.store.database import DatabaseFile, Layout
from headway.store.writer import SqliteWriter, WriterSettings

LAYOUT = Layout(kind="test file", application_id=1, version=1, schema=("CREATE TABLE t (x)",), older="drop")


class Rows:
    """A sink that remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.done: list[Any] = []

    def write(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        self.batches.append(rows)
        connection.executemany("INSERT INTO t VALUES (?)", [(row,) for row in rows])

    def written(self, rows: list[Any]) -> None:
        self.done += rows


@pytest.fixture
def file(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "t.db", LAYOUT, lambda _: None)


@pytest.fixture
def threads() -> Iterator[None]:
    """Every writer's thread that the test began has ended when the test has; others' are none of its business."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert [t.name for t in threading.enumerate() if t not in before and t.name == "headway-sqlite-writer"] == []


def contents(file: DatabaseFile) -> list[Any]:
    with closing(sqlite3.connect(file.path)) as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY rowid")]


def wait_for(condition: Any) -> bool:
    for _ in range(2_000):
        if condition():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.usefixtures("threads")
def test_rows_gather_into_one_transaction(file: DatabaseFile):
    """Rows that come within `batch_s` are written together, at most `batch_rows` at a time."""
    writer, sink = SqliteWriter(file, WriterSettings(batch_s=60.0, batch_rows=4)), Rows()
    for row in range(6):
        writer.submit(sink, row)
        time.sleep(0.002)
    assert writer.queued == 6
    assert writer.flush()
    assert sink.batches == [[0, 1, 2, 3], [4, 5]]
    assert sink.done == contents(file) == [0, 1, 2, 3, 4, 5]
    writer.close()


@pytest.mark.usefixtures("threads")
def test_rows_arrive_by_themselves(file: DatabaseFile):
    """Nobody need flush: a row is written soon after it came, also when the thread had been idle."""
    writer, sink = SqliteWriter(file, WriterSettings(batch_s=0.0)), Rows()
    for row in range(3):
        writer.submit(sink, row)
        assert wait_for(lambda row=row: sink.done == list(range(row + 1)))
        assert wait_for(lambda: writer._work.idle)
    writer.close()


def test_inline_starts_no_thread(file: DatabaseFile):
    """Inline, everything happens on the caller's thread: after `batch_rows` rows, at flush, and at close."""
    before = threading.active_count()
    writer, sink = SqliteWriter(file, WriterSettings(inline=True, batch_rows=3)), Rows()
    for row in range(4):
        writer.submit(sink, row)
    assert sink.done == [0, 1, 2]
    assert writer.flush()
    assert sink.done == [0, 1, 2, 3]
    writer.submit(sink, 4)
    writer.close()
    assert contents(file) == [0, 1, 2, 3, 4]
    assert threading.active_count() == before


@pytest.mark.usefixtures("threads")
def test_a_forgotten_writer_writes_and_ends(file: DatabaseFile):
    """A writer that is dropped unclosed writes its queue and takes its thread along."""
    SqliteWriter(file, WriterSettings(batch_s=60.0)).submit(Rows(), 1)
    gc.collect()
    assert contents(file) == [1]


def test_a_broken_file_is_replaced_once(file: DatabaseFile):
    """Two users who report the same broken file get one new file, not two."""
    file.open().close()
    broken_inode = file.inode()
    with closing(file.open(broken_inode=broken_inode)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    file.open(broken_inode=broken_inode).close()
    assert contents(file) == [1]


def test_a_locked_file_costs_the_batch_only(file: DatabaseFile, monkeypatch: pytest.MonkeyPatch):
    """While another process holds the write lock for too long, rows are given up with one warning; then it goes on."""
    monkeypatch.setattr("headway.store.database._WRITE_BUSY_S", 0.0)
    warnings: list[str] = []
    writer, sink = SqliteWriter(file, WriterSettings(inline=True), on_error=warnings.append), Rows()
    with closing(file.open()) as other:
        other.execute("BEGIN IMMEDIATE")
        for row in range(2):
            writer.submit(sink, row)
            writer.flush()
        other.execute("ROLLBACK")
    writer.submit(sink, 2)
    writer.flush()
    assert (writer.dropped, contents(file), sink.done) == (2, [2], [0, 1, 2])
    assert len(warnings) == 1
    assert "locked" in warnings[0]
    writer.close()


@pytest.mark.parametrize(("handover_s", "expected"), [(0.0, 0), (0.0002, 24)])
def test_submit_waits_only_where_asked(
    file: DatabaseFile, monkeypatch: pytest.MonkeyPatch, handover_s: float, expected: int
):
    """By default no submit ever sleeps; with `handover_s` every 128th does, while the thread is behind."""
    slept: list[float] = []
    monkeypatch.setattr("headway.store.writer.time.sleep", slept.append)
    writer = SqliteWriter(file, WriterSettings(batch_s=60.0, handover_s=handover_s))
    sink = Rows()
    for row in range(5_120):
        writer._work.busy = True  # as if it were writing
        writer.submit(sink, row)
    writer.close()
    assert slept == [handover_s] * expected
    assert contents(file) == list(range(5_120))


def test_inline_bytes_are_written_before_they_are_too_many(file: DatabaseFile):
    """Inline nothing is dropped for want of room: a quarter of the bytes that may wait is written at once."""
    writer, sink = SqliteWriter(file, WriterSettings(inline=True, queue_bytes_max=1_000)), Rows()
    for row in range(20):
        assert writer.submit(sink, row, 200)
    assert writer.dropped == 0
    assert len(sink.done) == 20
    writer.close()


def test_a_faulty_row_among_many_is_found_by_halving(file: DatabaseFile):
    """One row that cannot be written costs itself and a few transactions, not one per row."""
    writer, sink = SqliteWriter(file, WriterSettings(inline=True), on_error=lambda _: None), Rows()
    for row in range(1_000):
        writer.submit(sink, object() if row == 333 else row)
    writer.flush()
    assert writer.dropped == 1
    assert contents(file) == [row for row in range(1_000) if row != 333]
    assert len(sink.batches) <= 21
    writer.close()
