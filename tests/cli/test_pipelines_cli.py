"""`headway pipelines`, on a log that real runs have written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
from typer.testing import CliRunner

import headway
from headway.cli import app
from headway.sim import SimSettings, Simulator
from headway.store.call_reader import CallLogReader
from headway.testing import virtual_run

SECRET = "tides of the northern sea"


@headway.step
async def outline(topic: str) -> str:
    return await headway.ask(f"Write 20 words about {topic}.", model="gpt-5.4-mini")


@headway.step
async def facts(topic: str) -> str:
    return await headway.ask(f"Write 40 words: facts about {topic}.", model="gpt-5.4-mini")


@headway.step
async def write(outline: str, facts: str, words: int) -> AsyncIterator[str]:
    async for piece in headway.ask(f"Write {words} words. {outline} {facts}", model="gpt-5.4-mini"):
        yield piece


@headway.pipeline
async def article(topic: str, words: int):
    return write(outline(topic), facts(topic), words)


@headway.pipeline
async def shout(topic: str):
    return await outline(topic)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """120 runs of `article`, whose last 40 write three times as much, and one of `shout`."""
    path = tmp_path_factory.mktemp("log") / "calls.sqlite"

    async def main() -> None:
        handler = Simulator(SimSettings(seed=1)).handler
        async with headway.Engine(handler=handler, api_key="k", log=str(path), log_level="off", seed=1) as engine:
            for i in range(120):
                async with article.run(f"{SECRET} {i}", 150 if i >= 80 else 50, engine=engine) as run:
                    await run.result()
            async with shout.run(SECRET, engine=engine) as run:
                await run.result()

    virtual_run(main)
    return path


def invoke(log, *arguments: str):
    done = CliRunner().invoke(app, ["pipelines", "--file", str(log), *arguments], env={"COLUMNS": "80"})
    assert "Traceback" not in done.output
    return done


def ids(log):
    with CallLogReader(log) as reader:
        return list(dict.fromkeys(row.run for row in reader.steps(limit=10_000)))


def test_all_pipelines(log):
    """A table each: the steps, how often they were critical, and what being faster would bring; within 80 columns."""
    done = invoke(log)
    assert done.exit_code == 0
    assert "article: 120 runs, end to end p50" in done.stdout
    assert "shout: 1 run" in done.stdout
    assert re.search(r"^write +120 .* 100 % +0 s \$\S+ +-\d", done.stdout, re.MULTILINE)
    assert re.search(r"^outline +120 .* no gain$", done.stdout, re.MULTILINE)
    assert max(len(line) for line in done.stdout.splitlines() if "become slower" not in line) <= 80


def test_one_pipeline_has_more(log):
    """With its name: waits, tokens and the p95 over time; others are left out."""
    done = invoke(log, "article")
    assert done.exit_code == 0
    assert "p95 over time" in done.stdout
    assert "shout" not in done.stdout


def test_a_check_names_what_has_become_slower(log):
    """Exit code 1, the step, and that its tokens explain it; the table is left out."""
    done = invoke(log, "--check", "--recent", "40")
    assert done.exit_code == 1
    assert re.match(r"article: write has become slower: p95 .* It writes \d+ % more tokens, which", done.stdout)
    assert "critical" not in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recent", "40", "--slower", "900%"], "No step has become slower (4 looked at)."),
        (["--recent", "100"], "No step could be judged"),
        (["shout"], "No step could be judged"),
    ],
)
def test_a_check_that_finds_nothing_says_why(options, said, log):
    """Exit code 0, and whether anything could be judged at all."""
    done = invoke(log, "--check", *options)
    assert (done.exit_code, done.stdout.startswith(said)) == (0, True)


def test_the_last_run(log):
    """The waterfall of the run that ended last, of the pipeline that is named."""
    done = invoke(log, "article", "--last")
    assert done.exit_code == 0
    assert done.stdout.startswith("article took ")
    assert "* critical path" in done.stdout
    assert re.search(r"\* write +\d", done.stdout)
    assert invoke(log, "--last").stdout.startswith("shout took ")


def test_a_run_by_the_beginning_of_its_id(log):
    """Whole ids and beginnings find the same run; what fits several is asked for more of."""
    whole = ids(log)[7]
    shown = invoke(log, "--run", whole).stdout
    assert shown == invoke(log, "--run", whole[:10]).stdout
    done = invoke(log, "--run", whole[0])
    assert done.exit_code in (0, 2)
    assert done.exit_code == 0 or f"runs begin with '{whole[0]}'" in done.stderr


def test_a_run_longer_than_usual_says_so(log):
    """Of the runs that wrote three times as much, one is beyond the p95 of the others."""
    with CallLogReader(log) as reader:
        rows = [row for row in reader.steps(pipeline="article", limit=10_000) if row.step == "write"]
    slowest = max(rows, key=lambda row: row.end_s - row.started_s)
    assert "Slower than usual: write, " in invoke(log, "--run", slowest.run).stdout
    told = json.loads(invoke(log, "--run", slowest.run, "--json").stdout)
    assert told["unusual"][0]["others"] == 119


def test_json_is_whole(log):
    """The figures of all pipelines, and the regressions; of a run, its data."""
    told = json.loads(invoke(log, "--json", "--recent", "40").stdout)
    assert [one["pipeline"] for one in told["pipelines"]] == ["article", "shout"]
    assert [one["step"] for one in told["regressions"]] == ["write", "(end to end)"]
    assert told["pipelines"][0]["steps"][2]["faster"]["faster"] == 0.3
    run = json.loads(invoke(log, "--last", "--json").stdout)
    assert [step["step"] for step in run["steps"]] == ["outline"]


def test_faster_by_another_share(log):
    """Half as long saves more than 30 % less."""
    gains = [
        json.loads(invoke(log, "--json", "--faster", share).stdout)["pipelines"][0]["steps"][2]["faster"]["p50_s"]
        for share in ("30%", "0.5")
    ]
    assert gains[1] == pytest.approx(gains[0] * 5 / 3, rel=0.05)


def test_pages_and_traces(log, tmp_path):
    """Files beside what is printed, and word of them on stderr; none holds a prompt."""
    page, run, trace = tmp_path / "all.html", tmp_path / "run.html", tmp_path / "run.json"
    done = invoke(log, "--html", str(page))
    assert f"Written: {page}" in done.stderr
    assert invoke(log, "article", "--last", "--html", str(run), "--trace", str(trace)).exit_code == 0
    assert "critical path" in run.read_text("utf-8")
    assert any(event["name"] == "write" for event in msgspec.json.decode(trace.read_bytes())["traceEvents"])
    for file in (page, run, trace):
        assert SECRET not in file.read_text("utf-8")
        assert file.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "there is no whole run of 'nope'"),
        (["--run", "zz"], "there is no run 'zz'"),
        (["--run", ""], "--run is empty"),
        (["--limit", "2"], "the last 2 rows of "),
        (["--limit", "2"], "hold no whole run; raise --limit"),
        (["--since", "soon"], "--since must be a time"),
        (["--faster", "0"], "--faster must be a share"),
        (["--faster", "200%"], "--faster must be a share"),
        (["--recent", "0"], "--recent must be a number of runs above 0"),
        (["--slower", "much"], "--slower must be a share"),
        (["--trace", "x.json"], "--trace writes one run"),
        (["--check", "--last"], "--check is about many runs"),
        (["--last", "--html", "/nowhere/x.html"], "cannot be written"),
    ],
)
def test_wrong_calls_end_with_2_and_a_sentence(arguments, said, log):
    """One sentence on stderr, nothing on stdout."""
    done = invoke(log, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_no_log_is_a_sentence(tmp_path):
    """Where no run has written a log yet."""
    done = invoke(tmp_path / "none.sqlite")
    assert done.exit_code == 2
    assert "There is no call log" in done.stderr


def test_a_log_cut_short_is_read_in_whole_runs(log):
    """With --limit in the middle of a run, that run is left out, not shown without its beginning."""
    told = json.loads(invoke(log, "article", "--json", "--limit", "10").stdout)
    assert told["pipelines"][0]["runs"] == 2
    assert told["pipelines"][0]["outcomes"] == {"ok": 2}


def test_it_works_in_a_pipe(log):
    """Through `head`, without colours, a traceback or another exit code; in ASCII where the locale is."""
    command = [sys.executable, "-c", "from headway.cli import main; main()", "pipelines", "--file", str(log), "--last"]
    shown = subprocess.run(command, capture_output=True, env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"})
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii()
    assert b"\x1b" not in shown.stdout


def test_a_run_in_the_log_is_the_run_as_it_was(tmp_path):
    """What the log gives back is what `run.report()` said; the calls of a step have its name in their tags."""
    path = tmp_path / "calls.sqlite"
    reports = []

    async def main() -> None:
        handler = Simulator(SimSettings(seed=1)).handler
        async with headway.Engine(handler=handler, api_key="k", log=str(path), log_level="off", seed=1) as engine:
            async with article.run("x", 50, engine=engine) as run:
                await run.result()
            reports.append((run.id, str(run.report())))

    virtual_run(main)
    assert invoke(path, "--run", reports[0][0]).stdout.rstrip() == reports[0][1].rstrip()
    with CallLogReader(path) as reader:
        calls = reader.calls(run=reports[0][0])
    assert sorted(call.step for call in calls) == ["facts#1", "outline#0", "write#2"]
