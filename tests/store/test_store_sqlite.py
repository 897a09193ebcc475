"""The disk tier: what was put is found, at once and after a reopen; the bound holds; a broken file costs no crash."""

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
from headway.store import entries, sqlite
from headway.store.base import Entry
from headway.store.entries import EntryCodec, EntryTable
from headway.store.presence import Presence
from headway.store.purging import Selection
from headway.store.sqlite import SqliteStore
from headway.store.writer import WriterSettings
from headway.types import Usage

INLINE = WriterSettings(inline=True)
QUICK = WriterSettings(batch_s=0.001)


def entry(body: bytes = b"{}", **fields: Any) -> Entry:
    times = {"stored_wall_s": 1.0, "fresh_until_wall_s": 2e9, "stale_until_wall_s": 3e9}
    return Entry(body=body, **{**times, **fields})


FULL = entry(
    b'{"text": "' + b"word " * 400 + b'"}',
    status=201,
    headers=(("content-type", "application/json"), ("x-request-id", "ä")),
    streamed=True,
    format="openai_chat",
    model="gpt-4o",
    finish="stop",
    usage=Usage(input_tokens=7, output_tokens=3),
    dollars=0.25,
    fetch_s=1.5,
)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def open_store(path: Path, bytes_max: int = 1_000_000, **settings_: Any) -> SqliteStore:
    return SqliteStore(path, bytes_max, **{"writer": INLINE, **settings_})


@pytest.mark.parametrize("writer", [INLINE, QUICK], ids=["inline", "thread"])
def test_round_trip_and_reopen(tmp_path: Path, writer: WriterSettings):
    """Every field comes back: from the queue at once, from disk after a flush, and in the next process."""
    store = open_store(tmp_path / "c.db", writer=writer)
    store.put(b"k" * 32, FULL)
    assert store.get(b"k" * 32) == FULL
    assert store.flush()
    assert store.get(b"k" * 32) == FULL
    store.close()
    again = open_store(tmp_path / "c.db", writer=writer)
    assert again.get(b"k" * 32) == FULL
    assert again.get(b"other") is None
    assert (again.stats().hits, again.stats().misses, again.stats().entries) == (1, 1, 1)
    again.close()


def test_reads_its_own_writes(tmp_path: Path):
    """A newer put and a delete win over what is on disk while they still wait to be written."""
    store = open_store(tmp_path / "c.db")
    store.put(b"k", entry(b"1"))
    store.flush()
    store.put(b"k", entry(b"2"))
    assert store.get(b"k") == entry(b"2")
    store.delete(b"k")
    assert store.get(b"k") is None
    store.put(b"k", entry(b"3"))
    store.flush()
    assert store.get(b"k") == entry(b"3")
    store.close()


def test_large_bodies_are_compressed_small_ones_not(tmp_path: Path):
    """A compressible 2 KB body takes less than half; 500 bytes, or bytes that do not shrink, are stored as they are."""
    store = open_store(tmp_path / "c.db")
    random_body = os.urandom(2_000)
    for key, body in ((b"large", b"word " * 400), (b"small", b"x" * 500), (b"random", random_body)):
        store.put(key, entry(body))
    store.flush()
    rows = query(tmp_path / "c.db", "SELECT key, codec, length(answer) FROM entries")
    found = {key: (codec, length) for key, codec, length in rows}
    assert found[b"large"][0] == 1
    assert found[b"large"][1] < 1_000
    assert found[b"small"][0] == found[b"random"][0] == 0
    assert 500 < found[b"small"][1] < 800
    assert 2_000 < found[b"random"][1] < 2_300
    assert store.get(b"random") == entry(random_body)
    store.close()


def test_bytes_are_bounded_and_used_entries_survive(tmp_path: Path):
    """The sum of sizes stays under the bound, the totals match the rows, and an entry in use outlives others."""
    store = open_store(tmp_path / "c.db", 40_000)
    store.put(b"hot", entry(os.urandom(500)))
    for number in range(600):
        store.put(b"%d" % number, entry(os.urandom(500)))
        if number % 20 == 0:
            store.flush()
            assert store.get(b"hot") is not None, number
    store.flush()
    stats = store.stats()
    rows = query(tmp_path / "c.db", "SELECT count(*), sum(size) FROM entries")
    assert [(stats.entries, stats.bytes_used)] == rows
    assert 30_000 < stats.bytes_used <= 40_000
    assert stats.evictions == 601 - stats.entries
    store.close()


