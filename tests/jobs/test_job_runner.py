"""The runner: what is sent, what is written, when it stops."""

import asyncio
import csv
import json
import os

import pytest

from headway.errors import ConfigError, InputError
from headway.jobs.runner import JobSettings, journal_path, run_job
from headway.jobs.verdict import FIRST_FAILURES, LATER_FAILURES, Verdict
from headway.prompts import Json, Task
from headway.sim.loop import run_virtual
from headway.types import Result
from tests.jobs.job_fakes import FakeEngine


@pytest.fixture
def job(tmp_path):
    """Settings for `in.csv` with the given rows of text."""

    def make(texts=None, **changes):
        if texts is not None:
            (tmp_path / "in.csv").write_text("text,id\n" + "".join(f"{text},{i}\n" for i, text in enumerate(texts)))
        task = Task(model="m", prompt="{text}", labels=["a", "b"])
        base = {"input": str(tmp_path / "in.csv"), "task": task, "out": tmp_path / "out.jsonl", "concurrency": 4}
        return JobSettings(**(base | changes))

    return make


def run(settings, engine=None, **hooks):
    return asyncio.run(run_job(settings, engine or FakeEngine(), **hooks))


def output(settings):
    return [json.loads(line) for line in settings.out.read_text().splitlines()]


def test_output_is_whole_and_in_order(job):
    """Every row is in the output, in input order, failed ones with their error; never more in flight than asked."""
    texts = [f"t{i}" for i in range(50)]
    engine = FakeEngine(lambda row: ("server_error", "boom") if row["id"].endswith("7") else "a")
    settings = job(texts)
    finished = run(settings, engine)
    out = output(settings)
    assert [line["row"] for line in out] == list(range(1, 51))
    assert [line["input"]["text"] for line in out] == texts
    assert [line["error"] is not None for line in out] == [text.endswith("7") for text in texts]
    assert (finished.tally.done, finished.tally.failed, finished.tally.total) == (50, 5, 50)
    assert engine.in_flight_max <= 4
    assert out[0]["tokens"] == {"in": 10, "cached": 0, "out": 2, "reasoning": 0}


def test_a_finished_job_sends_nothing(job):
    """The same command again changes no byte and sends nothing; equal rows each have their own record."""
    settings = job(["x", "x", "y", "x"])
    assert len(_asked(settings)) == 4
    before = settings.out.read_bytes()
    assert _asked(settings) == []
    assert settings.out.read_bytes() == before
    assert not list(settings.out.parent.glob(".*.part"))


def test_a_job_runs_under_virtual_time(job):
    """Jobs need no thread and no clock but the loop's: they run on the virtual loop as they are."""
    settings = job(["x", "y", "x"])
    assert run_virtual(run_job(settings, FakeEngine(), on_progress=lambda tally: None)).tally.done == 3
    assert len(output(settings)) == 3


def _asked(settings, answer=lambda row: "a"):
    engine = FakeEngine(answer)
    run(settings, engine)
    return [row["text"] for row in engine.asked]


def test_only_what_is_owed_is_sent(job):
    """A new row, one more of an equal, and an edited prompt owe exactly their rows; a changed id owes nothing."""
    _asked(job(["x", "y"]))
    assert _asked(job(["new", "y", "x", "x"])) == ["new", "x"]
    assert [line["input"] for line in output(job())] == [
        {"text": text, "id": str(i)} for i, text in enumerate(["new", "y", "x", "x"])
    ]
    edited = Task(model="m", prompt="Now: {text}", labels=["a", "b"])
    assert len(_asked(job(task=edited))) == 4
    assert _asked(job()) == []  # back to the first prompt: its answers are still there


def test_failed_rows_are_sent_again_only_when_asked(job):
    """A failed row stays failed on resume; --retry-failed sends it, and it alone."""
    bad = job(["x", "bad", "y"])
    _asked(bad, lambda row: ("server_error", "boom") if row["text"] == "bad" else "a")
    assert _asked(job()) == []
    assert _asked(job(retry_failed=True)) == ["bad"]
    assert [line["error"] for line in output(job())] == [None, None, None]


