"""Jobs over files of whole requests, engine and simulator on virtual time, and from the command line."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.engine import Engine
from headway.errors import ConfigError, InputError
from headway.jobs.plan import make_plan
from headway.jobs.requests_file import open_requests
from headway.jobs.runner import JobSettings, run_job
from headway.jobs.verdict import FIRST_FAILURES, Verdict
from headway.policy.lanes import LaneSettings
from headway.sim import BatchSettings, SimSettings, Simulator
from headway.sim.server import serving
from headway.testing import virtual_run
from headway.types import Result
from headway.wire.prices import Prices
from tests.jobs.test_job_cli import headway_run as piped

MODELS = ("gpt-5.4-mini", "gpt-4o-mini")


def request(n, model=MODELS[0], *, api="chat", **body):
    """A line of a batch input file."""
    text = {"role": "user", "content": f"Where is parcel {n}?"}
    if api == "messages":
        return {"custom_id": f"id-{n}", "params": {"model": model, "max_tokens": 32, "messages": [text], **body}}
    asked = {"model": model, "max_completion_tokens": 64, "messages": [text], **body}
    return {"custom_id": f"id-{n}", "method": "POST", "url": "/v1/chat/completions", "body": asked}


def written(tmp_path, rows, name="in.jsonl"):
    """A file of these rows; a row that is a string is written as it is."""
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


class World:
    """One job over a simulator, and all that was posted to it."""

    def __init__(self, tmp_path, rows, **sim):
        self.path = written(tmp_path, rows)
        self.out = tmp_path / "out.jsonl"
        self.sim = {"quality": None, "batches": BatchSettings(duration_s=420.0)} | sim
        self.posted = []
        self.simulator = None
        self.file = None

    def run(self, lane="online", *, api=None, budget_usd=None, **more):
        """One run; give how it finished."""
        self.file = open_requests(str(self.path), api=api)
        job = JobSettings(
            input=str(self.path), task=self.file.task, out=self.out, lanes=LaneSettings(lane=lane), **more
        )  # fmt: skip

        async def main():
            if self.simulator is None:
                self.simulator = Simulator(SimSettings(seed=3, **self.sim))

            async def handler(call):
                if call.method == "POST":
                    self.posted.append((call.path.partition("?")[0], bytes(call.body)))
                return await self.simulator.handler(call)

            async with Engine(
                handler=handler,
                log="off",
                seed=1,
                budget_usd=budget_usd,
                api_key="sim",
                log_level="off",
                cache="memory",
            ) as engine:
                finished = await run_job(job, engine, source=self.file.source)
                await self.simulator.jobs.settle()
                return finished

        return virtual_run(main)

    @property
    def output(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    @property
    def uploads(self):
        """The models in each uploaded file."""
        return [set(re.findall(rb'"model": ?"([^"]+)"', body)) for path, body in self.posted if path.endswith("/files")]

    @property
    def paid(self):
        return [row for row in self.simulator.ledger.rows if row.output_tokens]

    def whole(self, rows):
        """Every row stands in its line with the answer's text, and was paid for once, at its own model's price."""
        assert [line["input"] for line in self.output] == rows
        assert [line["error"] for line in self.output if line["error"]] == []
        assert all(isinstance(line["output"], str) and line["output"] for line in self.output)
        assert set(Counter(row.content for row in self.paid).values()) == {1}
        assert sum(line["dollars"] for line in self.output) == pytest.approx(sum(row.dollars for row in self.paid))


def test_models_may_differ_by_row_and_each_gets_batches_of_its_own(tmp_path):
    """Two models mixed in one file: two batches, every row answered once, each at half of its own price."""
    rows = [request(n, MODELS[n % 3 == 0]) for n in range(60)]
    world = World(tmp_path, rows)
    assert not world.run("batch").stopped
    world.whole(rows)
    assert sorted(world.uploads) == [{b"gpt-4o-mini"}, {b"gpt-5.4-mini"}]
    assert {line["lane"] for line in world.output} == {"batch"}
    assert Counter((row.model, row.lane) for row in world.paid) == {(MODELS[1], "batch"): 20, (MODELS[0], "batch"): 40}
    for line in world.output:
        rates = Prices().rates(line["input"]["body"]["model"]).base
        price = line["tokens"]["in"] * rates.input + line["tokens"]["out"] * rates.output
        assert line["dollars"] == pytest.approx(0.5 * price)


def test_what_is_sent_is_the_rows_own_body(tmp_path):
    """At once: names, values and order as in the file; a second run owes nothing."""
    rows = [request(n, MODELS[n % 2], seed=n, user="x") for n in range(6)]
    world = World(tmp_path, rows)
    world.run()
    world.whole(rows)
    posted = [body for path, body in world.posted if path.endswith("/chat/completions")]
    assert sorted(posted) == sorted(json.dumps(row["body"], separators=(",", ":")).encode() for row in rows)
    before = len(world.posted)
    assert world.run().tally.resumed == 6
    assert len(world.posted) == before


@pytest.mark.parametrize("lane", ["online", "batch", "flex"])
def test_rows_of_one_id_are_each_answered_in_their_line(tmp_path, lane):
    """Different requests of one id, and equal ones; the warning says how many and names the first."""
    rows = [request(0), request(1), {**request(2), "custom_id": "id-1"}, request(1), request(3)]
    world = World(tmp_path, rows)
    assert not world.run(lane).stopped
    world.whole(rows)
    assert len(world.paid) == 4
    assert world.output[1]["output"] == world.output[3]["output"]
    assert world.file.ids.warning().startswith(
        "2 rows have a custom_id that an earlier row has, the first of them 'id-1'"
    )


@pytest.mark.parametrize("lane", ["online", "batch"])
def test_rows_that_cannot_be_sent_fail_by_themselves(tmp_path, lane):
    """Each with its sentence, at no cost; the others are answered."""
    bad = {
        "custom_id": ({"custom_id": "x"}, "holds no request"),
        "stream": (request(90, stream=True), "stream"),
        "url": ({**request(91), "url": "/v1/responses"}, "'/v1/responses'"),
        "params": ({"custom_id": "y", "params": {"model": "m"}}, "'params'"),
        "json": ('{"custom_id":', "is not JSON"),
    }
    good = [request(n) for n in range(4)]
    world = World(tmp_path, [*[row for row, _ in bad.values()], *good])
    finished = world.run(lane)
    assert not finished.stopped
    assert (finished.tally.done, finished.tally.failed) == (9, 5)
    for line, (_, words) in zip(world.output, bad.values(), strict=False):
        assert words in line["error"]
        assert (line["output"], line["outcome"], line["attempts"]) == (None, "input", 0)
    assert all(line["output"] for line in world.output[5:])
    assert len(world.paid) == 4


@pytest.mark.parametrize("lane", ["online", "batch"])
def test_anthropics_form(tmp_path, lane):
    """Rows of params go to the Messages API, whose batches may mix models."""
    rows = [request(n, ("claude-haiku-4-5", "claude-sonnet-5")[n % 2], api="messages") for n in range(20)]
    world = World(tmp_path, rows)
    assert not world.run(lane, api="messages").stopped
    world.whole(rows)
    assert {line["lane"] for line in world.output} == {lane}
    batches = [path for path, _ in world.posted if path == "/v1/messages/batches"]
    assert len(batches) == (lane == "batch")


@pytest.mark.parametrize("lane", ["online", "batch"])
def test_rows_over_the_window_do_not_stop_the_job(tmp_path, lane):
    """The first rows are all too long: each fails with what the provider says, and the others are answered."""
    long = [request(n, "gpt-3.5-turbo", user=str(n)) for n in range(5)]
    for row in long:
        row["body"]["messages"][0]["content"] = "word " * 20_000
    rows = [*long, *[request(n) for n in range(10, 14)]]
    world = World(tmp_path, rows)
    finished = world.run(lane, concurrency=1)
    assert not finished.stopped
    assert [line["outcome"] for line in world.output] == ["client_error"] * 5 + ["ok"] * 4
    assert all("context_length_exceeded" in line["error"] for line in world.output[:5])


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "context_length_exceeded", "too many tokens"),
        (400, "string_above_max_length", "too many characters"),
        (413, "request_too_large", "too large"),
        (400, "invalid_request_error", "answered 400: prompt is too long: 203133 tokens > 200000 maximum"),
        (400, "BadRequestError", "This model's maximum context length is 8192 tokens"),
    ],
)
def test_a_row_that_is_too_long_is_no_verdict_on_the_others(status, code, said):
    """However the provider says so; another 400 is one, when the first rows all meet it."""

    def verdict_on(code, said):
        result = Result(index=0, row={}, error=said, outcome="client_error", error_code=code, status=status)
        verdict = Verdict()
        written = [verdict.judge(row, str(row), result) for row in range(FIRST_FAILURES)]
        return verdict.reason, sum(map(len, written))

    assert verdict_on(code, said) == ("", FIRST_FAILURES)
    if status == 400:
        assert verdict_on("model_not_found", "no such model") == ("no such model", 0)


def test_a_budget_counts_every_row_at_its_own_model(tmp_path):
    """In batches: what is set aside is the row's own worst case, so that the cap holds for the dear model, too."""
    rows = [request(n, ("gpt-4o-mini", "gpt-4o")[n >= 10], max_tokens=100) for n in range(40)]
    for row in rows:
        del row["body"]["max_completion_tokens"]
    world = World(tmp_path, rows)
    cap = 1.5 * 0.5 * 100 * Prices().rates("gpt-4o").base.output  # one dear row at a time
    finished = world.run("batch", budget_usd=cap)
    assert "budget" in finished.stopped
    assert sum(row.dollars for row in world.paid) <= cap
    assert 10 < finished.tally.done < 35
    assert not world.run("batch", budget_usd=1.0).stopped
    world.whole(rows)