def test_the_hand_passes_what_was_used_and_goes_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Chunk by chunk the hand spares a used entry once, evicts the others oldest first, and starts over at the end."""
    monkeypatch.setattr(entries, "_SCAN_CHUNK", 3)
    store = open_store(tmp_path / "c.db", 10 * 2_000)
    body = os.urandom(1_500)  # ~1.9 KB a row: ten fit
    for number in range(10):
        store.put(b"%d" % number, entry(body))
    store.flush()
    for number in (0, 1, 2, 3, 5):
        assert store.get(b"%d" % number)
    for number in range(10, 13):
        store.put(b"%d" % number, entry(body))
    store.flush()
    assert [int(key) for (key,) in query(tmp_path / "c.db", "SELECT key FROM entries ORDER BY id")] == [
        *(0, 1, 2, 3, 5, 8, 9, 10, 11, 12)
    ]
    for number in range(20, 25):
        store.put(b"%d" % number, entry(body))
    store.flush()  # 8 ... 12 go, and the hand stands before 20
    for number in range(30, 38):
        store.put(b"%d" % number, entry(body))
    store.flush()  # 20 ... 24 go, then what was new; or the oldest, once round: either way the bound holds
    stats = store.stats()
    assert [(stats.entries, stats.bytes_used)] == query(tmp_path / "c.db", "SELECT count(*), sum(size) FROM entries")
    assert stats.bytes_used <= 20_000
    assert stats.evictions == 26 - stats.entries
    store.close()


def test_everything_new_may_be_too_much(tmp_path: Path):
    """A batch of ten times the bound leaves what fits, and the totals right."""
    store = open_store(tmp_path / "c.db", 10_000)
    for number in range(100):
        store.put(b"%d" % number, entry(os.urandom(500)))
        store.put(b"%d" % (number // 2), entry(os.urandom(600)))
    store.flush()
    stats = store.stats()
    assert [(stats.entries, stats.bytes_used)] == query(tmp_path / "c.db", "SELECT count(*), sum(size) FROM entries")
    assert 8_000 < stats.bytes_used <= 10_000
    store.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
def test_compression_takes_the_right_ones(monkeypatch: pytest.MonkeyPatch, at_once: bool):
    """Large and small entries in one batch all come back as they were, whatever the zstd backend can do."""
    import zstandard

    if not at_once:
        monkeypatch.setattr(zstandard, "backend_features", set())
    codec = EntryCodec()
    batch = [entry(body) for body in (b"", b"word " * 400, os.urandom(3_000), b"x" * 300, b"other " * 500)]
    packed = codec.pack(batch)
    assert [kind for kind, _ in packed] == [0, 1, 0, 0, 1]
    assert [codec.unpack(kind, answer) for kind, answer in packed] == batch


def test_expired_entries_go_first(tmp_path: Path):
    """When room is needed, what has expired is evicted before anything that has not, however old."""
    store = open_store(tmp_path / "c.db", 8_000, wall_s=lambda: 1_000.0)
    for number in range(4):
        store.put(b"good%d" % number, entry(os.urandom(500), stale_until_wall_s=2_000.0))
    for number in range(4):
        store.put(b"gone%d" % number, entry(os.urandom(500), stale_until_wall_s=999.0))
    store.flush()
    for number in range(4, 8):
        store.put(b"good%d" % number, entry(os.urandom(500), stale_until_wall_s=2_000.0))
    store.flush()
    assert [store.get(b"good%d" % number) is not None for number in range(8)] == [True] * 8
    assert all(store.get(b"gone%d" % number) is None for number in range(4))
    store.close()


def test_too_large_is_refused(tmp_path: Path):
    """An entry above the bound is not kept, and its outdated predecessor neither."""
    store = open_store(tmp_path / "c.db", 2_000)
    store.put(b"k", entry(b"1"))
    store.put(b"k", entry(b"x" * 3_000))
    assert store.get(b"k") is None
    store.flush()
    assert store.get(b"k") is None
    store.close()


def test_list_and_purge(tmp_path: Path):
    """`list` shows the youngest without bodies; `purge` takes the expired, or all, and gives the space back."""
    store = open_store(tmp_path / "c.db")
    store.put(b"old", entry(os.urandom(100_000), stale_until_wall_s=10.0))
    store.put(b"new", FULL)
    store.flush()
    infos = store.list(1)
    assert [(info.key, info.entry.model, info.entry.body) for info in infos] == [(b"new", "gpt-4o", b"")]
    assert store.purge(Selection(expired_before_wall_s=11.0))
    assert (store.get(b"old"), store.get(b"new")) == (None, FULL)
    assert store.purge()
    assert store.stats().entries == store.stats().bytes_used == 0
    store.close()
    assert (tmp_path / "c.db").stat().st_size < 100_000


def test_modes_and_side_files(tmp_path: Path):
    """The directory is 0700, the file and its side files 0600, and a clean close leaves the file alone."""
    store = open_store(tmp_path / "new" / "c.db")
    store.put(b"k", FULL)
    store.flush()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    assert store.get(b"k") == FULL
    store.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["c.db"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "delete", "flush", "reopen", "get"]),
            st.integers(0, 5),
            st.integers(0, 600),
        ),
        max_size=40,
    )
)
def test_against_a_dict(operations: list[tuple[str, int, int]]):
    """Any sequence of puts, deletes, flushes and reopens answers as a dict does, while nothing need be evicted."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "c.db"
        store, model = (
            open_store(path, writer=WriterSettings(inline=True, batch_rows=4)),
            dict[bytes, Entry](),
        )
        for operation, number, size in operations:
            key = b"%d" % number
            if operation == "put":
                model[key] = entry(b"x" * size, fetch_s=float(size))
                store.put(key, model[key])
            elif operation == "delete":
                store.delete(key)
                model.pop(key, None)
            elif operation == "flush":
                store.flush()
            elif operation == "reopen":
                store.close()
                store = open_store(path, writer=WriterSettings(inline=True, batch_rows=4))
            assert store.get(key) == model.get(key)
        store.flush()
        assert store.stats().entries == len(model)
        store.close()


