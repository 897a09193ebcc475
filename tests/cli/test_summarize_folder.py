"""`headway summarize` with a folder: a line a document, whole at any moment, at once or by batches."""

from __future__ import annotations

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
from headway.policy import parcels
from headway.sim import BatchSettings, SimSettings, serving

PROGRAM = [sys.executable, "-c", "from headway.cli import main; main()", "summarize"]
SMALL = ("--words", 30, "--chunk-tokens", 200)
LOST_MAX = 6
"""Two calls in flight, and a few answers that were just being written to the cache."""
TIDE = "The tide of day {} rose by {} feet at the pier of the old town, and the keeper wrote it down in his book."


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sim")


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """Six documents of 1 to 6 chunks, one of them in a folder below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    for number in range(6):
        days = range(100 * number, 100 * number + 5 + 8 * number)
        path = tmp_path / "docs" / ("sub" if number == 3 else ".") / f"{number}.txt"
        path.write_text("\n\n".join(TIDE.format(day, day % 11) for day in days))
    return tmp_path / "docs"


def invoke(url, *arguments: object):
    return CliRunner().invoke(app, ["summarize", "docs", "--base-url", url, *map(str, arguments)])


def ledger(url: str) -> dict:
    with urllib.request.urlopen(url[:-3] + "/sim/ledger") as answer:
        return json.loads(answer.read())


def lines(path="out.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_folder_with_everything_in_it(server, docs):
    """Each document a line in the order of the paths, bad ones with their reason; the rest is told of."""
    (docs / "bad.txt").write_bytes(b"\x00\x01" * 500)
    (docs / "empty.md").write_text("")
    (docs / "latin.txt").write_bytes("Über Köln läuft der Rhein. ".encode("cp1252") * 9)
    (docs / "old.pdf").write_bytes(b"%PDF-1.3")
    (docs / "page.html").write_text("<title>No</title><p>The tide <b>rises</b>.</p>")
    (docs / "logo.png").write_bytes(b"\x89PNG")
    done = invoke(server, *SMALL, "--out", "out.jsonl")
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    found = {line["path"]: line for line in lines()}
    assert list(found) == sorted(found)
    assert len(found) == 11
    assert found["docs/bad.txt"]["error"] == "docs/bad.txt holds data that is no text; export it as text"
    assert found["docs/empty.md"]["error"] == "docs/empty.md is empty"
    assert found["docs/old.pdf"]["error"] == "docs/old.pdf is a PDF, not text; export it as text"
    assert all(found[f"docs/{name}"]["summary"] for name in ("0.txt", "sub/3.txt", "latin.txt", "page.html"))
    assert found["docs/5.txt"]["chunks"] > found["docs/2.txt"]["chunks"] > found["docs/0.txt"]["chunks"] == 1
    assert found["docs/5.txt"]["tokens"]["in"] > 800
    assert re.match(r"11 of 11 documents, .*s, cost \$0\.\d+, [\d,]+ documents/h\n", done.stderr)
    assert "1 file was left out as no documents (1 .png); --glob names others" in done.stderr
    assert "3 documents failed, with the error in out.jsonl; started again, only those are tried" in done.stderr


def test_a_second_run_does_what_is_owed(server, docs):
    """Nothing for what is done, moved or not; edited and added files are asked about. The bill is the ledger's."""
    before = ledger(server)["totals"]["dollars"]
    assert invoke(server, *SMALL, "--out", "out.jsonl", "--no-cache", "--json").exit_code == 0
    spent = ledger(server)["totals"]["dollars"] - before
    assert sum(line["dollars"] for line in lines()) == pytest.approx(spent)
    attempts = ledger(server)["totals"]["attempts"]
    (docs / "5.txt").rename(docs / "moved.txt")
    (docs / "0.txt").write_text("Edited.")
    (docs / "new.txt").write_text("Added.")
    done = json.loads(invoke(server, *SMALL, "--out", "out.jsonl", "--no-cache", "--json").stdout)
    assert (done["documents"], done["done"], done["resumed"], done["failed"]) == (7, 7, 5, 0)
    assert ledger(server)["totals"]["attempts"] == attempts + 2
    assert [line["path"] for line in lines()][-2:] == ["docs/new.txt", "docs/sub/3.txt"]
    assert "docs/moved.txt" in [line["path"] for line in lines()]


