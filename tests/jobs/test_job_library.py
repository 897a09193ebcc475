"""`headway.run` from programs: with and without a running loop, resumed, stopped early, read lazily."""

import asyncio
import json
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headway
from headway.errors import ConfigError, InputError
from headway.testing import FakeProvider, Step

TASK = headway.Task(model="gpt-5.4-mini", prompt="{text}", labels=["card", "invoice"])
ROWS = [{"text": f"t{i}", "n": i} for i in range(5)]


def provider(*script):
    return FakeProvider(script or [Step(text="card")])


def test_dicts_in_dicts_out():
    """The result has a row for each row, in order, with what it took; and the figures of the whole."""
    job = headway.run(ROWS, TASK, handler=provider(), cache=False)
    assert [row["n"] for row in job.table] == [0, 1, 2, 3, 4]
    assert job.table[0] | {"latency_s": 0} == {
        "text": "t0",
        "n": 0,
        "output": "card",
        "error": None,
        "outcome": "ok",
        "latency_s": 0,
        "tokens_in": 10,
        "tokens_out": 2,
        "dollars": job.table[0]["dollars"],
        "cache": "off",
        "lane": "online",
    }
    assert [result.value for result in job] == [result.value for result in job.results] == ["card"] * 5
    assert (len(job), job.stopped, job.summary.rows, dict(job.summary.failed)) == (5, "", 5, {})
    assert job.summary.cost.total == pytest.approx(sum(row["dollars"] for row in job.rows()))
    assert repr(job) == "<JobResult: 5 rows, 0 failed>"


def test_a_running_loop_is_no_hindrance():
    """Notebooks have one: the sync call works inside it, the async one runs on it; iterators are rows too."""

    async def cell():
        sync = headway.run(ROWS, TASK, handler=provider(), cache=False)
        other = await headway.run_async((row for row in ROWS), TASK, handler=provider(), cache=False)
        return sync, other

    sync, other = asyncio.run(cell())
    assert [r.value for r in sync] == [r.value for r in other] == ["card"] * 5


def test_with_out_a_job_is_resumed(tmp_path):
    """The same call sends nothing again; a new row is all that a longer table owes; results come from the journal."""
    frame = pd.DataFrame({"text": ["a", "b"]})
    first, second, third = provider(), provider(), provider()
    out = tmp_path / "out.parquet"
    headway.run(frame, TASK, out=out, handler=first, cache=False)
    again = headway.run(frame, TASK, out=str(out), handler=second, cache=False)
    assert (first.calls, second.calls, again.summary.resumed) == (2, 0, 2)
    longer = pd.DataFrame({"text": ["a", "new", "b"]})
    assert list(headway.run(longer, TASK, out=out, handler=third, cache=False).table["output"]) == ["card"] * 3
    assert third.calls == 1
    assert pq.read_table(out)["text"].to_pylist() == ["a", "new", "b"]
    assert list(again.table["output"]) == ["card", "card"]  # still readable: journals are only appended to


def test_paths_and_folders(tmp_path):
    """A file in, a folder of parts out, with a task file: everything the command line takes."""
    (tmp_path / "task.toml").write_text('model = "gpt-5.4-mini"\nprompt = "{text}"\n')
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "in.parquet")
    out = f"{tmp_path}/out/"
    job = headway.run(tmp_path / "in.parquet", tmp_path / "task.toml", out=out, handler=provider(), cache=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_SUCCESS", "part-00000.parquet"]
    assert pq.read_table(out).equals(job.to_arrow())
    assert [row["n"] for row in job.table] == [0, 1, 2, 3, 4]


def test_a_job_that_stops_says_why_and_what_is_owed():
    """A key that is refused stops the job; the table is as long as the input, its rows marked as owed."""
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(50)]})
    job = headway.run(frame, TASK, handler=provider(401), cache=False, concurrency=2)
    assert job.stopped
    assert len(job) == len(job.table) == 50
    assert set(job.table["outcome"]) == {"owed"}
    assert job.results[49].outcome == "owed"
    assert job.results[49].error == job.stopped
    assert list(job.table["text"]) == list(frame["text"])


def test_rows_that_fail_are_rows(tmp_path):
    """What is no row, and what the provider refuses, are in the table with their error."""
    job = headway.run([{"text": "a"}, "b", {"body": "c"}], TASK, handler=provider(), cache=False)
    assert [row["outcome"] for row in job.table] == ["ok", "input", "input"]
    assert job.table[1]["error"] == "row 2 is a str, not a dict with columns"
    assert sum(job.summary.failed.values()) == 2


def test_wrong_calls_are_one_sentence(tmp_path):
    """Figures out of range, a task that is not there, a column that is not there: before anything is sent."""
    asked = provider()
    for options, words in (
        ({"concurrency": 0}, "concurrency must be a number from 1 to 100,000, not 0"),
        ({"deadline_s": -1}, "deadline_s must be a number of seconds above 0"),
        ({"cache": "maybe"}, "cache"),
        ({"out": tmp_path / "no" / "out.csv"}, "cannot be written"),
    ):
        with pytest.raises(ConfigError, match=words):
            headway.run(ROWS, TASK, handler=asked, **options)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        headway.run(ROWS, tmp_path / "none.toml", handler=asked)
    with pytest.raises(InputError, match="the rows given has no column 'text'"):
        headway.run([{"body": "a"}], TASK, handler=asked)
    assert asked.calls == 0


def test_an_interrupted_call_keeps_what_is_done(tmp_path):
    """Cancelled midway, the finished rows are in the journal, and the same call sends the others."""
    out = tmp_path / "out.jsonl"

    async def cut_off():
        script = [*[Step(text="card")] * 3, Step(text="card", delay_s=60)]
        work = asyncio.create_task(
            headway.run_async(ROWS, TASK, out=out, handler=FakeProvider(script), cache=False, concurrency=1)
        )
        while not (tmp_path / "out.jsonl.journal").exists() or done() < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    def done():
        return (tmp_path / "out.jsonl.journal").read_bytes().count(b'"key"')

    asyncio.run(cut_off())
    rest = provider()
    headway.run(ROWS, TASK, out=out, handler=rest, cache=False)
    assert rest.calls == 2
    assert [json.loads(line)["row"] for line in out.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_pyarrow_is_not_needed_for_dicts():
    """Who has no tables need not install it: neither dicts, nor JSONL out, import it."""
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import headway\n"
        "from headway.testing import FakeProvider\n"
        "task = headway.Task(model='m', prompt='{text}')\n"
        "job = headway.run([{'text': 'a'}], task, handler=FakeProvider(), cache=False)\n"
        "assert job.table[0]['outcome'] == 'ok'\n"
        "try:\n    job.to_arrow()\nexcept headway.ConfigError as error:\n    print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'headway[parquet]'" in out
