"""The call log: every field of a trace comes back, the bound on rows holds, and failures cost no call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.store import call_log
from headway.store.call_log import CallLog
from headway.store.call_reader import CallLogReader
from headway.store.log_layout import VIEW_COLUMNS
from headway.store.rows import LogRow
from headway.store.writer import WriterSettings
from headway.types import Tags, Trace, Usage

INLINE = WriterSettings(inline=True)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def open_log(path: Path, **options: Any) -> CallLog:
    return CallLog(path, **{"writer": INLINE, **options})


def trace(id_: str = "c1", *, kind: Any = "call", start_wall_s: float = 1_000.0, run: str = "") -> Trace:
    made = Trace(kind, id_, 50.0, start_wall_s)
    made.tags = Tags(run=run)
    return made


def full_trace(kind: Any) -> Trace:
    made = trace("full", kind=kind)
    made.flight_id, made.wait_s, made.connect_s = "f1", 0.5, 0.25
    made.sent_at_s, made.first_byte_at_s, made.first_content_at_s, made.ended_at_s = 51.0, 52.0, 53.0, 54.0
    made.provider_queue_s, made.provider_processing_s, made.provider_estimated = 0.125, 0.75, False
    made.model, made.upstream, made.path, made.format = "gpt-4o", "https://x", "/v1/responses", "openai_responses"
    made.stream, made.status, made.outcome, made.error_code = True, 200, "ok", "e"
    made.finish, made.request_id, made.cache = "stop", "req_1", "miss"
    made.attempts, made.attempt_index, made.output_tokens_max = 2, 1, 100
    made.usage = Usage(
        input_tokens=9, cached_tokens=4, cache_write_tokens=2, output_tokens=5, reasoning_tokens=1, estimated=True
    )
    made.dollars, made.saved_dollars, made.maybe_billed = 0.5, 0.25, True
    made.tags = Tags(run="r", step="s", parent="p", session="n")
    made.tenant, made.block_hashes = "0123456789abcdef", ("aa", "bb")
    made.body_bytes, made.reply_bytes = 11, 22
    return made


@pytest.mark.parametrize("kind", ["call", "attempt"])
def test_every_field_comes_back(tmp_path: Path, kind: Any):
    """All that a trace holds is in its row, times as seconds after the start, in the table of its kind."""
    log = open_log(tmp_path / "l.db")
    log.write(full_trace(kind), prompt="hello", answer="world")
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        calls, attempts = reader.calls(), reader.attempts()
    assert (len(calls), len(attempts)) == ((1, 0) if kind == "call" else (0, 1))
    assert msgspec.structs.asdict((calls + attempts)[0]) == {
        "id": "full", "flight_id": "f1", "start_wall_s": 1_000.0, "wait_s": 0.5, "connect_s": 0.25, "sent_s": 1.0,
        "first_byte_s": 2.0, "first_content_s": 3.0, "end_s": 4.0, "provider_queue_s": 0.125,
        "provider_processing_s": 0.75, "provider_estimated": False, "model": "gpt-4o", "upstream": "https://x",
        "path": "/v1/responses", "format": "openai_responses", "stream": True, "status": 200, "outcome": "ok",
        "error_code": "e", "finish": "stop", "request_id": "req_1", "cache": "miss", "attempts": 2,
        "attempt_index": 1, "output_tokens_max": 100, "input_tokens": 9, "cached_tokens": 4,
        "cache_write_tokens": 2, "output_tokens": 5, "reasoning_tokens": 1, "usage_estimated": True, "dollars": 0.5,
        "saved_dollars": 0.25, "maybe_billed": True, "run": "r", "step": "s", "parent": "p", "session": "n",
        "tenant": "0123456789abcdef", "block_hashes": "aa,bb", "body_bytes": 11, "reply_bytes": 22,
        "prompt": "hello", "answer": "world",
    }  # fmt: skip


def test_unknown_is_none_never_zero(tmp_path: Path):
    """Of a trace that never got anywhere, times, tokens, dollars and texts are None."""
    log = open_log(tmp_path / "l.db")
    log.write(trace())
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        (row,) = reader.calls()
    for name in ("sent_s", "end_s", "status", "outcome", "input_tokens", "usage_estimated", "dollars", "prompt"):
        assert getattr(row, name) is None, name


def test_the_row_is_the_trace_as_it_was(tmp_path: Path):
    """What happens to a trace after it was written does not change its row."""
    log = open_log(tmp_path / "l.db")
    written = full_trace("call")
    log.write(written)
    written.model, written.tags, written.ended_at_s = "other", Tags(run="other"), 99.0
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        (row,) = reader.calls()
    assert (row.model, row.run, row.end_s) == ("gpt-4o", "r", 4.0)


def test_queries_select(tmp_path: Path):
    """By run, by time, by flight, and the youngest `limit`, oldest first; through indexes where there are some."""
    log = open_log(tmp_path / "l.db")
    for number in range(10):
        log.write(trace(f"c{number}", start_wall_s=float(number), run="even" if number % 2 == 0 else ""))
        attempt = trace(f"a{number}", kind="attempt", start_wall_s=float(number))
        attempt.flight_id = f"f{number // 2}"
        log.write(attempt)
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls(run="even")] == ["c0", "c2", "c4", "c6", "c8"]
        assert [row.id for row in reader.calls(run="even", since_wall_s=4.0, limit=2)] == ["c6", "c8"]
        assert [row.id for row in reader.calls(since_wall_s=8.0)] == ["c8", "c9"]
        assert [row.id for row in reader.calls(id_="c3")] == ["c3"]
        assert [row.id for row in reader.attempts(flight_id="f2")] == ["a4", "a5"]
        assert reader.calls(run="nobody") == []
    for table, condition in (
        ("calls", "run = 'r' AND run != ''"),
        ("calls", "id = 'x'"),
        ("attempts", "flight_id = 'f'"),
        ("attempts", "run = 'r' AND run != ''"),
        ("attempts", "start_wall_s > 1"),
    ):
        plan = query(tmp_path / "l.db", f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {condition}")
        found = [how for *_, how in plan if "_data" in how]
        assert found
        assert all("USING INDEX" in how for how in found), found


def test_rows_are_bounded(tmp_path: Path):
    """Each table keeps its youngest `rows_max` rows, from one opening to the next as well."""
    log = open_log(tmp_path / "l.db", rows_max=50, writer=WriterSettings(inline=True, batch_rows=20))
    for number in range(200):
        log.write(trace(f"c{number}"))
    log.write(trace("a", kind="attempt"))
    log.close()
    log = open_log(tmp_path / "l.db", rows_max=10)
    log.write(trace("last"))
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls()] == [*(f"c{number}" for number in range(191, 200)), "last"]
        assert len(reader.attempts()) == 1


def test_one_bad_row_costs_one_row(tmp_path: Path):
    """A row that cannot be written is dropped and counted; the rows around it are written."""
    warnings: list[str] = []
    log = open_log(tmp_path / "l.db", on_error=warnings.append)
    for number in range(5):
        log.write(trace(f"c{number}"))
    bad, worse = trace("bad"), trace("worse")
    bad.model, worse.body_bytes = "\udc80", object()
    log.write(bad)
    log.write(worse)
    log.write(trace("after"))
    log.flush()
    assert log.dropped == 2
    assert len(warnings) == 1
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls()] == ["c0", "c1", "c2", "c3", "c4", "after"]


def test_thread_writes_everything(tmp_path: Path):
    """Through the thread, thousands of rows in a burst arrive, in order, none dropped."""
    log = CallLog(tmp_path / "l.db", writer=WriterSettings(batch_s=0.001))
    for number in range(5_000):
        log.write(trace(f"c{number}"))
    assert log.flush()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls(limit=9_999)] == [f"c{number}" for number in range(5_000)]
    assert log.dropped == 0
    log.close()
    log.close()
    log.write(trace("late"))
    assert log.dropped == 1


def test_full_queue_drops_and_counts(tmp_path: Path):
    """Rows beyond the queue's bounds, in number or in bytes of text, are dropped and counted, never waited for."""
    log = CallLog(tmp_path / "l.db", writer=WriterSettings(queue_rows_max=5, queue_bytes_max=100, batch_s=5.0))
    log.write(trace("text"), prompt="x" * 60)
    log.write(trace("too much"), answer="x" * 60)
    for number in range(6):
        log.write(trace(f"c{number}"))
    assert log.dropped == 3
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls()] == ["text", "c0", "c1", "c2", "c3"]


