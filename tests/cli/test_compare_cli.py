"""`headway compare` over real connections to the simulator; and task files with [settings] and [run] in `headway run`."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.sim import SimSettings, serving

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TICKETS = EXAMPLES / "tickets.csv"
TASK = """
model = "gpt-4o"
system = "{system}"
prompt = "{{text}}"
expected = "expected"
[output]
labels = ["billing", "technical_support", "account_access", "shipping", "cancellation"]
"""


@pytest.fixture(scope="module")
def url():
    with serving(SimSettings(latency_scale=0.02, quality=None)) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sim")


@pytest.fixture
def files(tmp_path):
    """A plain task, the same in other words, and the tickets twice over with distinct texts."""
    with TICKETS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows + [{**row, "text": f"Hello. {row['text']}"} for row in rows])
    (tmp_path / "a.toml").write_text(TASK.format(system="Route the ticket."))
    (tmp_path / "b.toml").write_text(TASK.format(system="You route tickets."))
    return tmp_path


def invoke(url, files, a="a.toml", b="b.toml", *more: object, rows="rows.csv"):
    given = ["compare", files / a, files / b, "--input", files / rows, "--base-url", url, *more]
    return CliRunner().invoke(app, [str(one) for one in given])


def test_the_sentence_comes_first_and_then_the_table(url, files):
    """What is printed: verdict, figures with intervals, quality, noise, money, why it stopped; the code is the verdict."""
    (files / "b.toml").write_text((files / "b.toml").read_text().replace("gpt-4o", "gpt-4-turbo"))
    done = invoke(url, files)
    assert done.exit_code == 1, done.output
    assert re.match(r"b costs [\d.-]+ times as much", done.stdout)  # how slow it was is the machine's business
    for part in (
        "Latency of a row",
        "$ per 1,000 rows",
        "Failed rows",
        "Quality",
        "Noise",
        "Spent",
        "each asked both ways",
    ):
        assert part in done.stdout
    assert re.search(r"\$ per 1,000 rows +\$0\.\d+ +\$\d\.\d+ +3\.\d+x \([\d.]+ to [\d.]+\) +worse", done.stdout)
    assert re.search(r"Changed +model", done.stdout)


def test_json_has_the_documented_fields_and_no_texts(url, files):
    """One object on stdout; prompts and answers are not in it."""
    done = invoke(url, files, "a.toml", "a.toml", "--json", "--seed", 7)
    told = json.loads(done.stdout)
    assert {"schema", "verdict", "sentence", "findings", "noise", "dollars", "rows", "stopped", "notes"} <= told.keys()
    assert (told["schema"], told["seed"], told["differences"]) == (1, 7, [])
    assert told["rows"] <= 40
    assert "refund" not in done.stdout
    assert done.exit_code == {"better": 0, "same": 0, "inconclusive": 3}.get(told["verdict"], 1)


def test_the_page_is_small_and_holds_texts_only_when_told(url, files):
    """Self-contained, with both charts; rows and answers with --show-texts alone."""
    (files / "b.toml").write_text(TASK.format(system="Route.") + "[settings]\nattempts_max = 1\n")
    page, open_page = files / "p.html", files / "q.html"
    check = ["--check", f"python:{files / 'c.py'}:odd", "--quiet"]
    (files / "c.py").write_text("flip = [0]\ndef odd(row, value, text):\n    flip[0] += 1\n    return flip[0] % 2\n")
    assert invoke(url, files, "a.toml", "b.toml", "--report", page, *check).exit_code in (0, 1, 3)
    assert invoke(url, files, "a.toml", "b.toml", "--report", open_page, "--show-texts", *check).exit_code in (0, 1, 3)
    html, shown = page.read_text("utf-8"), open_page.read_text("utf-8")
    assert len(shown) < 500_000
    assert html.count("<svg") == 2
    assert not re.search(r"(src|href)=|url\(|@import", html)
    assert "Rows that came out differently" in html
    assert "charged twice" not in html
    assert "charged twice" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "gone.csv"], "gone.csv"),
        (["--max-usd", "much"], "--max-usd must be an amount"),
        (["--check", "nice"], "there is no such check"),
        (["--report", "no/such/folder/p.html"], "cannot be written"),
        (["--config", "gone.toml"], "no such file"),
    ],
)
def test_a_wrong_call_is_a_sentence_and_exit_code_2(url, files, arguments, said):
    """Found before anything is sent."""
    done = invoke(url, files, "a.toml", "b.toml", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_column_that_is_missing_is_named(url, files):
    """With what there is."""
    (files / "rows.csv").write_text("words,expected\nhello,billing\n")
    done = invoke(url, files)
    assert done.exit_code == 2
    assert "no column 'text', which the prompt needs; it has: words, expected" in done.stderr


def test_expectations_and_codes(url, files):
    """--expect turns the interval into an exit code; a cap of nothing asks nothing."""
    (files / "b.toml").write_text((files / "b.toml").read_text().replace("gpt-4o", "gpt-4.1-nano"))
    cheaper = ["--expect", "cheaper", "--quiet"]
    assert invoke(url, files, "a.toml", "b.toml", *cheaper, "--margin", 25).exit_code == 0
    assert invoke(url, files, "a.toml", "b.toml", *cheaper).exit_code == 3  # cheaper, but perhaps for a reason
    assert invoke(url, files, "b.toml", "a.toml", "--expect", "cheaper", "--quiet").exit_code == 1
    done = invoke(url, files, "a.toml", "b.toml", "--max-usd", "0")
    assert done.exit_code == 3
    assert "money cap" in done.stdout


def test_a_check_that_lies_beside_is_found(url, files, monkeypatch):
    """A module of the working directory, by its name."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (files / "beside_check.py").write_text("def good(row, value, text):\n    return value == row['expected']\n")
    done = invoke(url, files, "a.toml", "b.toml", "--check", "python:beside_check:good", "--json", "--rows", "20")
    assert json.loads(done.stdout)["findings"]["quality"]["rows"] == 20


