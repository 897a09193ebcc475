"""`headway run` in a process of its own against the simulator in another: interrupted, killed, refused, piped."""

import collections
import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from headway.sim.server import serving
from headway.sim.settings import SimSettings

PROGRAM = "from headway.cli import main; main()"
ROWS = 120
IN_FLIGHT = 6


@pytest.fixture(scope="module")
def provider():
    """A provider that answers in some 50 ms, knows one key and has no limits."""
    with serving(SimSettings(latency_scale=0.05, rpm=None, tpm=None, quality=None, api_keys=("right",))) as url:
        yield url


@pytest.fixture
def folder(tmp_path, monkeypatch, provider):
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    monkeypatch.setenv("OPENAI_BASE_URL", provider)
    ledger(provider, "DELETE")
    with (tmp_path / "in.csv").open("w") as file:
        file.write("text,expected\n")
        file.writelines(f"My card number {i} was stolen,card\n" for i in range(ROWS))
    (tmp_path / "task.toml").write_text(
        'model = "gpt-5.4-mini"\nprompt = "{text}"\nexpected = "expected"\n[output]\nlabels = ["card", "invoice"]\n'
    )
    return tmp_path


def ledger(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(f"{url[:-3]}/sim/ledger", method=method)) as reply:
        return json.loads(reply.read() or b"{}")


def start(folder, *arguments, **streams):
    command = [sys.executable, "-c", PROGRAM, "run", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **streams)


def finish(process, data=None):
    out, err = process.communicate(data, timeout=60)
    return process.returncode, out.decode(), err.decode()


JOB = ("in.csv", "--task", "task.toml", "--out", "out.jsonl", "--no-cache", "--concurrency", IN_FLIGHT, "--quiet")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed(folder, provider, number):
    """However a run is stopped, the next one sends what is owed: the ledger has no row twice but those in flight."""
    journal = folder / "out.jsonl.journal"
    process = start(folder, *JOB)
    deadline = time.monotonic() + 30
    while (not journal.exists() or journal.read_bytes().count(b"\n") < 30) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, number)
    code, _, err = finish(process)
    kept = journal.read_bytes().count(b"\n") - 1
    assert 29 <= kept < ROWS
    assert not (folder / "out.jsonl").exists()
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert "interrupted" in err
        assert "out.jsonl.journal" in err
        assert err.count("\n") == 1

    code, out, err = finish(start(folder, *JOB))
    assert (code, out, err) == (0, "", "")
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(1, ROWS + 1))
    assert [row["input"]["text"] for row in rows] == [f"My card number {i} was stolen" for i in range(ROWS)]
    assert all(row["output"] == "card" for row in rows)
    # A kill may cut a request short on its way: what arrived of it is no request of any model.
    times = collections.Counter(row["content"] for row in ledger(provider)["rows"] if row["model"])
    assert len(times) == ROWS
    assert max(times.values()) <= 2
    assert sum(times.values()) - ROWS <= IN_FLIGHT


def test_the_summary(folder, provider):
    """--json tells what the output and the ledger say; a second start costs nothing."""
    arguments = ["in.csv", "--task", "task.toml", "--out", "out.csv", "--json", "--report", "r.html"]
    code, out, _ = finish(start(folder, *arguments))
    assert code == 0
    figures, totals = json.loads(out), ledger(provider)["totals"]
    assert figures["rows"] == figures["ok"] == totals["attempts"] == ROWS
    assert figures["tokens"]["input"] == totals["input_tokens"]
    assert figures["cost"]["total"] == pytest.approx(totals["dollars"])
    assert figures["categories"] == {"card": ROWS}
    assert figures["accuracy"]["right"] == ROWS
    with (folder / "out.csv").open(newline="") as file:
        assert [row["output"] for row in csv.DictReader(file)] == ["card"] * ROWS
    assert b"<html" in (folder / "r.html").read_bytes()[:500]
    assert finish(start(folder, *arguments))[0] == 0
    assert ledger(provider)["totals"]["attempts"] == ROWS


def test_in_a_pipe(folder):
    """Rows from standard input go to standard output in order, and nothing else does."""
    text = "\n".join(f"My card number {i} was stolen" for i in range(20)).encode()
    arguments = ["-", "--prompt", "Where does it belong? {text}", "--labels", "card,invoice"]
    code, out, err = finish(start(folder, *arguments, stdin=subprocess.PIPE), text)
    assert code == 0
    assert [json.loads(line)["row"] for line in out.splitlines()] == list(range(1, 21))
    assert {json.loads(line)["output"] for line in out.splitlines()} == {"card"}
    assert "20 of 20" in err


def test_reader_that_leaves(folder):
    """When the reader of the results goes away, the job ends without a traceback."""
    process = start(folder, "in.csv", "--task", "task.toml", "--no-cache", "--concurrency", 2, "--quiet")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"OPENAI_API_KEY": "sk-not-this-one"}, ["401", "key"]), ({"model": "no-such-model"}, ["404", "no-such-model"])],
)
def test_refused(folder, provider, monkeypatch, changes, words):
    """A wrong key and an unknown model stop the job after a few rows, with one sentence; all rows stay owed."""
    monkeypatch.setenv("OPENAI_API_KEY", changes.get("OPENAI_API_KEY", "right"))
    code, out, err = finish(start(folder, *JOB, "--model", changes.get("model", "gpt-5.4-mini")))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert "sk-not-this-one" not in err
    assert ledger(provider)["totals"]["attempts"] <= 3 * IN_FLIGHT
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    assert finish(start(folder, *JOB))[0] == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == ROWS