def test_a_plan_of_mixed_models_tells_no_dollars_and_of_one_it_does(tmp_path):
    """One model's price is not the other's; bounds that the requests set themselves are seen."""

    def plan_of(rows):
        file = open_requests(str(written(tmp_path, rows)))
        job = JobSettings(input="in.jsonl", task=file.task)
        engine = Engine(handler=Simulator(SimSettings()).handler, log="off", api_key="sim")
        return asyncio.run(make_plan(job, engine.settings, source=file.source))

    one = plan_of([request(n) for n in range(5)])
    assert (one.model, one.requests, one.warnings) == (MODELS[0], 5, ())
    assert one.lanes[0].dollars.high > 0
    mixed = plan_of([*[request(n) for n in range(80)], request(80, MODELS[1])])
    assert mixed.lanes[0].dollars is None
    assert mixed.warnings[0].startswith("rows name several models")
    assert plan_of([request(n, MODELS[n]) for n in range(2)]).model == "several models"


@pytest.mark.parametrize(
    ("rows", "api", "error", "words"),
    [
        ([{"text": "x"}], None, InputError, "no file of requests"),
        ([{"custom_id": "a", "body": {"model": "m"}}], None, InputError, "name it with --api"),
        ([request(1)], "messages", ConfigError, "of the chat API, not of messages"),
        ([{**request(1), "url": "/v1/embeddings"}], None, ConfigError, "'/v1/embeddings' cannot be run"),
    ],
)
def test_a_file_that_cannot_be_run_says_so_before_anything_is_sent(tmp_path, rows, api, error, words):
    with pytest.raises(error, match=words):
        open_requests(str(written(tmp_path, rows)), api=api)


