"""The journal: nothing finished is lost, nothing is counted twice."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.journal import SYNC_S, Header, Journal
from headway.jobs.record import Record
from headway.jobs.runner import JobSettings, journal_path, run_job
from headway.prompts import Task
from tests.jobs.job_fakes import FakeEngine

HEADER = Header(task="t", input="i", origin="o")


def job(tmp_path, **changes):
    task = changes.pop("task", None) or Task(model="m", prompt="{text}", labels=["a", "b"])
    return JobSettings(**({"input": str(tmp_path / "in.csv"), "task": task, "out": tmp_path / "out.jsonl"} | changes))


def run(settings, engine):
    return asyncio.run(run_job(settings, engine))


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def no_flush(monkeypatch):
    """Thousands of flushes would take their time on a slow disk."""
    monkeypatch.setattr("os.fsync", lambda fd: None)


@pytest.mark.usefixtures("no_flush")
def test_torn_at_every_byte(tmp_path):
    """Wherever a crash cut the journal, the second run sends exactly the rows whose line is not whole."""
    texts = ["one", "one"]
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    run(job(tmp_path), FakeEngine())
    whole, output = journal_path(tmp_path / "out.jsonl").read_bytes(), (tmp_path / "out.jsonl").read_bytes()
    for cut in range(len(whole) + 1):
        journal_path(tmp_path / "out.jsonl").write_bytes(whole[:cut])
        kept = max(0, whole[:cut].count(b"\n") - 1)
        engine = FakeEngine()
        finished = run(job(tmp_path), engine)
        assert len(engine.asked) == len(texts) - kept
        assert finished.tally.resumed == kept
        assert (tmp_path / "out.jsonl").read_bytes() == output


@pytest.mark.usefixtures("no_flush")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    texts=st.lists(st.sampled_from(["x", "y", "z", "bad", "broken,row"]), min_size=1, max_size=25),
    stops=st.lists(st.integers(0, 6), max_size=6),
    edits=st.lists(st.sampled_from(["x", "y", "new"]), max_size=3),
)
def test_interrupted_again_and_again(tmp_path_factory, texts, stops, edits):
    """However often a job is stopped, and though its input grew: each row once, all there, in order."""
    folder = tmp_path_factory.mktemp("job")
    answered = []

    def answer(row):
        if row["text"] == "bad":
            return "server_error", "boom"
        answered.append(row["text"])
        return "a"

    (folder / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    for stop in stops:
        with pytest.raises(asyncio.CancelledError) if stop < len(texts) else _nothing():
            run(job(folder, concurrency=3), _Stopping(answer, stop))
            raise asyncio.CancelledError  # it had nothing left to be stopped at
    (folder / "in.csv").write_text("text\n" + "\n".join(edits + texts) + "\n")
    run(job(folder, concurrency=3), FakeEngine(answer))
    good = [text for text in edits + texts if text in ("x", "y", "z", "new")]
    assert sorted(answered) == sorted(good)
    out = lines_of(folder / "out.jsonl")
    assert [line["row"] for line in out] == list(range(1, len(edits + texts) + 1))
    assert [line["input"]["text"] for line in out] == [text.split(",")[0] for text in edits + texts]
    assert [line["outcome"] for line in out] == [
        {"bad": "server_error", "broken,row": "input"}.get(text, "ok") for text in edits + texts
    ]


class _nothing:  # noqa: N801 - reads as a context
    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        return kind is asyncio.CancelledError


class _Stopping(FakeEngine):
    """Cancelled, as by a signal, when it has handed out so many results."""

    def __init__(self, answer, stop):
        super().__init__(answer)
        self.left = stop

    async def map(self, rows, task, *, order, concurrency, priority=0, tags=None):
        inner = super().map(rows, task, order=order, concurrency=concurrency, priority=priority)
        try:
            while self.left > 0:
                self.left -= 1
                try:
                    result = await anext(inner)
                except StopAsyncIteration:
                    return
                yield result
            raise asyncio.CancelledError
        finally:
            await inner.aclose()


def test_damage_in_the_middle_names_its_line(tmp_path):
    """A broken line that is not the last is no torn tail: the error names it."""
    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    for number in range(3):
        journal.append(f"k#{number}", Record(input={"a": number}))
    journal.close()
    raw = path.read_bytes().split(b"\n")
    raw[2] = raw[2][:-3]
    path.write_bytes(b"\n".join(raw))
    with pytest.raises(InputError, match="line 3"):
        Journal.open(path, HEADER)


def test_one_run_at_a_time(tmp_path):
    """A second run on the same output is told so, and leaves the journal alone."""
    path = tmp_path / "j"
    first = Journal.open(path, HEADER)
    first.append("k#0", Record(input={}))
    with pytest.raises(ConfigError, match="another run"):
        Journal.open(path, HEADER, fresh=True)
    first.close()
    second = Journal.open(path, HEADER)
    assert len(second) == 1
    assert second.find("k#0") is not None
    assert second.find("k#1") is None
    second.close()


def test_other_origins_and_other_files_are_refused(tmp_path):
    """Answers of a simulator are never taken for a provider's; a file that is no journal is left alone."""
    path = tmp_path / "j"
    Journal.open(path, HEADER).close()
    with pytest.raises(ConfigError, match="--fresh"):
        Journal.open(path, Header(origin="elsewhere"))
    Journal.open(path, Header(origin="elsewhere"), fresh=True).close()
    for text in ("precious\n", "{}\n", '{"a":1}\n'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="not a journal"):
            Journal.open(path, HEADER)
        assert path.read_text() == text
    path.write_text('{"headway_journal":99}\n')
    with pytest.raises(ConfigError, match="version 99"):
        Journal.open(path, HEADER)


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    """When the disk takes half a line, that half is cut off again and the error is a sentence."""
    import os

    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    journal.append("k#0", Record(input={}))
    before, write = path.read_bytes(), os.pwrite

    def half(fd, data, offset):
        if len(data) < 30:
            raise OSError(28, "No space left on device")
        return write(fd, data[:20], offset)

    monkeypatch.setattr("headway.jobs.journal.write_at", half)
    with pytest.raises(HeadwayError, match="No space left"):
        journal.append("k#1", Record(input={"a": "b" * 50}))
    monkeypatch.undo()
    journal.close()
    assert path.read_bytes() == before


