"""A call and its only try are one row; nobody who reads the log, by the reader, the views or SQL, can tell."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.store import call_log
from headway.store.call_log import CallLog
from headway.store.call_reader import CallLogReader
from headway.store.rows import SINCE_START, TAGS, USAGE, LogRow, Taken, encoded, folded, snapshot, taken, try_of
from headway.store.writer import WriterSettings
from headway.types import Tags, Trace, Usage

INLINE = WriterSettings(inline=True)
OLD = (Path(__file__).parent / "log_of_version_2.sql").read_text(encoding="utf-8")
"""What the last Headway without such rows wrote: a try, two tries of a call, a hit."""


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def pair(id_: str = "c1", *, at_s: float = 10.0, **fields: Any) -> tuple[Trace, Trace]:
    """A caller and its try, as the layers leave them."""
    call = Trace("call", id_, at_s, 1_000.0 + at_s)
    tried = Trace("attempt", f"{id_}.0", at_s + 0.25, 1_000.25 + at_s)
    for trace in (call, tried):
        trace.flight_id, trace.model, trace.status, trace.outcome = id_, "m", 200, "ok"
        trace.sent_at_s = at_s + 0.5
        for name, value in fields.items():
            setattr(trace, name, value)
    tried.ended_at_s, call.ended_at_s = at_s + 1.0, at_s + 1.5
    call.cache, call.attempts = "miss", 1
    return call, tried


def as_row(trace: Trace, prompt: str | None = None, answer: str | None = None) -> LogRow:
    """What the log has to say of a trace, told without the log's own code."""
    fields = {name: getattr(trace, name, None) for name in LogRow.__struct_fields__}
    for name, moment in SINCE_START.items():
        at_s = getattr(trace, moment)
        fields[name] = None if at_s is None else at_s - trace.started_at_s
    fields |= {name: getattr(trace.usage, name, None) for name in USAGE}
    fields |= {name: getattr(trace.tags, name) for name in TAGS}
    fields["usage_estimated"] = getattr(trace.usage, "estimated", None)
    fields["block_hashes"] = ",".join(trace.block_hashes)
    return LogRow(**fields | {"prompt": prompt, "answer": answer})


def by_id(rows: list[LogRow]) -> dict[str, LogRow]:
    found = {row.id: row for row in rows}
    assert len(found) == len(rows)
    return found


def viewed(path: Path, view: str) -> list[LogRow]:
    columns = ", ".join(f'"{name}"' for name in LogRow.__struct_fields__)
    return [msgspec.convert(dict(zip(LogRow.__struct_fields__, row, strict=True)), LogRow, strict=False)
            for row in query(path, f"SELECT {columns} FROM {view}")]  # fmt: skip


def counts(path: Path) -> tuple[int, int]:
    """Rows that there are: of calls, and of tries alone."""
    ((calls, tries),) = query(path, "SELECT (SELECT count(*) FROM calls_data), (SELECT count(*) FROM attempts_data)")
    return calls, tries


def test_one_row_shows_as_two(tmp_path: Path):
    """In the reader, in both views, and for what joins them."""
    call, tried = pair(usage=Usage(input_tokens=3), tags=Tags(run="r"), block_hashes=())
    tried.block_hashes, tried.reply_bytes = ("aa", "bb"), 7
    log = CallLog(tmp_path / "l", writer=INLINE)
    log.write(tried)
    log.write(call)
    log.close()
    assert counts(tmp_path / "l") == (1, 0)
    with CallLogReader(tmp_path / "l") as reader:
        assert reader.calls() == [as_row(call)]
        for asked in ({}, {"run": "r"}, {"flight_id": "c1"}, {"since_wall_s": 1_010.25}, {"limit": 1}):
            assert reader.attempts(**asked) == [as_row(tried)]
        for asked in ({"run": "other"}, {"flight_id": "c2"}, {"since_wall_s": 1_010.26}, {"limit": 0}):
            assert reader.attempts(**asked) == []
    assert viewed(tmp_path / "l", "calls") == [as_row(call)]
    assert viewed(tmp_path / "l", "attempts") == [as_row(tried)]
    joined = "SELECT calls.id, attempts.id FROM calls JOIN attempts USING (flight_id)"
    assert query(tmp_path / "l", joined) == [("c1", "c1.0")]