def test_disk_failure_is_counted(tmp_path: Path):
    """When the database is locked for good or the disk is full, rows are dropped with one warning."""
    warnings: list[str] = []
    log = open_log(tmp_path / "l.db", on_error=warnings.append)
    log.write(trace("first"))
    log.flush()
    log._writer._work._connection.execute("PRAGMA max_page_count = 1")  # type: ignore[union-attr]
    for _ in range(2):
        log.write(trace("lost"), prompt="x" * 200_000)
        log.flush()
    assert (log.dropped, len(warnings)) == (2, 1)
    assert str(tmp_path / "l.db") in warnings[0]
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.id for row in reader.calls()] == ["first"]


def test_modes(tmp_path: Path):
    """The directory is 0700 and every file in it 0600."""
    log = open_log(tmp_path / "new" / "l.db")
    log.write(trace())
    log.flush()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    log.close()


def test_newer_schema_is_refused_by_both_sides(tmp_path: Path):
    """Neither writer nor reader touches a newer Headway's log."""
    open_log(tmp_path / "l.db").close()
    query(tmp_path / "l.db", "PRAGMA user_version = 9")
    with pytest.raises(ConfigError, match=r"schema 9.*upgrade Headway"):
        open_log(tmp_path / "l.db")
    with pytest.raises(ConfigError, match=r"schema 9.*upgrade Headway"):
        CallLogReader(tmp_path / "l.db")


