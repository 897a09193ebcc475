"""`headway optimize` over a real connection to a simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.cli import app
from tests.measure.rewrite_world import prompt_named, write_files

TICKETS = prompt_named("tickets")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A task, and some rows."""
    write_files(tmp_path, monkeypatch, TICKETS, 48)
    return tmp_path


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["optimize", *map(str, arguments)])


def test_a_task_becomes_cheaper(server, files):
    """Steps, diff and verdict for people; the task is written beside, and left alone itself."""
    before = Path("task.toml").read_text()
    done = invoke("task.toml", "--input", "rows.csv", "--for", "cost", "--margin", 30, "--models", "gpt-4.1-nano",
                  "--base-url", server, "--out", "better.toml", "--report", "page.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "kept" in done.stdout
    assert "no step had seen" in " ".join(done.stdout.split())
    assert Path("task.toml").read_text() == before
    assert "# the model" in Path("better.toml").read_text()
    assert Path("page.html").stat().st_size < 500_000


def test_json_is_the_whole_record(server, files):
    """Baseline, every step with its comparison, and the end."""
    done = invoke("task.toml", "--input", "rows.csv", "--margin", 30, "--base-url", server, "--json")
    found = json.loads(done.stdout)
    assert found["goal"] == "cost"
    assert found["baseline"]["answered"] == 24
    assert found["steps"]
    assert all(step["why"] for step in found["steps"])
    assert found["final"]["not_inferior"] is True


def test_write_changes_the_file_itself(server, files):
    """Only with --write."""
    before = Path("task.toml").read_text()
    done = invoke("task.toml", "--input", "rows.csv", "--margin", 30, "--base-url", server, "--write", "--quiet")
    assert done.exit_code == 0, done.output
    assert Path("task.toml").read_text() != before


def test_a_text_prompt_becomes_a_task_file(server, files):
    """A text with --model and --expected is optimized as a task; what comes of it cannot be a text."""
    Path("prompt.txt").write_text(TICKETS.system + "\nThe labels are: billing, technical, access, delivery.\n")
    options = ["prompt.txt", "--input", "rows.csv", "--margin", 30, "--model", "gpt-5.4-mini", "--expected", "expected"]
    done = invoke(*options, "--base-url", server, "--out", "better.toml")
    assert done.exit_code == 0, done.output
    assert 'model = "gpt-5.4-mini"' in Path("better.toml").read_text()
    assert "original: 24 of 24 rows answered ($0." in done.stderr
    assert "--out better.toml" in invoke(*options, "--write").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone.toml", "--input", "rows.csv"], "gone.toml cannot be read"),
        (["prompt.txt", "--input", "rows.csv"], "give --model"),
        (["task.toml", "--input", "rows.csv", "--model", "m"], "are for text files"),
        (["task.toml", "--input", "gone.csv"], "gone.csv"),
        (["task.toml", "--input", "rows.csv", "--report", "no/such/page.html"], "--report"),
    ],
)
def test_wrong_calls_say_what_is_wrong(files, arguments, says):
    """One sentence, exit code 2, and nothing is asked."""
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