@pytest.fixture(scope="module")
def provider():
    with serving(SimSettings(latency_scale=0.0, rpm=None, tpm=None, quality=None, api_keys=("sk-sim",))) as url:
        yield url


@pytest.fixture
def headway_run(tmp_path, monkeypatch, provider):
    """The command, against a provider; exit code, output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sim")

    def run(*arguments, **more):
        done = CliRunner().invoke(app, ["run", *arguments, "--base-url", provider, "--quiet"], **more)
        return done.exit_code, done.stdout, done.stderr

    return run


def test_the_command_tells_requests_by_itself(tmp_path, headway_run):
    """Without a task, and also when the first line is too long for a look at the head; ids that repeat are told."""
    rows = [request(0, user="x" * 100_000), request(1), {**request(2), "custom_id": "id-0"}]
    written(tmp_path, rows)
    code, out, err = headway_run("in.jsonl", "--out", "out.jsonl")
    assert (code, out) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["input"]["custom_id"] for line in lines] == ["id-0", "id-1", "id-0"]
    assert err == (
        "headway run: warning: 1 row has a custom_id that an earlier row has, the first of them 'id-0'; each is "
        "answered in its own line\n"
    )


def test_requests_from_standard_input(tmp_path, headway_run, provider):
    """Told by --requests, through a pipe, where results go to standard output."""
    path = written(tmp_path, [request(n, "claude-haiku-4-5", api="messages") for n in range(3)])
    code, out, err = piped("-", "--requests", "--base-url", provider, "--quiet", stdin=path.read_bytes(), cwd=tmp_path)
    assert (code, err) == (0, "")
    assert [json.loads(line)["input"]["custom_id"] for line in out.splitlines()] == ["id-0", "id-1", "id-2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plain.jsonl"], "--requests"),
        (["plain.jsonl", "--requests"], "no file of requests"),
        (["in.jsonl", "--requests", "--model", "m"], "leave --task"),
        (["in.jsonl", "--api", "responses"], "of the chat API"),
        (["in.jsonl", "--budget", "a lot"], "--budget"),
    ],
)
def test_usage_errors_are_one_sentence(tmp_path, headway_run, arguments, words):
    """Nothing is sent; files are closed again."""
    written(tmp_path, [request(0)])
    written(tmp_path, [{"text": "x"}], "plain.jsonl")
    code, out, err = headway_run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