def test_newer_schema_is_refused(tmp_path: Path):
    """A file of a newer Headway is left alone, and the error says what to do."""
    open_store(tmp_path / "c.db").close()
    query(tmp_path / "c.db", "PRAGMA user_version = 7")
    with pytest.raises(ConfigError, match=r"schema 7.*upgrade Headway"):
        open_store(tmp_path / "c.db")


def test_older_schema_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An older cache is emptied and goes on under the new schema."""
    store = open_store(tmp_path / "c.db")
    store.put(b"k", FULL)
    store.close()
    monkeypatch.setattr(sqlite, "LAYOUT", msgspec.structs.replace(sqlite.LAYOUT, version=sqlite.LAYOUT.version + 1))
    newer = open_store(tmp_path / "c.db")
    assert newer.get(b"k") is None
    newer.put(b"k", FULL)
    newer.flush()
    assert newer.get(b"k") == FULL
    newer.close()


def test_foreign_database_is_refused(tmp_path: Path):
    """Another program's SQLite file is never touched, not even its journal mode."""
    query(tmp_path / "theirs.db", "CREATE TABLE precious (x)")
    before = (tmp_path / "theirs.db").read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        open_store(tmp_path / "theirs.db")
    assert (tmp_path / "theirs.db").read_bytes() == before


def test_what_is_no_database_stays(tmp_path: Path):
    """A path that was meant for something else is an error: the user's file is neither renamed nor changed."""
    file = tmp_path / "id_rsa"
    for content in (b"secret key\n", b"garbage " * 1_000, b"\0" * 4_096):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"id_rsa is no database.*name another path"):
            open_store(file)
        assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["id_rsa"]
    file.write_bytes(b"")
    open_store(file).close()  # an empty one is taken