def test_fresh_starts_over(job):
    """--fresh forgets the journal."""
    _asked(job(["x", "y"]))
    assert _asked(job(fresh=True)) == ["x", "y"]


@pytest.mark.parametrize("outcome", ["auth", "client_error", "connect_failed", "billing"])
def test_hopeless_jobs_stop_early_and_owe_everything(job, outcome):
    """A wrong key, an unknown model or a provider that is down stops the job before it burns through the rows."""
    settings = job([f"t{i}" for i in range(100)])
    engine = FakeEngine(lambda row: (outcome, "code"))
    finished = run(settings, engine)
    assert finished.stopped == "it failed with code"
    assert len(engine.asked) <= FIRST_FAILURES + 4
    assert not settings.out.exists()
    assert len(_asked(job())) == 100


def test_a_key_revoked_midway_stops_the_job_too(job):
    """After successes it takes more of the same failure in a row; what came before is kept."""
    settings = job([f"t{i}" for i in range(200)])
    engine = FakeEngine(lambda row: "a" if int(row["id"]) < 50 else ("auth", "401"))
    finished = run(settings, engine)
    assert finished.stopped
    assert len(engine.asked) <= 50 + LATER_FAILURES + 8
    assert 50 <= finished.tally.done <= 50 + 4  # failures between successes count as their rows' own
    assert len(_asked(job())) == 200 - finished.tally.done


def test_a_spent_budget_drains(job):
    """When the budget is spent, what is in flight is still written down, and the rest stays owed."""
    settings = job([f"t{i}" for i in range(30)], concurrency=8)
    engine = FakeEngine(lambda row: ("budget", "budget") if int(row["id"]) == 10 else "a")
    finished = run(settings, engine)
    assert finished.stopped
    assert finished.tally.done == len(engine.asked) - 1
    assert len(_asked(job())) == 30 - finished.tally.done


def test_first_rows_may_fail_each_for_its_own_reason():
    """Different failures, or fewer than three, are the rows' own; they are written down in order of arrival."""
    verdict = Verdict()
    failure = lambda code: Result(index=0, row={}, error="e", outcome="client_error", error_code=code)  # noqa: E731
    assert verdict.judge(0, "a", failure("x")) == []
    assert [row for row, *_ in verdict.judge(1, "b", failure("y"))] == [0]
    assert [row for row, *_ in verdict.judge(2, "c", Result(index=0, row={}))] == [1, 2]
    assert not verdict.reason
    assert verdict.close() == []


def test_csv_output_keeps_the_input(job, tmp_path):
    """CSV has the input's columns, then the result's; a column of the same name is kept apart."""
    (tmp_path / "in.csv").write_text('text,output\n"a, ""b""\nc",mine\nbad,other\n')
    settings = job(out=tmp_path / "out.csv")
    run(settings, FakeEngine(lambda row: ("server_error", "boom") if row["text"] == "bad" else "a"))
    with settings.out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "text", "output", "headway_output", "error", "latency_s", "tokens_in", "tokens_out", "dollars", "cache",
    ]  # fmt: skip
    assert rows[0]["text"] == 'a, "b"\nc'
    assert (rows[0]["output"], rows[0]["headway_output"], rows[0]["tokens_in"]) == ("mine", "a", "10")
    assert (rows[1]["headway_output"], rows[1]["error"]) == ("", "it failed with boom")


@pytest.mark.parametrize(("safe", "cell"), [(False, "=1+1"), (True, "'=1+1")])
def test_formulas_are_defused_on_request(job, tmp_path, safe, cell):
    """Model text that a spreadsheet would run is left alone, unless --csv-safe asks for the quote."""
    task = Task(model="m", prompt="{text}")
    settings = job(["x"], out=tmp_path / "out.csv", csv_safe=safe, task=task)
    run(settings, FakeEngine(lambda row: "=1+1"))
    with settings.out.open(newline="") as file:
        assert next(csv.DictReader(file))["output"] == cell