def test_older_schema_is_kept_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A record is never dropped: an older log is renamed, and a new one begun."""
    older = call_log.LAYOUT.version
    log = open_log(tmp_path / "l.db")
    log.write(trace("old"))
    log.close()
    monkeypatch.setattr(
        call_log, "LAYOUT", msgspec.structs.replace(call_log.LAYOUT, version=call_log.LAYOUT.version + 1)
    )
    warnings: list[str] = []
    open_log(tmp_path / "l.db", on_error=warnings.append).close()
    assert query(tmp_path / f"l.db.v{older}", "SELECT id FROM calls") == [("old",)]
    assert query(tmp_path / "l.db", "SELECT id FROM calls") == []
    assert len(warnings) == 1
    assert f"l.db.v{older}" in warnings[0]


def test_what_is_no_database_stays(tmp_path: Path):
    """A path that was meant for something else is an error: the user's file is neither renamed nor changed."""
    file = tmp_path / "id_rsa"
    for content in (b"secret key\n", b"garbage " * 1_000, b"\0" * 4_096):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"id_rsa is no database.*name another path"):
            open_log(file)
        assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["id_rsa"]
    file.write_bytes(b"")
    open_log(file).close()  # an empty one is taken


def test_reader_needs_a_log(tmp_path: Path):
    """No file, another kind of file, or an empty one: a sentence each, and nothing is created."""
    (tmp_path / "text").write_text("x" * 5_000)
    (tmp_path / "empty").touch()
    for name, words in (("none", "no call log"), ("text", "cannot be read"), ("empty", "empty or of an older")):
        with pytest.raises(ConfigError, match=words):
            CallLogReader(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text"]


def test_cache_and_log_are_told_apart(tmp_path: Path):
    """A cache given as the log's path is refused."""
    from headway.store.sqlite import SqliteStore

    SqliteStore(tmp_path / "c.db", 1_000).close()
    with pytest.raises(ConfigError, match="not a Headway call log"):
        open_log(tmp_path / "c.db")


def fill(path: str, name: str, count: int) -> None:
    log = CallLog(path, writer=WriterSettings(batch_rows=10, batch_s=0.0))
    for number in range(count):
        log.write(trace(f"{name}{number}", run=name))
    assert log.flush()
    assert log.dropped == 0
    log.close()


def test_two_processes_share_a_log(tmp_path: Path):
    """Two processes create and write one log at the same time; every row is there, each process's in order."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(str(tmp_path / "l.db"), name, 150)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with CallLogReader(tmp_path / "l.db") as reader:
        for name in "ab":
            assert [row.id for row in reader.calls(run=name)] == [f"{name}{number}" for number in range(150)]


KILLED = """
import os, signal, sys
from headway.store.call_log import CallLog
from headway.store.writer import WriterSettings
from headway.types import Trace
log = CallLog(sys.argv[1], writer=WriterSettings(batch_rows=10, batch_s=0.0))
for number in range(100_000):
    log.write(Trace("call", f"c{number}", 0.0, 0.0))
    if number == 200:
        log.flush()
    if number == 2_000:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_leaves_a_readable_log(tmp_path: Path):
    """A process killed while writing leaves a sound log with everything that was flushed, in order, no gaps."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "l.db")], check=False)
    assert done.returncode == -signal.SIGKILL
    with CallLogReader(tmp_path / "l.db") as reader:
        rows = reader.calls(limit=9_999)
    assert [row.id for row in rows] == [f"c{number}" for number in range(len(rows))]
    assert len(rows) >= 201
    assert query(tmp_path / "l.db", "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("kind", ["call", "attempt"])
def test_views_show_what_the_reader_reads(tmp_path: Path, kind: Any):
    """SQL by hand sees the fields of `LogRow` as columns, with the same values, of a full trace and of an empty one."""
    log = open_log(tmp_path / "l.db")
    log.write(full_trace(kind), prompt="hello \u2713", answer='"quoted"')
    log.write(trace("empty", kind=kind))
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        read = reader.calls() + reader.attempts()
    view = "calls" if kind == "call" else "attempts"
    columns = ", ".join(f'"{name}"' for name in LogRow.__struct_fields__)
    shown = query(tmp_path / "l.db", f"SELECT {columns} FROM {view} ORDER BY rowid")
    assert shown == [msgspec.structs.astuple(row) for row in read]
    assert list(VIEW_COLUMNS) == list(LogRow.__struct_fields__)


def test_block_hashes_may_be_made_late(tmp_path: Path):
    """They may be any iterable, which the writer goes through; the body that they keep counts in the queue."""

    class Late:
        def __iter__(self):
            return iter(("aa", "bb"))

    log = CallLog(tmp_path / "l.db", writer=WriterSettings(queue_bytes_max=500, batch_s=5.0))
    made = trace()
    made.block_hashes, made.body_bytes = Late(), 300
    log.write(made)
    log.write(made)
    assert log.dropped == 1
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert [row.block_hashes for row in reader.calls()] == ["aa,bb"]
    assert query(tmp_path / "l.db", "SELECT block_hashes FROM calls") == [("aa,bb",)]


@settings(max_examples=50, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
)
def test_values_come_back_exactly(dollars: float, model: str, reply_bytes: int):
    """Floats to the last bit, texts with any character, integers of 64 bits."""
    with tempfile.TemporaryDirectory() as directory:
        log = open_log(Path(directory) / "l.db")
        made = trace(model)
        made.dollars, made.model, made.reply_bytes = dollars, model, reply_bytes
        log.write(made, prompt=model)
        log.close()
        with CallLogReader(Path(directory) / "l.db") as reader:
            (row,) = reader.calls(id_=model)
    assert (row.dollars, row.model, row.reply_bytes, row.prompt) == (dollars, model, reply_bytes, model)


def test_a_busy_loop_loses_only_what_the_bound_says(tmp_path: Path):
    """50,000 rows from a loop that never idles: each is in the log, in order, or counted as dropped."""
    log = CallLog(tmp_path / "l.db", writer=WriterSettings(queue_rows_max=20_000, batch_s=0.001))
    made = trace()
    for number in range(50_000):
        made.id = str(number)
        log.write(made)
    assert log.flush(60.0)
    written = [int(id_) for (id_,) in query(tmp_path / "l.db", "SELECT id FROM calls_data ORDER BY row")]
    assert len(written) + log.dropped == 50_000
    assert len(written) >= 20_000
    assert written == sorted(set(written))
    assert written[:20_000] == list(range(20_000))
    log.close()


def test_a_burst_within_the_bound_loses_nothing(tmp_path: Path):
    """By default 50,000 rows may wait: as many, from a loop that never idles, are all written."""
    log = CallLog(tmp_path / "l.db")
    made = trace()
    for number in range(50_000):
        made.id = str(number)
        log.write(made)
    assert log.flush(60.0)
    assert log.dropped == 0
    assert query(tmp_path / "l.db", "SELECT count(*), count(DISTINCT id) FROM calls_data") == [(50_000, 50_000)]
    log.close()


def test_pending_rows_do_not_outlive_fork(tmp_path: Path):
    """A forked child does not write the rows that its parent had queued a second time."""
    code = """
import os, sys
from headway.store.call_log import CallLog
from headway.types import Trace
log = CallLog(sys.argv[1])
log.write(Trace("call", "first", 0.0, 0.0)); log.flush(); log.write(Trace("call", "queued", 0.0, 0.0))
child = os.fork()
if child == 0:
    log.write(Trace("call", "child", 0.0, 0.0)); log.close(); os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "l.db")], check=True, timeout=60)
    with CallLogReader(tmp_path / "l.db") as reader:
        assert sorted(row.id for row in reader.calls()) == ["child", "first", "queued"]


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("left", ["", "-wal"])
def test_a_log_that_was_removed_is_begun_anew(tmp_path, left, inline):
    """The next row makes a new file, also where the write-ahead log was left lying; one put in its place is written to."""
    path = tmp_path / "l.db"
    with closing(open_log(path, writer=WriterSettings(inline=inline))) as log:
        log.write(trace("c1"))
        assert log.flush()
        for side in ("", "-wal", "-shm"):
            if side != left or not left:
                Path(f"{path}{side}").unlink(missing_ok=True)
        log.write(trace("c2"))
        assert log.flush()
        assert query(path, "SELECT id FROM calls") == [("c2",)]
        with closing(open_log(tmp_path / "other.db")) as other:
            other.write(trace("c3"))
        for side in ("-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)
        (tmp_path / "other.db").replace(path)
        log.write(trace("c4"))
        assert log.flush()
        assert query(path, "SELECT id FROM calls ORDER BY id") == [("c3",), ("c4",)]
        assert log.dropped == 0