def test_a_broken_file_is_set_aside(tmp_path: Path):
    """A database that cannot be read is renamed with one warning, and the cache works."""
    (tmp_path / "c.db").write_bytes(b"SQLite format 3\0" + b"garbage " * 1_000)
    warnings: list[str] = []
    store = open_store(tmp_path / "c.db", on_error=warnings.append)
    store.put(b"k", FULL)
    store.flush()
    assert store.get(b"k") == FULL
    store.close()
    assert b"garbage" in (tmp_path / "c.db.corrupt").read_bytes()
    assert len(warnings) == 1
    assert "c.db.corrupt" in warnings[0]


def broken_store(path: Path, warnings: list[str]) -> SqliteStore:
    """An open store of 200 entries whose pages, all but the first, were overwritten."""
    store = open_store(path)
    for number in range(200):
        store.put(b"%d" % number, entry(os.urandom(1_000)))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    return open_store(path, on_error=warnings.append)


def test_reading_finds_a_broken_file(tmp_path: Path):
    """Broken pages are misses, never a crash; the reader has the file replaced, and the next put is kept and found."""
    warnings: list[str] = []
    store = broken_store(tmp_path / "c.db", warnings)
    assert [store.get(b"%d" % number) for number in range(200)] == [None] * 200
    store.put(b"k", FULL)
    store.flush()
    assert store.dropped == 0
    assert store.get(b"k") == FULL
    assert store.stats().entries == 1
    assert (tmp_path / "c.db.corrupt").exists()
    assert len([warning for warning in warnings if "could not be read" in warning]) == 1
    store.close()


def test_writing_finds_a_broken_file(tmp_path: Path):
    """The batch that meets a broken page is given up and counted; the next goes to a new file, which reads follow."""
    warnings: list[str] = []
    store = broken_store(tmp_path / "c.db", warnings)
    store.put(b"lost", FULL)
    store.flush()
    store.put(b"k", FULL)
    store.flush()
    assert store.get(b"k") == FULL
    assert store.get(b"lost") is None
    assert store.dropped == 1
    assert (tmp_path / "c.db.corrupt").exists()
    store.close()


def test_reads_follow_the_writer(tmp_path: Path):
    """When another process has set the file aside and made a new one, puts and gets meet there again."""
    store = open_store(tmp_path / "c.db")
    store.put(b"old", FULL)
    store.flush()
    assert store.get(b"old") == FULL
    store._writer.replace(store._inode)
    store.put(b"new", FULL)
    store.flush()
    assert (store.get(b"new"), store.get(b"old")) == (FULL, None)
    store.close()


def test_written_row_does_not_hide_a_newer_one():
    """When an older put of a key is committed, the newer one that still waits goes on being served."""
    table = EntryTable(1_000, lambda: 0.0, Presence())
    older, newer = (b"k", entry(b"1")), (b"k", entry(b"2"))
    table.queue(older)
    table.queue(newer)
    table.written([older])
    assert table.pending[b"k"] is newer
    table.written([newer])
    assert not table.pending


