"""`headway ask` over real connections to the simulator, and over a scripted provider."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.errors import ConnectionLost
from headway.measure.asking import Asked, Question, ask, summed
from headway.sim import SimSettings, serving
from headway.testing import FakeProvider, Step, virtual_run

from headway import Engine  # isort: skip

RAIN = "Write 30 words about rain."


@pytest.fixture(scope="module")
def url():
    with serving(SimSettings(latency_scale=0)) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sim")


def invoke(url, *arguments: object, stdin: str | None = None):
    return CliRunner().invoke(app, ["ask", "--base-url", url, *map(str, arguments)], input=stdin)


def ledger(url: str) -> list[dict]:
    with urllib.request.urlopen(url[:-3] + "/sim/ledger") as answer:
        return json.loads(answer.read())["rows"]


@pytest.mark.parametrize("api", [[], ["--chat"]])
def test_a_pipe_gets_the_answer_and_nothing_else(url, api):
    """The text is on stdout, the figures on stderr: TTFT, total, cost, tokens."""
    done = invoke(url, RAIN, *api)
    assert done.exit_code == 0, done.output
    assert 20 <= len(done.stdout.split()) <= 45
    assert done.stdout.endswith("\n")
    assert re.fullmatch(r"TTFT .*s, total .*s, (.* tokens/s, )?cost \$0\.000\d+, \d+ in, \d+ out\n", done.stderr)


@pytest.mark.parametrize("api", [[], ["--chat"]])
def test_options_reach_the_provider(url, api):
    """Bound, instructions and model; an answer that ended at its bound says so."""
    done = invoke(url, RAIN, "--max-output-tokens", 16, "--system", "Be brief. " * 40, "--model", "gpt-4o", *api)
    assert done.exit_code == 0, done.output
    assert re.search(r"1\d\d in, 16 out, cut at its bound$", done.stderr.strip())


def test_json_is_one_object(url):
    """For programs: every answer with its figures, nothing else on stdout."""
    done = invoke(url, RAIN, "--json", "--runs", 2, "--model", "gpt-4o", "--model", "gpt-4.1-nano")
    found = json.loads(done.stdout)
    assert [one["model"] for one in found["models"]] == ["gpt-4o", "gpt-4.1-nano"]
    assert [one["answered"] for one in found["models"]] == [2, 2]
    answer = found["models"][0]["answers"][1]
    assert answer["outcome"] == "ok"
    assert answer["usage"]["output_tokens"] > 10
    assert answer["text"]
    assert done.stderr == ""


def test_models_stand_side_by_side(url):
    """Each model's first answer on stdout in order, a table over all runs on stderr."""
    done = invoke(url, RAIN, "--runs", 2, "--model", "gpt-4o", "--model", "gpt-4.1-nano")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2
    assert re.search(r"^gpt-4o +2 .*\$", done.stderr, re.MULTILINE)
    assert re.search(r"^gpt-4.1-nano +2 .*\$", done.stderr, re.MULTILINE)


def test_the_prompt_may_come_from_standard_input(url):
    """A dash reads it; an empty one is the caller's mistake."""
    assert invoke(url, "-", stdin=RAIN).exit_code == 0
    done = invoke(url, "-", stdin="  \n")
    assert done.exit_code == 2
    assert "the prompt is empty" in done.stderr


def test_a_kept_answer_costs_nothing(url):
    """With --cache the second one comes from the disk; without it nothing is kept or joined."""
    assert invoke(url, RAIN, "--cache").exit_code == 0
    done = invoke(url, RAIN, "--cache")
    assert "cost $0," in done.stderr
    assert "from the cache (sqlite)" in done.stderr
    assert "from the cache" not in invoke(url, RAIN).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--model", "no-such-model"], 2, "answered 404 model_not_found for model 'no-such-model'"),
        (["--base-url", "http://127.0.0.1:9/v1"], 1, "no connection to http://127.0.0.1:9"),
        (["--base-url", "nonsense"], 2, "base_url must be a URL"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(url, arguments, code, sentence):
    """2 where the call is wrong, 1 where the provider is; nothing on stdout."""
    done = invoke(url, "Hi", *arguments)
    assert done.exit_code == code, done.output
    assert sentence in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_ctrl_c_says_what_had_come():
    """Exit code 130, the text so far on stdout, a sentence, and the provider's stream is ended."""
    with serving(SimSettings(latency_scale=0.3)) as url:
        command = [sys.executable, "-c", "from headway.cli import main; main()", "ask", "Write 5000 words about rain."]
        child = subprocess.Popen(
            [*command, "--base-url", url], env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout.read(10)  # the answer has begun, many seconds before its end
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        assert child.returncode == 130, err
        assert out.endswith(b"\n")
        assert b"TTFT " in err
        assert re.search(rb"interrupted; \d+ characters of an unfinished one had come, and what was generated", err)
        assert b"Traceback" not in err
        assert [row["aborted"] for row in ledger(url)] == [True]


def test_a_reader_that_leaves_ends_the_answer():
    """`headway ask ... | head`: no complaint, and nothing more is generated."""
    with serving(SimSettings(latency_scale=0.2)) as url:
        command = [sys.executable, "-c", "from headway.cli import main; main()", "ask", "Write 5000 words about rain."]
        child = subprocess.Popen(
            [*command, "--base-url", url], env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout.read(10)
        child.stdout.close()
        assert child.wait(20) == 0
        assert child.stderr.read() == b""
        child.stderr.close()
        assert [row["aborted"] for row in ledger(url)] == [True]


def asked(script, *, bound: int | None = None) -> tuple[Asked, FakeProvider]:
    """One question to a scripted provider, in virtual time."""
    provider = FakeProvider(script)

    async def main():
        question = Question(prompt="Hi", model="gpt-5.4-mini", api="chat", output_tokens_max=bound)
        async with Engine(handler=provider, log="off", log_level="off", seed=1) as engine:
            return await ask(engine, question, Asked(model="gpt-5.4-mini"))

    return virtual_run(main), provider


def test_times_are_the_callers():
    """TTFT ends with the first text; the rate counts the tokens after it."""
    one, _ = asked([Step(text="one two three", delay_s=1.0, chunk_delay_s=0.5, output_tokens=5)])
    assert one.ttft_s == pytest.approx(2.0)  # an empty delta comes first
    assert one.text == "one two three"
    assert one.tokens_per_s == pytest.approx(4 / (one.total_s - 2.0))


def test_a_provider_that_knows_the_bound_by_its_other_name_is_asked_again():
    """Some compatible endpoints refuse `max_completion_tokens`."""
    refusal = Step(status=400, text="Unrecognized request argument: max_completion_tokens")
    one, provider = asked([refusal, Step(text="yes")], bound=5)
    assert (one.text, one.error) == ("yes", "")
    assert b'"max_tokens":5' in provider.seen[1].body


def test_a_stream_that_breaks_off_is_an_error_with_its_text():
    """What came is shown, and it is told that it is not all."""
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n'
    one, _ = asked([Step(chunks=(chunk,), error=ConnectionLost("the connection broke", maybe_billed=True))])
    assert one.text == "half"
    assert one.error == "the connection broke"
    assert summed([one]).errors == 1
