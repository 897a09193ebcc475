"""`headway summarize` with one text: over real connections to the simulator, and over a provider that fails."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import msgspec
import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.cli.summarize_show import Live, Pace
from headway.sim import SimSettings, serving
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Reply

from headway import Engine  # isort: skip

PROGRAM = [sys.executable, "-c", "from headway.cli import main; main()", "summarize"]
SMALL = ("--words", 30, "--chunk-tokens", 200)
LOST_MAX = 8
"""Two calls in flight at each of two ends, and a few answers that were just being written to the cache."""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sim")


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(text(60))
    return path


def text(paragraphs: int) -> str:
    """Paragraphs of some thirty tokens, no two of them alike."""
    tide = "The tide of day {} rose by {} feet at the pier of the old town, and the keeper wrote it down in his book."
    return "\n\n".join(tide.format(day, day * 37 % 11) for day in range(paragraphs)) + "\n"


def invoke(url, *arguments: object, stdin: str | None = None):
    return CliRunner().invoke(app, ["summarize", "--base-url", url, *map(str, arguments)], input=stdin)


def ledger(url: str) -> list[dict]:
    with urllib.request.urlopen(url[:-3] + "/sim/ledger") as answer:
        return json.loads(answer.read())["rows"]


def test_a_pipe_gets_the_summary_and_nothing_else(server, book):
    """The text is on stdout, what it took on stderr, in one line: chunks, calls, times, dollars."""
    done = invoke(server, book, *SMALL)
    assert done.exit_code == 0, done.output
    assert 5 <= len(done.stdout.split()) <= 45
    assert done.stdout.endswith("\n")
    took = r"\d+ chunks in \d levels?, \d+ calls, TTFT .*s, total .*s, cost \$0\.\d+, \d+ words(, .*x faster.*)?\n"
    assert re.fullmatch(took, done.stderr)


def test_started_again_it_costs_nothing(server, book):
    """Every answer is kept on the disk; without the cache it is asked anew."""
    assert invoke(server, book, *SMALL).exit_code == 0
    before = len(ledger(server))
    again = invoke(server, book, *SMALL)
    assert re.search(r"(\d+) calls \(\1 from the cache\), .* cost \$0, ", again.stderr)
    assert len(ledger(server)) == before
    assert "from the cache" not in invoke(server, book, *SMALL, "--no-cache").stderr
    assert len(ledger(server)) > before


def test_a_text_that_fits_is_one_call(server):
    """From standard input, too."""
    done = invoke(server, "-", "--words", 20, stdin=text(10))
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("1 chunk, 1 call, TTFT ")


@pytest.mark.parametrize(("api", "model"), [("chat", "gpt-5.4-mini"), ("messages", "claude-haiku-4-5")])
def test_other_apis(server, book, api, model):
    """What compatible servers speak, and Anthropic's own; the answer streams either way."""
    done = invoke(server, book, *SMALL, "--api", api, "--model", model)
    assert done.exit_code == 0, done.output
    assert 5 <= len(done.stdout.split()) <= 45


def test_json_is_one_object(server, book):
    """For programs: the text, its chunks and gaps, and the figures; sources where they were asked for."""
    done = invoke(server, book, *SMALL, "--json", "--sources")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["path"] == str(book)
    assert found["calls"] == len(found["chunks"]) + len(found["merges"])
    assert found["chunks"][0]["start"] == 0
    assert found["gaps"] == []
    whole, source = book.read_text(), found["sources"][0]
    assert whole[source["start"] : source["end"]] == source["text"]
    assert "sources" not in json.loads(invoke(server, book, *SMALL, "--json").stdout)


def test_sources_follow_the_summary(server, book):
    """Each sentence, and where in which chunk it comes from."""
    done = invoke(server, book, *SMALL, "--sources", "--quiet")
    assert done.stderr == ""
    assert re.search(r"\n\nSources\n\n  .*\n    chunk \d+, characters [\d,]+-[\d,]+: The tide of day", done.stdout)


def test_the_plan_sends_nothing(server, book):
    """Chunks, levels, calls and dollars; what the cache has is told."""
    before = len(ledger(server))
    done = invoke(server, book, "--words", 31, "--chunk-tokens", 210, "--plan", "--budget", "0.0001")
    assert done.exit_code == 0, done.output
    assert re.search(r"^Chunks +\d+, merged in 1 level$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^Dollars +about \$0\.\d+, at most \$0\.\d+ with every answer cut and asked again$", done.stdout, re.M
    )
    assert "--budget $0.000100 may stop it" in done.stdout
    assert len(ledger(server)) == before
    invoke(server, book, "--words", 31, "--chunk-tokens", 210)
    plan = json.loads(invoke(server, book, "--words", 31, "--chunk-tokens", 210, "--plan", "--json").stdout)
    assert plan["kept"] == plan["chunks"] == plan["calls"] - 1
    assert len(ledger(server)) - before == plan["calls"]


