"""`headway run` on bad input: one sentence, the right exit code, no traceback."""

import json
import subprocess
import sys
import urllib.request

import pytest

from headway.sim import SimSettings
from headway.sim.server import serving

PROGRAM = "from headway.cli import main; main()"
NOWHERE = "http://127.0.0.1:9/v1"


def headway_run(*arguments, stdin=b"", cwd=None):
    """Run the command in a process of its own; give exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in.csv").write_text("text,category\nWhere is my card?,card\nI was charged twice.,billing\n")
    (tmp_path / "task.toml").write_text('model = "m"\nprompt = "{text}"\n[output]\nlabels = ["card", "billing"]\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.csv"], ["--task", "--prompt"]),
        (["in.csv", "--task", "task.toml", "--prompt", "{text}"], ["--task", "--prompt"]),
        (["in.csv", "--task", "task.toml", "--labels", "a"], ["--labels", "task.toml"]),
        (["in.csv", "--task", "none.toml"], ["none.toml"]),
        (["in.csv", "--prompt", "{txt}"], ["in.csv", "'txt'", "text, category"]),
        (["in.csv", "--prompt", "nothing"], ["--prompt", "column"]),
        (["in.csv", "--prompt", "{text}", "--labels", "a,,b"], ["--labels"]),
        (["in.csv", "--task", "bad.toml"], ["bad.toml", "modle", "'model'"]),
        (["none.csv", "--task", "task.toml"], ["none.csv"]),
        (["in.csv", "--task", "task.toml", "--out", "no/such/out.jsonl"], ["no/such", "--out"]),
        (["in.csv", "--task", "task.toml", "--out", "in.csv"], ["in.csv", "input itself"]),
        (["in.csv", "--task", "task.toml", "--report", "no/report.html"], ["no", "written"]),
        (["in.csv", "--task", "task.toml", "--base-url", "ftp://x"], ["base_url"]),
        (["in.csv", "--task", "task.toml", "--config", "none.toml"], ["none.toml"]),
        (["-", "--task", "task.toml"], ["standard input", "empty"]),
    ],
)
def test_usage_errors(folder, arguments, words):
    """Each is one sentence on stderr that names the file or key and the way out; exit code 2; nothing is written."""
    (folder / "bad.toml").write_text('modle = "m"\nprompt = "{text}"\n')
    before = sorted(path.name for path in folder.iterdir())
    code, out, err = headway_run(*arguments, cwd=folder)
    assert (code, out) == (2, "")
    assert err.startswith("headway run: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert sorted(path.name for path in folder.iterdir() if path.name != "state") == before


def test_a_provider_that_is_down(folder):
    """Nobody listens: the job stops with one sentence and exit code 1, and every row stays owed."""
    code, out, err = headway_run(
        folder / "in.csv",
        "--task",
        folder / "task.toml",
        "--out",
        folder / "out.jsonl",
        "--base-url",
        NOWHERE,
        "--quiet",
    )
    assert (code, out) == (1, "")
    assert err.startswith("headway run: stopped: ")
    assert "127.0.0.1:9" in err
    assert err.count("\n") == 1
    assert not (folder / "out.jsonl").exists()
    assert len((folder / "out.jsonl.journal").read_text().splitlines()) == 1


def test_rows_that_cannot_be_read_need_no_provider(folder):
    """Broken rows are in the output with their error; the exit code says that some failed."""
    (folder / "in.jsonl").write_text('nope\n{"text": 1\n')
    arguments = ["in.jsonl", "--task", "task.toml", "--base-url", NOWHERE, "--quiet"]
    code, out, err = headway_run(*arguments, cwd=folder)
    assert code == 1
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["error"].split(" is ")[0] for row in rows] == ["line 1", "line 2"]
    assert err == "headway run: 2 of 2 rows failed, each with its error in the output\n"


def test_group_asks_about_several_rows_at_once(tmp_path, monkeypatch):
    """Under load --group reaches the engine: fewer requests than rows, and every row has its answer."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "sim")
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"where is my parcel {n}\n" for n in range(150)))
    with serving(SimSettings(seed=1, rpm=600, capacity_s=1, latency_scale=0.1)) as url:
        arguments = ["in.csv", "--prompt", "{text}", "--labels", "shipping,billing", "--out", "out.jsonl", "--group"]
        code, _, said = headway_run(*arguments, "--base-url", url, "--quiet", cwd=tmp_path)
        with urllib.request.urlopen(url.removesuffix("/v1") + "/sim/ledger") as answer:
            answered = json.loads(answer.read())["totals"]["ok"]
    assert (code, said) == (0, "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 150
    assert answered < 150