def test_a_row_is_taken_apart_again():
    """By whoever follows the log row by row."""
    call, tried = pair()
    row = taken(encoded(snapshot(call), None, None, (1_010.25, 10.25, 11.0, (), 0, 0)))
    made = try_of(row)
    assert made == taken(encoded(snapshot(tried)))
    assert try_of(made) is None


def test_an_older_headway_reads_the_calls():
    """It knows no more than two texts behind a snapshot, and looks no further."""
    fields = [name for name in Taken.__struct_fields__ if name != "tried"]
    older: Any = msgspec.defstruct("Older", [(name, Any, None) for name in fields], array_like=True)
    row = msgspec.json.decode(encoded(snapshot(pair()[0]), None, None, (1.0, 2.0, 3.0, (), 0, 0)), type=older)
    assert (row.id, row.cache, row.answer) == ("c1", "miss", None)


def differing() -> list[Any]:
    def change(whose: int, name: str, value: Any) -> Any:
        def made() -> tuple[Trace, Trace]:
            both = pair()
            setattr(both[whose], name, value)
            return both

        return pytest.param(made, id=f"{('call', 'try')[whose]} {name}")

    return [
        change(0, "wait_s", 0.5), change(0, "outcome", "abandoned"), change(0, "dollars", 1.0),
        change(0, "usage", Usage()), change(0, "flight_id", "another"), change(0, "saved_dollars", 1.0),
        change(1, "id", "c1.group"), change(1, "cache", "off"), change(1, "attempts", 1), change(1, "model", "n"),
        change(1, "tags", Tags(step="s")), change(1, "upstream", "https://y"), change(1, "connect_s", 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize("made", differing())
def test_what_differs_has_rows_of_its_own(tmp_path: Path, made: Any):
    """A try that cannot be told from its call's row is written as it is."""
    call, tried = made()
    log = CallLog(tmp_path / "l", writer=INLINE)
    log.write(tried)
    log.write(call)
    log.close()
    assert counts(tmp_path / "l") == (1, 1)
    with CallLogReader(tmp_path / "l") as reader:
        assert (reader.calls(), reader.attempts()) == ([as_row(call)], [as_row(tried)])


def test_a_try_does_not_wait_for_its_caller(tmp_path: Path):
    """Written when its turn has come, as a crash must not take it; its caller comes later, and neither comes twice."""
    call, tried = pair()
    log = CallLog(tmp_path / "l", writer=WriterSettings(batch_s=0.001))
    log.write(tried)
    assert log.flush()
    assert counts(tmp_path / "l") == (0, 1)
    log.write(call)
    log.close()
    assert counts(tmp_path / "l") == (1, 1)
    assert by_id(viewed(tmp_path / "l", "attempts")) == {"c1.0": as_row(tried)}


def test_with_texts_there_are_two(tmp_path: Path):
    """Texts are bounded by the queue's bytes, which a try was let in without."""
    call, tried = pair()
    log = CallLog(tmp_path / "l", writer=INLINE)
    log.write(tried)
    log.write(call, "hello", "world")
    log.close()
    assert counts(tmp_path / "l") == (1, 1)
    assert viewed(tmp_path / "l", "calls") == [as_row(call, "hello", "world")]


def test_a_pair_that_cannot_be_written_costs_nobody_else(tmp_path: Path):
    """Its two rows are dropped, and counted as one of the queue's."""
    log = CallLog(tmp_path / "l", writer=INLINE, on_error=lambda _: None)
    for number in range(5):
        call, tried = pair(f"c{number}", error_code="\udc80" if number == 2 else "")
        log.write(tried)
        log.write(call)
    log.close()
    assert log.dropped == 1
    assert [row.id for row in viewed(tmp_path / "l", "attempts")] == ["c0.0", "c1.0", "c3.0", "c4.0"]


def test_what_the_queue_does_not_take_is_not_waited_for(tmp_path: Path):
    """A dropped try leaves nothing behind, and its caller, let in later, is a row of its own."""
    log = CallLog(tmp_path / "l", writer=WriterSettings(queue_rows_max=2, batch_s=5.0))
    pairs = [pair(f"c{number}") for number in range(4)]
    for _, tried in pairs:
        log.write(tried)
    assert log.dropped == 2
    assert len(log._held) == 2
    assert log.flush()
    assert log._held == {}
    log.write(pairs[3][0])
    log.close()
    assert [row.id for row in viewed(tmp_path / "l", "calls")] == ["c3"]
    assert [row.id for row in viewed(tmp_path / "l", "attempts")] == ["c0.0", "c1.0"]


@pytest.mark.parametrize("why", ["gone", "locked"])
def test_what_the_disk_refuses_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str):
    """A try that is given up before it is looked at leaves nothing behind; its caller's row is dropped and counted."""
    monkeypatch.setattr("headway.store.database._WRITE_BUSY_S", 0.0)
    path = tmp_path / "l"
    log = CallLog(path, writer=INLINE, on_error=lambda _: None)
    pairs = [pair(f"c{number}") for number in range(4)]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if why == "locked":
            other.execute("BEGIN EXCLUSIVE")  # it opens, but the transaction does not begin
        else:
            path.rename(tmp_path / "aside")
            path.mkdir()
        for _, tried in pairs:
            log.write(tried)
        log.flush()
        assert (log.dropped, log._held) == (4, {})
        for call, _ in pairs[:3]:
            call.first_byte_at_s = None if call.id == "c0" else call.started_at_s + 0.75  # c0 could be one row
            log.write(call)
        log.flush()
        assert (log.dropped, log._held) == (7, {})
    if why == "gone":
        path.rmdir()
        (tmp_path / "aside").rename(path)
    log.write(pairs[3][0])
    log.close()
    assert log.dropped == 7
    assert [row.id for row in viewed(path, "calls")] == ["c3"]
    assert viewed(path, "attempts") == []


def test_each_is_there_once_however_the_thread_runs(tmp_path: Path):
    """A thread that writes all the time beside a loop that ends calls: never twice, never none."""
    log = CallLog(tmp_path / "l", writer=WriterSettings(batch_s=0.0, batch_rows=7, queue_rows_max=1_000_000))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for first in range(0, 6_000, 3):
            pairs = [pair(f"c{number:05}") for number in range(first, first + 3)]
            for _, tried in pairs:
                log.write(tried)
            if first % 30 == 0:
                threading.Event().wait(0.0002)
            for call, _ in pairs:
                log.write(call)
    finally:
        sys.setswitchinterval(before)
    log.close()
    assert (log.dropped, log._held) == (0, {})
    for view, end in (("calls", ""), ("attempts", ".0")):
        found = query(tmp_path / "l", f"SELECT id FROM {view} ORDER BY id")
        assert found == [(f"c{number:05}{end}",) for number in range(6_000)]


@pytest.mark.parametrize("moment", ["found", "made"])
def test_the_thread_may_come_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str):
    """It takes the try while its caller makes the row of both of it, or just before it says so: there are two rows."""
    call, tried = pair()
    log = CallLog(tmp_path / "l", writer=INLINE)
    came: list[bool] = []

    def comes() -> None:
        if not came:
            came.append(True)
            log.flush()

    class Held(dict[str, Any]):
        def pop(self, *key: Any) -> Any:
            if moment == "made":
                comes()
            return super().pop(*key)

    def found(*rows: Any) -> Any:
        if moment == "found":
            comes()
        return folded(*rows)

    log._held = log._calls.held = Held()
    monkeypatch.setattr(call_log, "folded", found)
    log.write(tried)
    log.write(call)
    log.close()
    assert came
    assert counts(tmp_path / "l") == (1, 1)
    assert viewed(tmp_path / "l", "calls") == [as_row(call)]
    assert viewed(tmp_path / "l", "attempts") == [as_row(tried)]