def test_other_settings_want_another_output(server, docs):
    """One sentence that says which; `--fresh` starts over."""
    assert invoke(server, *SMALL, "--out", "out.jsonl").exit_code == 0
    other = invoke(server, "--words", 40, "--chunk-tokens", 200, "--out", "out.jsonl")
    assert other.exit_code == 2
    assert "out.jsonl was made with --words 30, not 40; choose another --out, or start over" in other.stderr
    assert invoke(server, "--words", 40, "--chunk-tokens", 200, "--out", "out.jsonl", "--fresh").exit_code == 0


def test_without_an_output_lines_go_to_stdout(server, docs):
    """As they are done; the figures stay on stderr, as JSON, too."""
    done = invoke(server, *SMALL, "--glob", "sub/*", "--sources", "--json")
    assert done.exit_code == 0, done.output
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert line["path"] == "docs/sub/3.txt"
    assert line["sources"][0]["chunk"] >= 1
    assert json.loads(done.stderr)["documents"] == 1


def test_one_file_may_have_an_output(server, docs):
    """A line in a file instead of text on the screen."""
    done = CliRunner().invoke(
        app, ["summarize", "docs/2.txt", "--words", "30", "--base-url", server, "--out", "one.jsonl"]
    )
    assert done.exit_code == 0, done.output
    assert [line["path"] for line in lines("one.jsonl")] == ["docs/2.txt"]


def test_the_input_is_no_output(server, docs):
    """With --fresh the output is removed first: the text would be gone before it is read."""
    text, before = docs / "1.txt", (docs / "1.txt").read_text()
    told = CliRunner().invoke(
        app, ["summarize", str(text), "--base-url", server, "--out", str(text), "--fresh", "--words", "30"]
    )
    assert told.exit_code == 2
    assert "is the input itself" in told.stderr
    assert text.read_text() == before


def test_the_plan_of_a_folder(server, docs):
    """What is done, what is owed, what cannot be read; nothing is sent, and nothing is written."""
    (docs / "empty.md").write_text("")
    before = ledger(server)["totals"]["attempts"]
    done = invoke(server, *SMALL, "--out", "out.jsonl", "--plan", "--no-cache")
    assert done.exit_code == 0, done.output
    assert "Documents  6 to do, 1 cannot be read" in done.stdout
    assert not Path("out.jsonl.journal").exists()
    assert ledger(server)["totals"]["attempts"] == before
    invoke(server, *SMALL, "--out", "out.jsonl")
    assert (
        "Documents  0 to do, 6 done before, 1 cannot be read"
        in invoke(server, *SMALL, "--out", "out.jsonl", "--plan").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--glob", "*.nope"], "docs has no file like *.nope in it"),
        (["--out", "docs"], "docs is a folder; name a file in it with --out"),
        (["--out", "none/o.jsonl"], "none cannot be written: No such file or directory"),
        (["--out", "taken.jsonl"], "taken.jsonl exists and no journal is beside it"),
        (["--words", "-3"], "--words must be a number from 1, not -3"),
        (["--window", "300"], "a window of 300 tokens leaves no room"),
    ],
)
def test_a_wrong_call_is_one_sentence(server, docs, arguments, sentence):
    """Exit code 2, and nothing was sent or written."""
    Path("taken.jsonl").write_text("precious")
    done = invoke(server, *arguments)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert Path("taken.jsonl").read_text() == "precious"


def test_a_provider_that_is_away_stops_the_run(docs):
    """One sentence, not one for each document; all are still owed."""
    done = invoke("http://127.0.0.1:9/v1", *SMALL, "--out", "out.jsonl")
    assert done.exit_code == 1, done.output
    assert re.search(r"stopped: .*no connection to http://127.0.0.1:9.*; 6 documents are still owed\n", done.stderr)
    assert done.stderr.count("no connection") == 1


def test_the_budget_is_the_jobs(server, docs):
    """It stops the run, what was finished is kept, and a second run does not start from zero."""
    plan = json.loads(invoke(server, *SMALL, "--plan", "--json", "--no-cache").stdout)
    whole = json.loads(invoke(server, *SMALL, "--json", "--no-cache").stderr)["dollars"]
    calls_max = 2 * plan["chunks"]  # each asked again with twice the room: three times one call's worst case
    cap = whole / 2 + 1.5 * plan["dollars_max"] / (3 * calls_max)  # a call goes out while its worst case fits
    told = ("--out", "out.jsonl", "--no-cache", "--concurrency", 1)
    before = ledger(server)["totals"]["dollars"]
    for _ in range(2):
        done = invoke(server, *SMALL, *told, "--budget", f"{cap:.9f}")
        assert done.exit_code == 1, done.output
        assert re.search(r"stopped: .*does not fit under the cap", done.stderr)
        assert 0 < len(lines()) < 6
        assert whole / 4 < ledger(server)["totals"]["dollars"] - before < cap
    assert invoke(server, *SMALL, *told, "--budget", "1usd").exit_code == 0
    assert len(lines()) == 6