def test_structured_output_survives_a_resume(job, tmp_path):
    """A dict stays a dict in JSONL, and is JSON in a CSV cell, also when it comes out of the journal."""
    task = Task(model="m", prompt="{text}", output=Json())
    settings = job(["x"], task=task)
    value = {"a": [1, None, "é"], "b": {"c": 1.5}}
    run(settings, FakeEngine(lambda row: value))
    assert output(settings)[0]["output"] == value
    run(settings)
    assert output(settings)[0]["output"] == value


def test_without_an_output_lines_come_in_order(job):
    """For a pipe, lines come in input order as soon as all before them are there, and nothing is left on the disk."""
    lines = []
    settings = job([f"t{i}" for i in range(40)], out=None)
    run(settings, on_line=lines.append)
    assert [json.loads(line)["row"] for line in lines] == list(range(1, 41))
    assert os.listdir(os.path.dirname(settings.input)) == ["in.csv"]  # noqa: PTH120, PTH208 - plainly


def test_broken_rows_are_in_the_output(job, tmp_path):
    """Rows that cannot be read cost no call and are in the output with their error."""
    (tmp_path / "in.csv").write_text("text,id\na,1\nb\nc,3\n")
    settings = job()
    assert _asked(settings) == ["a", "c"]
    out = output(settings)
    assert [line["outcome"] for line in out] == ["ok", "input", "ok"]
    assert out[1]["error"] == "row 2 (line 3) has 1 cell where the header has 2"
    assert out[1]["input"] == {"text": "b"}


def test_every_result_is_counted_once(job):
    """Summaries see each row once, resumed ones marked as such."""
    seen = []
    settings = job(["x", "bad", "y"])
    answer = lambda row: ("server_error", "boom") if row["text"] == "bad" else "a"  # noqa: E731
    run(settings, FakeEngine(answer), on_result=lambda result, resumed: seen.append((result.index, resumed)))
    assert sorted(seen) == [(0, False), (1, False), (2, False)]
    seen.clear()
    run(job(retry_failed=True), on_result=lambda result, resumed: seen.append((result.index, result.value, resumed)))
    assert sorted(seen) == [(0, "a", True), (1, "a", False), (2, "a", True)]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"task": Task(model="m", prompt="{txt}")}, InputError, "'txt'.*text, id"),
        ({"task": Task(model="m", prompt="{text}", expected="label")}, InputError, "'label'"),
        ({"input": "nowhere.csv"}, InputError, "nowhere.csv"),
    ],
)
def test_usage_errors_come_before_any_call(job, changes, error, words):
    """A missing column or file is found before anything is sent or written."""
    engine, settings = FakeEngine(), job(["x"], **changes)
    with pytest.raises(error, match=words):
        run(settings, engine)
    assert engine.asked == []
    assert not journal_path(settings.out).exists()


def test_outputs_that_must_not_be_written(job, tmp_path):
    """The input itself, a folder, a folder that is not there, and somebody's file are refused before any call."""
    settings = job(["x"])
    (tmp_path / "precious.jsonl").write_text("mine")
    for out, words in [
        (tmp_path / "in.csv", "input itself"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "out.jsonl", "cannot be written"),
        (tmp_path / "precious.jsonl", "--fresh"),
    ]:
        engine = FakeEngine()
        with pytest.raises(ConfigError, match=words):
            run(job(out=out), engine)
        assert engine.asked == []
    assert (tmp_path / "precious.jsonl").read_text() == "mine"
    assert settings.out != tmp_path


def test_input_that_breaks_midway_keeps_what_is_done(job, tmp_path):
    """A file that cannot be read to its end stops the job with a sentence; the rows before that are kept."""
    import gzip

    data = gzip.compress(b"text,id\n" + b"".join(b"%d-%s,1\n" % (i, os.urandom(9).hex().encode()) for i in range(9000)))
    (tmp_path / "in.csv.gz").write_bytes(data[:-2000])
    settings = job(input=str(tmp_path / "in.csv.gz"))
    with pytest.raises(InputError, match="cannot be read after row"):
        run(settings)
    assert journal_path(settings.out).read_bytes().count(b"\n") > 1000
