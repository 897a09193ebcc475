"""`headway demo` and `headway log`, end to end over loopback, at a fiftieth of the model's latency."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.prompts.task import Task
from headway.store.call_reader import CallLogReader

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["Verbose, one by one", "Concise, one by one", "Verbose, Headway", "Concise, Headway"]


def call(*args):
    """The command's result; stdout and stderr apart."""
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The demo as JSON, run once: (figures, its folder)."""
    out = tmp_path_factory.mktemp("demo")
    done = call("demo", "--json", "--out", out, "--latency-scale", "0.02")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), out


def test_the_four_runs_are_what_they_are_called(shown):
    """One by one: 20 calls, none reused, never two at once. Headway: each different ticket once, several at once."""
    figures, out = shown
    assert list(figures["runs"]) == NAMES
    with CallLogReader(out / "calls.sqlite") as reader:
        for name, run in figures["runs"].items():
            tries = reader.attempts(run=f"demo: {name}")
            calls = reader.calls(run=f"demo: {name}")
            spans = sorted((row.start_wall_s, row.start_wall_s + row.end_s) for row in tries)
            overlaps = sum(after[0] < before[1] - 0.001 for before, after in pairwise(spans))
            assert (run["rows"], run["ok"], len(calls)) == (20, 20, 20)
            assert run["attempts"] == len(tries) == (14 if "Headway" in name else 20)
            assert run["reuse"]["hits"] + run["reuse"]["joins"] == (6 if "Headway" in name else 0)
            assert overlaps == 0 if "one by one" in name else overlaps > 3


def test_prompt_and_engine_are_told_apart(shown):
    """The prompt cuts tokens, the engine calls; together they do both."""
    runs = [shown[0]["runs"][name] for name in NAMES]
    verbose, concise, engine, both = (run["cost"]["total"] for run in runs)
    assert concise < 0.2 * verbose
    assert engine == pytest.approx(0.7 * verbose, rel=0.05)
    assert both < min(concise, engine)
    assert runs[0]["output_tokens_mean"] > 10 * runs[1]["output_tokens_mean"]
    assert "concise prompt is more cost-efficient" in shown[0]["verdict"]
    assert shown[0]["apart"].count("faster") == 3


def test_the_report_is_there(shown):
    """A page, and its path in the figures."""
    assert Path(shown[0]["report"]).read_text("utf-8").count("<svg") == 8


def test_the_table_ends_with_the_report_and_with_a_real_provider(tmp_path, monkeypatch):
    """Side by side in 80 columns; then what to type next."""
    monkeypatch.chdir(tmp_path)
    done = call("demo", "--latency-scale", "0")
    assert done.exit_code == 0, done.output
    text = done.stdout
    for part in (
        "x faster",
        "% cost",
        "more cost-efficient",
        "OPENAI_API_KEY",
        "headway run",
        "headway-demo/report.html",
    ):
        assert part in text
    table = text[: text.index("The concise prompt")]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "simulator" in done.stderr
    assert (tmp_path / "headway-demo" / "report.html").is_file()


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path):
    """One sentence, exit code 2, and nothing was started."""
    (tmp_path / "file").write_text("")
    done = call("demo", "--out", tmp_path / "file" / "x")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr


def test_nobodys_settings_change_the_demo(tmp_path, monkeypatch):
    """A headway.toml that lies about is not read."""
    monkeypatch.chdir(tmp_path)
    Path("headway.toml").write_text('budget_usd = 0.0000001\ncache = "off"\n')
    assert call("demo", "--json", "--latency-scale", "0").exit_code == 0


def test_log_takes_each_latency_apart(shown):
    """The parts add up to the total, row by row; hits and joins are told from calls."""
    log = shown[1] / "calls.sqlite"
    done = call("log", "--file", log, "--run", "demo: Concise, Headway", "--limit", "50", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 20
    assert {"miss", "joined", "memory"} >= {line["cache"] for line in lines} >= {"miss"}
    for line in lines:
        parts = line["latency"]
        names = ("earlier", "wait", "connect", "network_and_queue", "processing", "generation")
        assert sum(parts[name]["s"] for name in names) == pytest.approx(parts["ttlt_s"], abs=1e-6)
    text = call("log", "--file", log, "--limit", "3").stdout
    assert len(text.splitlines()) == 5
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "~" not in text.splitlines()[1]  # the simulator reports its processing time


def test_log_without_a_log_or_a_call(shown, tmp_path):
    """A missing log is a usage error of one sentence; a run of no calls is said to be one."""
    done = call("log", "--file", tmp_path / "none.sqlite")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert call("log").exit_code == 2
    done = call("log", "--file", shown[1] / "calls.sqlite", "--run", "no such run")
    assert done.exit_code == 0
    assert "no call of run" in done.stdout


def test_the_sample_tickets_are_what_the_demo_says():
    """20 tickets of 5 kinds; some verbatim repeats, and one that differs by case and space alone."""
    with (EXAMPLES / "tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tasks = [Task.load(EXAMPLES / f"{name}.toml") for name in ("verbose", "concise")]
    assert (len(rows), len({row["id"] for row in rows})) == (20, 20)
    assert {row["expected"] for row in rows} == set(tasks[0].output.labels) == set(tasks[1].output.labels)
    assert len({row["text"] for row in rows}) == 15
    assert all(len({task.key_body(row) for row in rows}) == 14 for task in tasks)