def test_prompts_of_ones_own(server, book, tmp_path):
    """As text or as a file; one without a place for the text gets it at its end, and a question is two prompts."""
    prompt = tmp_path / "map.txt"
    prompt.write_text("List all numbers in at most {words} words.")
    mine = invoke(server, book, *SMALL, "--map-prompt", prompt, "--reduce-prompt", "Merge the lists: {summaries}")
    assert mine.exit_code == 0, mine.output
    asked = invoke(server, book, *SMALL, "--question", "How high was the tide?", "--refine")
    assert asked.exit_code == 0, asked.output
    assert asked.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--words", 0], "--words must be a number from 1, not 0"),
        (["--window", 300], "a window of 300 tokens leaves no room beside the"),
        (["--map-prompt", "{foo}"], "the map prompt has a place {foo} and nothing is known for it"),
        (["--map-prompt", "none.txt"], "--map-prompt none.txt is no file, and too short for a prompt"),
        (["--map-prompt", " "], "--map-prompt is empty"),
        (["--question", "Who?", "--map-prompt", "What is it?"], "--question is a pair of prompts already"),
        (["--budget", "much"], "--budget must be an amount in US dollars"),
        (["--fresh"], "--fresh goes with --out"),
        (["--glob", "*.txt"], "--glob says which files of a folder are meant, and INPUT is none"),
        (["--lane", "batch"], "--lane batch needs --out FILE"),
        (["--lane", "batch", "--out", "o.jsonl", "--no-cache"], "--lane batch needs the cache"),
        (["--api", "messages"], "--api messages has no gpt-5.4-mini; name its model with --model"),
        (["--base-url", "nonsense"], "base_url must be a URL"),
    ],
)
def test_a_wrong_call_is_one_sentence(server, book, monkeypatch, arguments, sentence):
    """Exit code 2, and nothing on stdout."""
    monkeypatch.chdir(book.parent)
    done = invoke(server, book, *arguments)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "book.txt is empty; name a text that can be summarized"),
        (b"\x00\x01\x02" * 99, "book.txt holds data that is no text; export it as text"),
        (None, "book.txt cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_input_is_one_sentence(server, book, data, sentence):
    """What, where, and what to do."""
    book.unlink() if data is None else book.write_bytes(data)
    done = invoke(server, book)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr


class Poisoned(FakeProvider):
    """Refuses what is about one day."""

    def __init__(self, refused: str = "day 30 ") -> None:
        super().__init__([Step(text="So much for this part.")] * 100)
        self._refused = refused.encode()

    async def __call__(self, call) -> Reply:
        if self._refused in call.body:
            error = {"error": {"message": "No.", "type": "invalid_request_error", "code": "bad"}}
            return Reply(400, (("content-type", "application/json"),), msgspec.json.encode(error))
        return await super().__call__(call)


@pytest.fixture
def poisoned(monkeypatch):
    def engine(given, *, api, cache, config):
        return Engine(handler=Poisoned(), cache=cache or "off", log="off", log_level="off")

    monkeypatch.setattr("headway.jobs.library.job_engine", engine)


@pytest.mark.parametrize(("how", "marked"), [("mark", True), ("drop", False)])
def test_a_chunk_that_fails_is_a_gap(poisoned, book, how, marked):
    """Marked in the text or dropped; told of either way, with another exit code."""
    done = invoke("http://x/v1", book, *SMALL, "--on-error", how)
    assert done.exit_code == 1, done.output
    assert ("[Missing: part " in done.stdout) == marked
    assert re.search(r"headway summarize: 1 of \d+ chunks are missing: .*No\.?.*; the same command asks", done.stderr)


def test_a_chunk_that_fails_may_fail_all(poisoned, book):
    """Nothing is shown then but the sentence."""
    done = invoke("http://x/v1", book, *SMALL, "--on-error", "fail")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.search(r"headway summarize: part \d+ of \d+ \(characters .*\) could not be read: .*No", done.stderr)


def start(url: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [*PROGRAM, *map(str, arguments), "--base-url", url]
    return subprocess.Popen(command, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(url: str, answers: int) -> None:
    """Until the provider has given so many answers."""
    until_s = time.monotonic() + 60
    while len([row for row in ledger(url) if row["status"] == 200]) < answers:
        assert time.monotonic() < until_s, "nothing is asked"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a thing of Unix")
def test_killed_and_started_again_it_pays_for_what_is_missing(book):
    """Killed with SIGKILL midway: only what was in flight is asked a second time. Ctrl-C says what is kept."""
    with serving(SimSettings(seed=1, latency_scale=0.03, quality=None)) as url:
        plan = json.loads(invoke(url, book, *SMALL, "--plan", "--json").stdout)
        first = start(url, book, *SMALL, "--concurrency", 2)
        wait_for(url, 3)
        first.kill()
        first.communicate()
        second = start(url, book, *SMALL, "--concurrency", 2)
        wait_for(url, len(ledger(url)) + 1)
        second.send_signal(signal.SIGINT)
        out, err = second.communicate(timeout=20)
        assert (second.returncode, out) == (130, b""), err
        assert re.search(
            rb"interrupted; \d+ answers for \$0\.\d+ are kept in the cache, and the same command goes", err
        )
        third = start(url, book, *SMALL, "--concurrency", 2)
        out, err = third.communicate(timeout=60)
        assert third.returncode == 0, err
        assert out.strip()
        assert b" from the cache)" in err
        asked = [row for row in ledger(url) if row["status"] == 200]
        assert plan["calls"] <= len(asked) <= plan["calls"] + LOST_MAX


def test_a_reader_that_leaves_ends_the_answer(book):
    """`headway summarize ... | head -c 9`: no complaint, and nothing more is generated."""
    with serving(SimSettings(seed=1, latency_scale=0.5, quality=None)) as url:
        child = start(url, book, "--words", 300)
        assert child.stdout is not None
        assert child.stdout.read(5)
        child.stdout.close()
        assert child.wait(20) == 0
        assert child.stderr is not None
        assert child.stderr.read() == b""
        child.stderr.close()
        assert [row["aborted"] for row in ledger(url)] == [True]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")  # noqa: PTH110
@pytest.mark.parametrize("more", [(), ("--json",), ("--plan",), ("--plan", "--json")])
def test_an_output_that_takes_nothing(server, book, more):
    """A full disk behind `> summary.txt` is one sentence, not a traceback, which with --json it was."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [*PROGRAM, str(book), "--base-url", server, *more]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env={**os.environ}, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rb"headway summarize: standard output cannot be written: No space left.*; .*\n", done.stderr)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_line_makes_way():
    """Redrawn on a terminal until something else is to be shown; elsewhere it is a line now and then, or none."""
    import asyncio

    screen, file, silent = Terminal(), io.StringIO(), io.StringIO()

    async def main():
        pace = Pace(asyncio.get_running_loop().time)
        lives = [Live(lambda: "so far", stream=screen), Live(lambda: "so far", stream=file, plain=True)]
        lives.append(Live(lambda: "so far", stream=silent))
        async with lives[0].shown(), lives[1].shown(), lives[2].shown():
            await asyncio.sleep(0.25)
            lives[0].hide()
            drawn = screen.getvalue()
            await asyncio.sleep(24.0)
            assert screen.getvalue() == drawn
        return pace.left(12, 36), pace.left(0, 3), pace.per_hour(2)

    left, unknown, hour = virtual_run(main)
    assert screen.getvalue().startswith("\rso far\x1b[K\rso far\x1b[K")
    assert screen.getvalue().endswith("\r\x1b[K")
    assert file.getvalue() == "so far\n" * 2
    assert silent.getvalue() == ""
    assert (left, unknown) == ("48.5 s left", "")
    assert hour == pytest.approx(2 * 3600 / 24.25)


def test_a_guess_at_the_encoding_is_told(server, book):
    """Before anything is asked; cp1251 read as cp1252 was paid for without a word."""
    book.write_bytes("Все счастливые семьи".encode("cp1251"))
    done = invoke(server, book)
    assert done.exit_code == 0, done.output
    assert re.search(r"book.txt is no UTF-8 and is read as cp1252, a guess; save it as UTF-8 to be sure\n", done.stderr)
    assert "Encoding   1 document is" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="it has neither")
def test_what_is_named_may_be_a_link_or_a_pipe(server, book, tmp_path):
    """Only in folders they are passed over: `headway summarize <(curl ...)`."""
    (tmp_path / "link.txt").symlink_to(book)
    assert invoke(server, tmp_path / "link.txt", *SMALL).exit_code == 0
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["/bin/sh", "-c", f"cat {book} > {tmp_path}/pipe"]) as writer:
        assert invoke(server, tmp_path / "pipe", *SMALL).exit_code == 0
        assert writer.wait(10) == 0