def test_two_prompts_and_a_csv_are_enough(url, files):
    """No task file: a template with {columns}, and a text that goes before each row's {text}."""
    (files / "old.txt").write_text("Route the support ticket to its queue.\r\n")
    (files / "new.md").write_text("Which queue? {text}")
    how = ["--model", "gpt-4o", "--labels", "billing,technical_support,account_access,shipping,cancellation"]
    done = invoke(url, files, "old.txt", "new.md", *how, "--expected", "expected", "--rows", 20, "--json")
    told = json.loads(done.stdout)
    assert (told["a"], told["b"], told["rows"]) == ("old", "new", 20)
    assert told["findings"]["quality"]["rows"] == 20
    assert told["failures"] == {"a": {}, "b": {}}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("b.toml", ["--labels", "x"], "--labels is for prompts as text"),
        ("gone.txt", [], "gone.txt cannot be read"),
        ("empty.txt", [], "is empty"),
        ("binary.txt", [], "is no text in UTF-8"),
        ("odd.txt", [], "odd.txt"),
        ("other.txt", [], "no column 'subject'"),
        ("words.txt", ["--labels", "x,,y"], "empty label"),
        ("words.txt", ["--expected", "rihgt"], "no column 'rihgt', which 'expected' names"),
    ],
)
def test_prompts_that_cannot_be_asked_are_named(url, files, name, arguments, said):
    """Missing, empty, not text, a broken template, a column that is not there."""
    (files / "empty.txt").write_text(" \n")
    (files / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (files / "odd.txt").write_text("Say {text")
    (files / "other.txt").write_text("Say {subject}")
    (files / "words.txt").write_text("Route it.")
    first = "a.toml" if name == "b.toml" else "words.txt"
    done = invoke(url, files, first, name, *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.stderr


def test_a_narrow_terminal_cuts_no_figure(url, files, monkeypatch):
    """Below 80 columns the terminal breaks lines; intervals are whole."""
    monkeypatch.setenv("COLUMNS", "30")
    done = invoke(url, files, "a.toml", "b.toml", "--rows", 10, "--no-aa")
    assert re.search(r"Latency of a row .* % \([+-]?[\d.]+ to [+-]?[\d.]+\)", done.stdout)
    assert max(map(len, done.stdout.partition("\n\n")[0].splitlines())) <= 30
    assert "\u2026" not in done.stdout


def test_a_name_is_text_and_no_markup(url, files):
    """Brackets in a name do not end the comparison after it was paid for."""
    (files / "b.toml").write_text((files / "b.toml").read_text() + '[run]\nname = "[/b]x"\n')
    done = invoke(url, files, "a.toml", "b.toml", "--rows", 10, "--no-aa")
    assert done.exit_code in (0, 1, 3), done.output  # how fast it was is the machine's business
    assert "B: [/b]x" in done.stdout


@pytest.mark.parametrize("how", [(), ("--json",), ("--quiet",)])
def test_a_reader_that_leaves_does_not_change_the_exit_code(url, files, how):
    """`headway compare ... | head -1`: nobody reads on, and 3 is still 3, without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-c", "from headway.cli import main; main()", "compare", "a.toml", "b.toml"]
    try:
        done = subprocess.run(
            [*argv, "--input", "rows.csv", "--base-url", url, "--max-usd", "0", *how],
            cwd=files, env=os.environ, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (3, "")


def test_ctrl_c_shows_what_is_known(files):
    """Exit code 130, and a figure from the rows that were in."""
    with serving(SimSettings(latency_scale=0.3)) as slow:
        argv = [sys.executable, "-c", "from headway.cli import main; main()", "compare", "a.toml", "b.toml"]
        process = subprocess.Popen(
            [*argv, "--input", "rows.csv", "--base-url", slow, "--no-aa", "--json"],
            cwd=files, env=os.environ, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for _ in range(1_000):
            with urllib.request.urlopen(slow[:-3] + "/sim/ledger") as answer:
                if len(json.loads(answer.read())["rows"]) > 45:
                    break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    told = json.loads(out)
    assert told["stopped"] == "interrupted"
    assert 0 < told["rows"] < 40


# -- [settings] and [run] in `headway run` -----------------------------------------------------------------------------


def run(url, files, task: str, *more: str):
    (files / "t.toml").write_text(task)
    argv = ["run", str(files / "rows.csv"), "--task", str(files / "t.toml"), "--out", str(files / "o.jsonl"), "--json"]
    return CliRunner().invoke(app, [*argv, *more])


def test_run_takes_its_defaults_from_the_tables(url, files):
    """The provider's address, the cap and the width stand in the task file; the command line wins."""
    tables = f'[settings]\nbase_url = "{url}"\nbudget_usd = 0.0\n[run]\norder = "sequential"\n'
    done = run(url, files, TASK.format(system="x") + tables)
    assert done.exit_code == 1
    assert "cap" in done.output + done.stderr
    done = run(url, files, TASK.format(system="x") + tables, "--budget", "1", "--concurrency", "8", "--fresh")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ok"] == 40
    done = run(url, files, TASK.format(system="x") + tables.replace(url, "http://127.0.0.1:9/v1"), "--base-url", url, "--budget", "1", "--fresh")  # fmt: skip
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("[settings]\ncaches = 1", "settings"),
        ("[settings]\ncahce = 'off'", "did you mean 'cache'"),
        ("[settings]\napi_key = 'k'", "must not stand in a file"),
        ("[run]\nconcurrency = 0", "concurrency"),
        ("[run]\nspeed = 9", "unknown key 'run.speed'"),
        ("[run]\norder = 'random'", "run.order"),
        ("settings = 3", "settings"),
    ],
)
def test_wrong_tables_are_named(url, files, tables, said):
    """File, table and key, in one sentence."""
    task = f"{tables}\n{TASK.format(system='x')}" if tables.startswith("settings") else TASK.format(system="x") + tables
    done = run(url, files, task)
    assert done.exit_code == 2
    assert "t.toml" in done.stderr
    assert said in done.stderr