def test_what_a_lane_noted_is_there_again(tmp_path):
    """Events come back in order with the run's name, rows between them or not; a torn event is cut off."""
    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    run = journal.run
    assert len(bytes.fromhex(run)) == 4
    journal.note(b'{"is":"intent",\n"n":1}')
    journal.append("k#0", Record(input={"a": 1}))
    journal.note(b'["sent",2]', durable=False)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":{"is":"to')
    again = Journal.open(path, HEADER)
    assert again.run == run
    assert [json.loads(event) for event in again.events] == [{"is": "intent", "n": 1}, ["sent", 2]]
    assert again.find("k#0")[1].read().input == {"a": 1}
    again.close()
    assert path.read_bytes() == whole
    other = Journal.open(path, HEADER, fresh=True)
    assert other.run != run
    assert other.events == []
    other.close()


def test_a_damaged_event_names_its_line(tmp_path):
    """An event that is no JSON, with lines after it, was not torn by a crash."""
    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    journal.note(b"{}")
    journal.note(b"{}")
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'{"event":{}}', b'{"event":{', 1))
    with pytest.raises(InputError, match="line 2"):
        Journal.open(path, HEADER)


def test_journals_of_the_first_version_go_on(tmp_path):
    """A journal of before runs had names is read, and given one that is kept from then on."""
    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    journal.append("k#0", Record(input={}))
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b'{"headway_journal":1,"task":"t","input":"i","origin":"o"}\n' + b"".join(lines[1:]))
    runs = set()
    for rows in (1, 2, 2):
        journal = Journal.open(path, HEADER)
        assert len(journal) == rows
        journal.append("k#1", Record(input={}))
        runs.add(journal.run)
        journal.close()
    assert len(runs) == 1


def test_a_later_line_of_a_row_counts(tmp_path):
    """A row that was sent again is what it became last."""
    path = tmp_path / "j"
    journal = Journal.open(path, HEADER)
    journal.append("k#0", Record(input={}, error="it failed"))
    journal.append("k#0", Record(input={}, output="a"))
    journal.close()
    journal = Journal.open(path, HEADER)
    assert len(journal) == 1
    assert journal.find("k#0")[1].ok
    journal.close()


def test_flushed_in_groups_and_at_once_when_durable(tmp_path, monkeypatch):
    """Rows are flushed together, off the loop's thread; a durable event before `note` returns; the rest at the end."""
    import os
    import threading

    flushed = []

    def fsync(fd):
        flushed.append((os.fstat(fd).st_size, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(os, "fsync", fsync)

    async def main():
        journal = Journal.open(tmp_path / "j", HEADER)
        flushed.clear()  # the folder
        loop, timers = asyncio.get_running_loop(), []

        def later(delay_s, work):
            timers.append((delay_s, work))
            return loop.call_at(loop.time() + 3600, work)

        monkeypatch.setattr(loop, "call_later", later)
        for number in range(10):
            journal.append(f"k#{number}", Record(input={}))
        assert flushed == []
        assert [delay_s for delay_s, _ in timers] == [SYNC_S]
        timers[0][1]()
        journal.append("k#10", Record(input={}))
        journal.note(b"{}")
        size = (tmp_path / "j").stat().st_size
        assert flushed[-1] == (size, True)
        journal.append("k#11", Record(input={}))
        journal.close()
        assert [aside for _, on_loop in flushed if (aside := not on_loop)] == [True]
        assert flushed[-1] == ((tmp_path / "j").stat().st_size, True)

    asyncio.run(main())


def test_a_flush_that_failed_aside_is_told(tmp_path, monkeypatch):
    """The disk's refusal to keep what was written reaches the next write, not the void."""
    import os

    def fsync(fd):
        raise OSError(5, "Input/output error")

    async def main():
        journal = Journal.open(tmp_path / "j", HEADER)
        journal.append("k#0", Record(input={}))
        monkeypatch.setattr(os, "fsync", fsync)
        journal._sync_aside()
        journal._thread.shutdown()
        with pytest.raises(HeadwayError, match="Input/output error"):
            journal.append("k#1", Record(input={}))
        monkeypatch.undo()
        journal.close()

    asyncio.run(main())