def start(url: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [*PROGRAM, "docs", "--base-url", url, *map(str, arguments)]
    with Path("err.txt").open("wb") as errors:
        return subprocess.Popen(command, env={**os.environ}, stdout=errors, stderr=errors)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a thing of Unix")
def test_killed_and_started_again(docs):
    """Killed with SIGKILL when some are done: whole lines, and only what was in flight is paid for twice."""
    with serving(SimSettings(seed=1, latency_scale=0.03, quality=None)) as url:
        plan = json.loads(invoke(url, *SMALL, "--plan", "--json").stdout)
        child, until_s = start(url, *SMALL, "--out", "out.jsonl", "--concurrency", 2), time.monotonic() + 60
        while not Path("out.jsonl").exists() or len(Path("out.jsonl").read_bytes().splitlines()) < 2:
            assert child.poll() is None, Path("err.txt").read_text()
            assert time.monotonic() < until_s, "nothing is done"
            time.sleep(0.01)
        child.kill()
        child.wait()
        assert Path("out.jsonl").read_bytes().endswith(b"\n")
        done = len(lines())
        assert 2 <= done < 6
        second = start(url, *SMALL, "--out", "out.jsonl", "--concurrency", 2)
        assert second.wait(60) == 0, Path("err.txt").read_text()
        assert [line["path"] for line in lines()] == sorted(line["path"] for line in lines())
        assert len(lines()) == 6
        assert not any(line["error"] for line in lines())
        assert f"{done} of them by earlier runs" in Path("err.txt").read_text()
        answered = ledger(url)["totals"]["ok"]
        assert plan["calls"] <= answered <= plan["calls"] + LOST_MAX


BATCHES = SimSettings(seed=1, latency_scale=0, quality=None, batches=BatchSettings(scale=0.02, duration_s=10.0))


def test_chunks_by_batches_at_half_the_price(docs, monkeypatch):
    """One job for the first calls of all documents; merges at once. Its journal and the cache make it resumable."""
    monkeypatch.setattr(parcels, "_POLL_MIN_S", 0.2)
    with serving(BATCHES) as url:
        plan = json.loads(invoke(url, *SMALL, "--plan", "--json").stdout)
        done = invoke(url, *SMALL, "--out", "out.jsonl", "--lane", "batch")
        assert done.exit_code == 0, done.output
        totals = ledger(url)["totals"]
        assert totals["batch"] == plan["chunks"]
        assert totals["attempts"] == plan["calls"]
        assert sum(line["dollars"] for line in lines()) == pytest.approx(totals["dollars"])
        assert lines()[0]["requests"] == 1
        Path("out.jsonl").unlink()
        Path("out.jsonl.journal").unlink()
        again = invoke(url, *SMALL, "--out", "out.jsonl", "--lane", "batch")
        assert again.exit_code == 0, again.output
        assert ledger(url)["totals"] == totals
        assert sum(line["dollars"] for line in lines()) > 0  # what it cost, whenever that was


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a thing of Unix")
def test_killed_while_the_batch_runs(docs, monkeypatch):
    """The batch goes on at the provider; the second start takes its answers, and pays nothing twice."""
    monkeypatch.setattr(parcels, "_POLL_MIN_S", 0.2)
    with serving(BATCHES) as url:
        plan = json.loads(invoke(url, *SMALL, "--plan", "--json").stdout)
        child, until_s = start(url, *SMALL, "--out", "out.jsonl", "--lane", "batch"), time.monotonic() + 60
        while b'"made"' not in (journal := journaled()) and b"batch_" not in journal:
            assert child.poll() is None, Path("err.txt").read_text()
            assert time.monotonic() < until_s, "no batch is made"
            time.sleep(0.01)
        child.kill()
        child.wait()
        done = invoke(url, *SMALL, "--out", "out.jsonl", "--lane", "batch")
        assert done.exit_code == 0, done.output
        assert len(lines()) == 6
        totals = ledger(url)["totals"]
        assert (totals["batch"], totals["attempts"]) == (plan["chunks"], plan["calls"])


def journaled() -> bytes:
    path = Path("out.jsonl.batches")
    return path.read_bytes() if path.exists() else b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a thing of Unix")
def test_interrupted_while_the_batch_runs(docs):
    """Ctrl-C says where everything is; started without the lane, it says that batches were left behind."""
    slow = SimSettings(seed=1, latency_scale=0, quality=None, batches=BatchSettings(scale=0.1, duration_s=3_000.0))
    with serving(slow) as url:
        child, until_s = start(url, *SMALL, "--out", "out.jsonl", "--lane", "batch"), time.monotonic() + 60
        while b"batch_" not in journaled():
            assert child.poll() is None, Path("err.txt").read_text()
            assert time.monotonic() < until_s, "no batch is made"
            time.sleep(0.01)
        time.sleep(0.5)  # the command shows batches a moment after they were made
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        told = Path("err.txt").read_text()
        assert re.search(
            r"interrupted: 0 of 6 documents are in out.jsonl; \d+ requests are in batches that go on", told
        )
        done = invoke(url, *SMALL, "--out", "out.jsonl")
        assert done.exit_code == 0, done.output
        assert re.search(r"an earlier run left batches at the provider \(batch_\w+\); --lane batch takes", done.stderr)


def test_a_budget_counts_runs_that_had_none(server, docs):
    """What a run without one had paid for answers that it did not come to write down was forgotten."""
    assert invoke(server, *SMALL, "--glob", "0.txt", "--out", "out.jsonl", "--no-cache").exit_code == 0
    journal = Path("out.jsonl.journal").read_bytes()
    noted = [json.loads(line)["spent"] for line in journal.splitlines() if line.startswith(b'{"spent":')]
    assert noted[-1] == pytest.approx(lines()[0]["dollars"])
    with Path("out.jsonl.journal").open("ab") as file:
        file.write(b'{"spent":1.5}\n')  # as after an interruption
    done = invoke(server, *SMALL, "--out", "out.jsonl", "--no-cache", "--budget", "1.5")
    assert done.exit_code == 1, done.output
    assert "$1.500000 and 0 tokens are spent" in done.stderr
    assert "cost $0, $1.50 with earlier runs" in done.stderr
    after = json.loads(invoke(server, *SMALL, "--out", "out.jsonl", "--no-cache", "--json").stdout)
    assert after["dollars_in_all"] == pytest.approx(1.5 + after["dollars"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in Unicode")
def test_what_folders_hold_besides_files(server, docs):
    """A pipe hung the run, a name that is no UTF-8 ended it, a link was followed; a guessed encoding was not told."""
    os.mkfifo(docs / "pipe.txt")
    (docs / "link.txt").symlink_to("/etc/passwd")
    Path(os.fsdecode(b"docs/b\xff.txt")).write_text("The tide rises.")
    Path(os.fsdecode(b"docs/b\xff.x\xff")).write_text("The tide rises.")
    (docs / "old.txt").write_bytes("Über Köln".encode("cp1252"))
    assert "Encoding   1 document is no UTF-8" in invoke(server, *SMALL, "--plan").stdout
    done = invoke(server, *SMALL, "--out", "out.jsonl", "--json")
    assert done.exit_code == 1, done.output
    found = {line["path"]: line for line in lines()}
    assert len(found) == 9
    assert "is no file but a pipe" in found["docs/pipe.txt"]["error"]
    assert found["docs/b\ufffd.txt"]["summary"]
    assert found["docs/old.txt"]["encoding"] == "cp1252"
    assert "encoding" not in found["docs/0.txt"]
    assert json.loads(done.stdout)["left_out"] == {"linked": 1, ".x\ufffd": 1}
    assert "1 document is no UTF-8, and read by a guess (1 as cp1252), which their lines say" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")  # noqa: PTH110
def test_figures_that_nobody_takes(server, docs):
    """`--out out.jsonl --json > /dev/full` was a traceback."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [*PROGRAM, "docs", "--base-url", server, *map(str, SMALL), "--out", "out.jsonl", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env={**os.environ}, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rb"headway summarize: standard output cannot be written: No space left.*; .*\n", done.stderr)
    assert len(lines()) == 6