def test_a_row_that_is_written_again_is_the_same(tmp_path: Path):
    """A batch with a bad row is halved until that is alone: tries that were taken alone stay alone."""
    log = CallLog(tmp_path / "l", writer=INLINE, on_error=lambda _: None)
    pairs = [pair(f"c{number}") for number in range(4)]
    for _, tried in pairs:
        log.write(tried)
    bad = pair("bad")[0]
    bad.body_bytes = object()  # type: ignore[assignment]
    log.write(bad)
    log.write(pairs[0][0])
    log.close()
    assert log.dropped == 1
    assert [row.id for row in viewed(tmp_path / "l", "calls")] == ["c0"]
    assert [row.id for row in viewed(tmp_path / "l", "attempts")] == ["c1.0", "c2.0", "c3.0", "c0.0"]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_folded_rows import pair
from headway.store.call_log import CallLog
log = CallLog(sys.argv[1])
for number in range(100):
    call, tried = pair(f"c{number}")
    log.write(tried)
    if number < 50:
        log.write(call)
log.flush()
log.write(call)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_leaves_what_was_flushed(tmp_path: Path):
    """Tries whose calls were still open, too."""
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "l"), str(Path(__file__).parent)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    with CallLogReader(tmp_path / "l") as reader:
        assert [row.id for row in reader.calls()] == [f"c{number}" for number in range(50)]
        assert {row.id for row in reader.attempts()} == {f"c{number}.0" for number in range(100)}