@pytest.mark.parametrize("where", ["file/c.db", "."])
def test_path_that_cannot_be_written(tmp_path: Path, where: str):
    """A path below a file, or a directory, is a sentence that names it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="name a writable path"):
        open_store(tmp_path / where)


def test_disk_failure_while_running(tmp_path: Path):
    """When the disk refuses, puts are dropped and counted, one warning is given, and reads go on."""
    warnings: list[str] = []
    store = open_store(tmp_path / "c.db", on_error=warnings.append)
    store.put(b"k", FULL)
    store.flush()
    store._writer._work._connection.execute("PRAGMA max_page_count = 1")  # type: ignore[union-attr]
    for number in range(3):
        store.put(b"%d" % number, entry(os.urandom(50_000)))
        store.flush()
    assert store.dropped == 3
    assert len(warnings) == 1
    assert store.get(b"k") == FULL
    assert store.get(b"0") is None
    store.close()


def test_queue_is_bounded_in_rows_and_bytes(tmp_path: Path):
    """What does not fit the queue is dropped and counted, and is not served from memory either."""
    slow = WriterSettings(queue_rows_max=3, queue_bytes_max=5_000, batch_s=5.0)
    store = open_store(tmp_path / "c.db", writer=slow)
    store.put(b"bytes", entry(b"x" * 6_000))
    assert (store.get(b"bytes"), store.dropped) == (None, 1)
    for number in range(5):
        store.put(b"%d" % number, entry())
    assert [store.get(b"%d" % number) is not None for number in range(5)] == [True] * 3 + [False] * 2
    assert store.dropped == 3
    store.flush()
    store.put(b"5", entry())
    assert store.get(b"5") == entry()
    store.close()


def fill(path: str, name: str, count: int) -> None:
    store = SqliteStore(path, 10_000_000, writer=WriterSettings(batch_rows=10, batch_s=0.0))
    for number in range(count):
        store.put(f"{name}{number}".encode(), entry(name.encode() * 300))
    assert store.flush()
    assert store.dropped == 0
    store.close()


def test_two_processes_share_a_file(tmp_path: Path):
    """Two processes create and fill one file at the same time; a third finds everything, totals included."""
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "c.db"
    processes = [context.Process(target=fill, args=(str(path), name, 150)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    store = open_store(path)
    assert all(store.get(f"{name}{number}".encode()) for name in "ab" for number in range(150))
    assert store.stats().entries == 300
    store.close()


KILLED = """
import os, signal, sys
from headway.store.base import Entry
from headway.store.sqlite import SqliteStore
from headway.store.writer import WriterSettings
store = SqliteStore(sys.argv[1], 10_000_000, writer=WriterSettings(batch_rows=10, batch_s=0.0))
for number in range(100_000):
    store.put(b"%d" % number, Entry(body=b"x" * 500, stored_wall_s=1, fresh_until_wall_s=2, stale_until_wall_s=3))
    if number == 200:
        store.flush()
        print("flushed", flush=True)
    if number == 2_000:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_leaves_a_readable_file(tmp_path: Path):
    """A process killed while writing leaves a sound database with everything that was flushed."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "c.db")], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"flushed\n"
    warnings: list[str] = []
    store = open_store(tmp_path / "c.db", on_error=warnings.append)
    assert all(store.get(b"%d" % number) is not None for number in range(201))
    store.close()
    assert not warnings
    assert query(tmp_path / "c.db", "PRAGMA integrity_check") == [("ok",)]


UNCLOSED = """
import sys
from headway.store.base import Entry
from headway.store.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], 10_000_000)
store.put(b"k", Entry(body=b"x", stored_wall_s=1, fresh_until_wall_s=2, stale_until_wall_s=3))
"""


def test_exit_without_close_writes(tmp_path: Path):
    """A program that ends without closing neither hangs nor loses what it had put."""
    subprocess.run([sys.executable, "-c", UNCLOSED, str(tmp_path / "c.db")], check=True, timeout=30)
    store = open_store(tmp_path / "c.db")
    assert store.get(b"k") is not None
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_writes_its_own(tmp_path: Path):
    """After a fork both processes go on: each writes what it put, over connections of its own."""
    code = """
import os, sys
from headway.store.base import Entry
from headway.store.sqlite import SqliteStore
def entry(text): return Entry(body=text, stored_wall_s=1, fresh_until_wall_s=2, stale_until_wall_s=3)
store = SqliteStore(sys.argv[1], 10_000_000)
store.put(b"before", entry(b"x")); store.flush(); store.get(b"before"); store.put(b"queued", entry(b"y"))
child = os.fork()
if child == 0:
    assert store.get(b"before") is not None
    store.put(b"child", entry(b"c")); store.close(); os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.put(b"parent", entry(b"p")); store.close()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "c.db")]
    subprocess.run(command, check=True, timeout=60)
    store = open_store(tmp_path / "c.db")
    assert all(store.get(key) is not None for key in (b"before", b"queued", b"child", b"parent"))
    store.close()
