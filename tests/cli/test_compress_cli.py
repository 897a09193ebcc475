"""`headway compress` over a real connection to a simulator."""

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
    write_files(tmp_path, monkeypatch, TICKETS, 32)
    return tmp_path


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["compress", *map(str, arguments)])


def test_the_shorter_task_is_written_where_it_is_asked_for(server, files):
    """Candidates, diff and verdict for people; the file and the page for later; the task itself is left alone."""
    before = Path("task.toml").read_text()
    done = invoke("task.toml", "--verify", "rows.csv", "--margin", 30, "--base-url", server, "--out", "short.toml",
                  "--report", "page.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "kept" in done.stdout
    assert "tokens of fixed text" in done.stdout
    assert Path("task.toml").read_text() == before
    after = Path("short.toml").read_text()
    assert "# the model" in after
    assert len(after) < len(before)
    assert Path("page.html").stat().st_size < 500_000


def test_write_changes_the_file_itself(server, files):
    """Only with --write."""
    before = Path("task.toml").read_text()
    done = invoke("task.toml", "--verify", "rows.csv", "--margin", 30, "--base-url", server, "--write", "--quiet")
    assert done.exit_code == 0, done.output
    assert Path("task.toml").read_text() != before
    assert done.stdout.count("\n") == 1


def test_json_holds_every_candidate(server, files):
    """One object on stdout, with why each was or was not kept."""
    done = invoke("task.toml", "--verify", "rows.csv", "--margin", 30, "--base-url", server, "--json")
    found = json.loads(done.stdout)
    assert found["kept"] is True
    assert {one["stage"] for one in found["candidates"]} <= {"kept", "untried", "choose", "confirm", "guard"}
    assert found["tokens_after"] < found["tokens_before"]
    assert found["text"].startswith("model = ")


def test_a_plain_prompt_is_shortened_as_text(server, files):
    """A text file with --model and --expected; what is written is text again."""
    Path("prompt.txt").write_text(TICKETS.system + "\nThe labels are: billing, technical, access, delivery.\n")
    done = invoke("prompt.txt", "--verify", "rows.csv", "--margin", 30, "--base-url", server, "--model", "gpt-5.4-mini",
                  "--expected", "expected", "--out", "short.txt")  # fmt: skip
    assert done.exit_code == 0, done.output
    after = Path("short.txt").read_text()
    assert "model =" not in after
    assert "lawyer" in after
    assert len(after) < len(Path("prompt.txt").read_text())


def test_too_few_rows_to_tell_is_exit_code_3(server, files):
    """Open is neither yes nor no."""
    done = invoke("task.toml", "--verify", "rows.csv", "--margin", 0.5, "--base-url", server, "--quiet")
    assert done.exit_code == 3, done.output
    assert "open" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone.toml", "--verify", "rows.csv"], "gone.toml cannot be read"),
        (["task.toml", "--verify", "gone.csv"], "gone.csv"),
        (["task.toml", "--verify", "rows.csv", "--model", "m"], "are for text files"),
        (["rows.csv", "--verify", "rows.csv"], "give --model"),
        (["task.toml", "--verify", "rows.csv", "--max-usd", "much"], "--max-usd"),
        (["task.toml", "--verify", "rows.csv", "--out", "no/such/folder.toml"], "--out"),
        (["task.toml", "--verify", "rows.csv", "--check", "magic"], "there is no such check"),
    ],
)
def test_wrong_calls_say_what_is_wrong(files, arguments, says):
    """One sentence, exit code 2, and nothing is asked."""
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stdout == ""


def test_steps_are_told_without_a_terminal(server, files):
    """A line for each on stderr; with --quiet none."""
    options = ["task.toml", "--verify", "rows.csv", "--margin", 30, "--base-url", server]
    assert "holds ($0." in invoke(*options).stderr
    assert invoke(*options, "--quiet").stderr == ""


def test_ctrl_c_tells_what_is_known(files, monkeypatch):
    """Candidates with their verdicts, and what they took; also where --quiet kept them back."""

    async def interrupted(text, rows, settings, *, writer, told):
        told("rules: filler: holds", 0.0123)
        raise KeyboardInterrupt

    monkeypatch.setattr("headway.measure.rewrite.compressing.compress", interrupted)
    done = invoke("task.toml", "--verify", "rows.csv", "--quiet")
    assert done.exit_code == 130
    assert done.stderr == "interrupted; spent: $0.0123; nothing was changed; known so far:\n  rules: filler: holds\n"


def test_a_text_without_a_column_says_which_there_are(files):
    """Rows that have no column 'text' are named with those they have, and the option."""
    Path("prompt.txt").write_text("Name the team: billing or access.")
    Path("mails.csv").write_text("mail,label\n" + "Hello,billing\n" * 24)
    done = invoke("prompt.txt", "--verify", "mails.csv", "--model", "gpt-5.4-mini", "--expected", "label")
    assert done.exit_code == 2, done.output
    assert "column 'text', which mails.csv does not have; it has: mail, label; name one with --column" in done.stderr


def test_json_in_a_text_prompt_wants_double_braces(files):
    """Braces name columns; JSON's own would be taken for one, and the sentence says what to do."""
    Path("prompt.txt").write_text('Name the team.\n{"ticket": "My bill"}\n')
    done = invoke("prompt.txt", "--verify", "rows.csv", "--model", "gpt-5.4-mini", "--expected", "expected")
    assert done.exit_code == 2, done.output
    assert "double those of JSON" in done.stderr


def test_a_model_that_nobody_knows_is_noted(files):
    """Where nothing is asked, a misspelled model would not be noticed otherwise."""
    Path("prompt.txt").write_text("Name the team: billing, technical, access or delivery.")
    done = invoke("prompt.txt", "--verify", "rows.csv", "--model", "gpt-5.4-minni", "--expected", "expected")
    assert done.exit_code == 1, done.output
    assert "The model 'gpt-5.4-minni' has no known price" in " ".join(done.stdout.split())