def test_a_child_does_not_fold_into_its_parents_queue(tmp_path: Path):
    """A call that ends in both, after a fork, is written by both: the child's queue is its own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    code = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_folded_rows import pair
from headway.store.call_log import CallLog
from headway.store.writer import WriterSettings
log = CallLog(sys.argv[1], writer=WriterSettings(batch_s=5.0))
call, tried = pair()
log.write(tried)
child = os.fork()
log.write(call); log.close()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    arguments = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "l"), str(Path(__file__).parent)]
    subprocess.run(arguments, check=True, timeout=60)
    assert [row.id for row in viewed(tmp_path / "l", "calls")] == ["c1", "c1"]
    assert [row.id for row in viewed(tmp_path / "l", "attempts")] == ["c1.0"]


class Late:
    """Block hashes that are made when the writer asks for them."""

    def __iter__(self) -> Any:
        return iter(("aa", "bb"))


# SQLite's functions end a text at NUL; the reader gives all of it (test_call_log).
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
seconds = st.floats(0.0, 1e9, allow_nan=False)
counted = st.integers(0, 2**53)
FIELDS = {
    "model": texts, "upstream": texts, "path": texts, "format": texts, "stream": st.booleans(),
    "status": st.none() | counted, "outcome": st.sampled_from([None, "ok", "throttled", "abandoned"]),
    "error_code": texts, "finish": texts, "request_id": texts, "output_tokens_max": st.none() | counted,
    "wait_s": seconds, "connect_s": st.none() | seconds, "sent_at_s": st.none() | seconds,
    "first_byte_at_s": st.none() | seconds, "first_content_at_s": st.none() | seconds,
    "provider_queue_s": st.none() | seconds, "provider_processing_s": st.none() | seconds,
    "provider_estimated": st.booleans(), "dollars": st.none() | seconds, "saved_dollars": st.none() | seconds,
    "maybe_billed": st.booleans(), "tenant": texts, "body_bytes": st.integers(0, 99_999), "reply_bytes": counted,
    "usage": st.none() | st.builds(Usage, input_tokens=counted, output_tokens=counted, cached_tokens=st.just(0) | counted,
                                   reasoning_tokens=st.just(0) | counted, estimated=st.booleans()),
    "tags": st.just(Tags()) | st.builds(Tags, run=texts, step=texts, parent=texts, session=texts),
}  # fmt: skip
some = st.fixed_dictionaries({}, optional=FIELDS)
hashes = st.sampled_from([(), ("aa",), ("aa", "bb"), Late()])
tried = st.tuples(some, hashes, st.none() | seconds)
story = st.fixed_dictionaries(
    {
        "shared": some,
        "tries": st.lists(tried, max_size=3),
        "own": st.just({}) | some,
        "cache": st.sampled_from(["off", "miss", "memory", "joined"]),
        "joiners": st.integers(0, 1),
        "texts": st.none() | st.tuples(st.none() | texts, st.none() | texts),
        "flushed": st.booleans(),
        "first": st.sampled_from(["try", "try", "try", "call"]),
    }
)


def traces(number: int, told: dict[str, Any]) -> tuple[list[Trace], list[Trace]]:
    """Callers, the leader first, and tries."""
    id_, at_s = f"c{number}", 100.0 * number
    tries = []
    for index, (fields, blocks, end_s) in enumerate(told["tries"]):
        made = Trace("attempt", f"{id_}.{index}", at_s + index, 1_000.0 + at_s + index)
        values = told["shared"] | (fields if index else {}) | {"block_hashes": blocks, "ended_at_s": end_s}
        for name, value in (values | {"attempt_index": index, "flight_id": id_}).items():
            setattr(made, name, value)
        tries.append(made)
    callers = []
    for joiner in range(told["joiners"] + 1):
        made = Trace("call", f"j{number}" if joiner else id_, at_s + 0.5, 1_000.5 + at_s)
        for name, value in (told["shared"] | told["own"]).items():
            setattr(made, name, value)
        made.flight_id, made.cache = id_ if tries else "", "joined" if joiner else told["cache"]
        made.attempts, made.ended_at_s = len(tries), at_s + 9.0
        callers.append(made)
    return callers, tries


@settings(max_examples=30, deadline=None)
@given(st.lists(story, min_size=1, max_size=8))
def test_whatever_happens_every_field_comes_back(stories: list[dict[str, Any]]):
    """Calls with no, one or many tries, hits, joined ones, with texts, in any order: in the reader and in the views."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l"
        log = CallLog(path, writer=INLINE)
        calls, tries = {}, {}
        for number, told in enumerate(stories):
            callers, tried = traces(number, told)
            prompt, answer = told["texts"] or (None, None)
            for order in (tried, callers) if told["first"] == "try" else (callers, tried):
                for trace in order:
                    if trace.kind == "call":
                        log.write(trace, prompt, answer)
                        calls[trace.id] = as_row(trace, prompt, answer)
                    else:
                        log.write(trace)
                        tries[trace.id] = as_row(trace)
                if told["flushed"]:
                    log.flush()
        log.close()
        assert (log.dropped, log._held) == (0, {})
        with CallLogReader(path) as reader:
            assert by_id(reader.calls()) == calls
            assert by_id(reader.attempts()) == tries
            for row in calls.values():
                of_flight = {id_: one for id_, one in tries.items() if one.flight_id == row.flight_id}
                assert by_id(reader.attempts(flight_id=row.flight_id)) == of_flight
                of_run = {id_: one for id_, one in tries.items() if row.run and one.run == row.run}
                assert by_id(reader.attempts(run=row.run)) == of_run
        assert by_id(viewed(path, "calls")) == calls
        assert by_id(viewed(path, "attempts")) == tries


def old_log(path: Path) -> None:
    """A file as the last Headway without such rows left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(OLD)
        connection.execute(f"PRAGMA application_id = {0x48574C31}")
        connection.execute("PRAGMA user_version = 2")
        connection.execute("PRAGMA journal_mode = WAL")


def read(path: Path) -> tuple[list[str], list[str]]:
    with CallLogReader(path) as reader:
        calls, attempts = reader.calls(), reader.attempts()
        assert sorted(calls, key=str) == sorted(viewed(path, "calls"), key=str)
        assert sorted(attempts, key=str) == sorted(viewed(path, "attempts"), key=str)
        return [row.id for row in calls], [row.id for row in attempts]


def test_an_older_log_goes_on(tmp_path: Path):
    """It is read as it is; the next writer adds what is missing, and both kinds of rows are shown together."""
    path = tmp_path / "l"
    old_log(path)
    before = read(path)
    assert before == (["one", "two", "hit"], ["one.0", "two.0", "two.1"])
    with CallLogReader(path) as early:
        assert [row.block_hashes for row in early.attempts(flight_id="one")] == ["aa,bb"]
        call, tried = pair("new", at_s=1_699_999_500.0)
        log = CallLog(path, writer=INLINE)
        assert read(path) == before
        log.write(tried)
        log.write(call)
        log.close()
        assert [row.id for row in early.attempts()] == [*before[1], "new.0"]  # opened before the file was changed
    assert counts(path) == (4, 3)
    assert read(path) == ([*before[0], "new"], [*before[1], "new.0"])
    with CallLogReader(path) as reader:
        assert [row.id for row in reader.attempts(limit=2)] == ["two.1", "new.0"]
        assert [row.usage_estimated for row in reader.calls()] == [False, None, None, None]
    assert not list(tmp_path.glob("l.*"))
    CallLog(path).close()
    # An older Headway that still has it open goes on as well.
    columns = "start_wall_s, run, data"
    query(path, f"INSERT INTO calls_data (id, {columns}) SELECT 'again', {columns} FROM calls_data WHERE id = 'hit'")
    assert query(path, "SELECT count(*) FROM calls") == [(5,)]
    assert query(path, "SELECT count(*) FROM attempts") == [(4,)]


def test_many_may_open_an_older_log_at_once(tmp_path: Path):
    """One adds what is missing, the others find it."""
    old_log(tmp_path / "l")
    start, problems = threading.Barrier(6), []

    def opens(number: int) -> None:
        start.wait()
        try:
            log = CallLog(tmp_path / "l", writer=INLINE, on_error=problems.append)
            for trace in reversed(pair(f"c{number}")):
                log.write(trace)
            log.close()
        except Exception as problem:
            problems.append(str(problem))
            raise

    threads = [threading.Thread(target=opens, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert counts(tmp_path / "l") == (9, 3)
    assert query(tmp_path / "l", "SELECT count(*) FROM attempts") == [(9,)]
