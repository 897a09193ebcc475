"""`headway bench` over real connections to a simulator: tables, JSON, the report, and calls that are wrong."""

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
from typing import Any

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.measure.bench.budgets import BUDGETS_S
from headway.sim import SimSettings, serving
from tests.report.test_page import parsed

DOC = (Path(__file__).resolve().parents[2] / "docs" / "measuring.md").read_text("utf-8")


@pytest.fixture(scope="module")
def server():
    with serving(SimSettings(latency_scale=0.02)) as url:
        yield url


@pytest.fixture
def invoke(server, monkeypatch, tmp_path):
    """Runs the command against the simulator, in a directory of its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, check: bool = False) -> Any:
        quick = () if check else ("--no-check",)
        return CliRunner().invoke(app, ["bench", "--base-url", server, *quick, *map(str, arguments)])

    return run


def found_of(done: Any) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_just_works(invoke):
    """No option at all: a table, the cost beforehand, where the time goes on stdout, the cost beside it."""
    done = invoke()
    assert done.exit_code == 0, done.output
    assert re.search(r"1 model, 12 requests each, warm-up included: \$0\.0\d+ at most\.", done.stderr)
    assert "10/10" in done.stdout
    assert "= TTFT" in done.stdout
    assert "gives the time to the last" in done.stdout
    assert "at most" not in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "sk-own" not in done.output


def test_models_and_loads_have_a_row_each(invoke):
    """Two models, two concurrencies, an SLO, a use case: four rows, two verdicts."""
    done = invoke(
        "--model", "gpt-5.4-mini,gpt-4o", "--concurrency", "1,2", "--runs", 20, "--slo", "ttft=1s,e2e=3s",
        "--use-case", "chat", "--json", "--quiet",
    )  # fmt: skip
    found = found_of(done)
    assert [(row["target"], row["load"]) for row in found["rows"]] == [
        (model, load) for load in ("1 at once", "2 at once") for model in ("gpt-5.4-mini", "gpt-4o")
    ]
    assert len(found["verdicts"]) == 2
    for row in found["rows"]:
        assert (row["ok"], row["good"]) == (20, 1.0)
        assert row["budget"]["within"] is True
        assert row["ttft"]["p95_interval"]["low"] <= row["ttft"]["p95"]
        assert sum(part["share"] for part in row["equation"]["parts"]) == pytest.approx(1.0)
    assert done.stderr == ""


def test_it_measures_its_own_error(invoke):
    """Against a null server, under the same load."""
    [row] = found_of(invoke("--concurrency", 4, "--runs", 8, "--json", "--quiet", check=True))["rows"]
    assert row["own_error"]["requests"] >= 20


def test_every_field_of_the_json_is_explained(invoke):
    """docs/measuring.md names each of them in its schema section."""
    found = found_of(invoke("--runs", 3, "--definitions", "aiperf", "--json", "--quiet"))
    schema = DOC[DOC.index("## The JSON") :]

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for one in value.values() for name in names(one)}
        return {name for one in value for name in names(one)} if isinstance(value, list) else set()

    asked = set(found.pop("asked"))
    terms = {name for one in found.pop("in_terms") for term in one["terms"] for name in term["values"]}
    missing = {name for name in names(found) | asked if f"`{name}`" not in schema}
    assert terms
    assert missing == set()
    assert all(f"`{name}`" in schema for name in ("in_terms", "tool", "terms", "differs", "values", "unit"))


def test_the_budgets_in_the_documents_are_those_in_the_code():
    """The page's table says what BUDGETS_S does."""
    for use_case, budget_s in BUDGETS_S.items():
        told = "none" if budget_s is None else f"{budget_s:g} s" if budget_s >= 1 else f"{budget_s * 1e3:g} ms"
        assert f"| {use_case} | {told} |" in DOC


def test_the_report_is_one_page_that_loads_nothing(invoke, tmp_path):
    """Distributions, one call, the equation, another tool's terms; and how to do it again."""
    done = invoke("--model", "gpt-5.4-mini,gpt-4o", "--runs", 6, "--definitions", "guidellm", "--report", "b.html")
    assert done.exit_code == 0, done.output
    document = (tmp_path / "b.html").read_text("utf-8")
    tree = parsed(document)
    shown = " ".join(tree.text)
    for part in ("Time to first token", "Whole answer", "Where the time goes", "One call", "guidellm: gpt-4o"):
        assert part in shown
    assert len(document) < 500_000
    assert "sk-own" not in document


def test_open_loops_and_traces(invoke, tmp_path):
    """A rate with its arrivals, and moments out of a file."""
    [row] = found_of(invoke("--rate", 20, "--arrivals", "constant", "--runs", 10, "--json", "--quiet"))["rows"]
    assert (row["load"], row["due"]) == ("20/s constant", 10)
    assert row["asked_rate_per_s"] == pytest.approx(20)
    (tmp_path / "t.csv").write_text("offset_s\n0\n0.05\n0.1\n")
    [row] = found_of(invoke("--arrivals", "t.csv", "--json", "--quiet"))["rows"]
    assert (row["load"], row["due"]) == ("trace", 3)


def test_whole_answers_and_the_messages_api(invoke, monkeypatch):
    """Without streams there is no TTFT; Messages are asked with their own key header."""
    [row] = found_of(invoke("--no-stream", "--runs", 3, "--json", "--quiet"))["rows"]
    assert (row["ok"], row["ttft"]["count"], row["e2e"]["count"]) == (3, 0, 3)
    found = found_of(
        invoke("--api", "messages", "--model", "claude-haiku-4-5", "--runs", 3, "--json", "--quiet"),
    )
    assert found["rows"][0]["ttft"]["count"] == 3


def test_as_configured_shows_the_cache_apart(invoke, tmp_path):
    """All are hits, for the request ahead was kept: no latency of the provider comes of it."""
    (tmp_path / "c.toml").write_text('cache = "memory"\n')
    [row] = found_of(invoke("--config", "c.toml", "--as-configured", "--runs", 4, "--json", "--quiet"))["rows"]
    assert (row["ok"], row["cached"], row["e2e"]["count"]) == (4, 4, 0)
    [row] = found_of(invoke("--config", "c.toml", "--runs", 4, "--json", "--quiet"))["rows"]
    assert (row["cached"], row["e2e"]["count"]) == (0, 4)


def test_a_server_that_is_not_there_ends_it_at_once(invoke):
    """The request ahead finds out: one sentence, exit code 1, no table of dashes and no check of its own."""
    done = CliRunner().invoke(app, ["bench", "--base-url", "http://127.0.0.1:9/v1", "--runs", "30"])
    assert done.exit_code == 1
    assert "headway bench: gpt-5.4-mini cannot be measured: " in done.stderr
    assert done.stdout == ""


def test_answers_that_are_no_label_still_have_their_times(invoke, tmp_path):
    """Whether an answer is worth something is told apart: what it took is a fact about the provider."""
    (tmp_path / "t.toml").write_text(
        'prompt = "Sort: {text}"\noutput = { bullets = 9, exactly = true, instruct = false }\n'
    )
    (tmp_path / "rows.csv").write_text("text\nfirst\nsecond\n")
    asked = (
        "--task", "t.toml", "--input", "rows.csv", "--model", "gpt-4o", "--runs", 6, "--slo", "e2e=9s",
        "--use-case", "chat",
    )  # fmt: skip
    [row] = found_of(invoke(*asked, "--json", "--quiet"))["rows"]
    assert (row["ok"], row["valid"], row["failed"], row["ttft"]["count"]) == (6, 0, 0, 6)
    assert (row["good"], row["dollars_per_success"]) == (0, None)
    done = invoke(*asked)
    assert "6/6" in done.stdout
    assert "Valid answers: 0 of 6; the first that is none: " in " ".join(done.stdout.split())


def test_only_a_traces_arrivals_within_the_duration_are_planned(invoke, tmp_path):
    """And priced: an hour of it would be too dear."""
    (tmp_path / "t.csv").write_text("offset_s\n" + "".join(f"{i / 10}\n" for i in range(36_000)))
    done = invoke("--arrivals", "t.csv")
    assert done.exit_code == 2
    assert "--duration" in done.stderr
    done = invoke("--arrivals", "t.csv", "--duration", "500ms")
    assert done.exit_code == 0, done.output
    assert "7 requests each" in done.stderr
    assert "5/5" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "no-such-model"), "no-such-model cannot be measured"),
        (("--model", "a,,b"), "empty name"),
        (("--max-usd", "0.00001"), "more than --max-usd"),
        (("--slo", "foo=1s"), "--slo must be limits"),
        (("--slo", "ttft=soon"), "--slo ttft must be a time"),
        (("--find-max",), "--find-max needs limits"),
        (("--task", "t.toml"), "--input FILE"),
        (("--prompt", "promt.txt"), "'promt.txt' looks like a file"),
        (("--prompt", "no/such"), "'no/such' looks like a file"),
        (("--prompt", "Sum up:\n in short {text}"), "{text} at 2:11; give --input ROWS, or write {{text}}"),
        (("--concurrency", "1,x"), "--concurrency must be whole numbers"),
        (("--rate", "fast"), "--rate must be requests a second"),
        (("--duration", "soon"), "--duration must be a time"),
        (("--arrivals", "no.csv"), "no.csv"),
        (("--rate", "5", "--concurrency", "2"), "leave one out"),
        (("--arrivals", "constant"), "give their --rate"),
        (("--find-max", "--slo", "e2e=1s", "--runs", "3"), "--find-max has no use for --runs"),
        (("--find-max", "--slo", "e2e=1s", "--report", "b.html"), "--find-max has no use for --report"),
        (("--find-max", "--slo", "e2e=1s", "--rate", "1,2"), "one --rate"),
        (("--no-stream", "--slo", "ttft=1s"), "cannot be seen of whole answers"),
        (("--slo", "ttft=1s,ttft=2s"), "--slo says ttft twice"),
        (("--max-usd", "lots"), "--max-usd must be an amount"),
    ],
)
def test_wrong_calls_are_one_sentence(invoke, arguments, said):
    """Exit code 2, and what to do."""
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_a_report_that_cannot_be_written_is_found_before_anything_is_asked(invoke):
    """Not after the measurement was paid for."""
    done = invoke("--report", "no/such/b.html")
    assert done.exit_code == 2
    assert "at most" not in done.stderr


def test_another_tools_terms_keep_their_figures_in_80_columns(invoke):
    """Names fold; no figure is cut."""
    done = invoke("--runs", 3, "--definitions", "aiperf")
    table = done.stdout[done.stdout.index("aiperf:") : done.stdout.index("AIPerf counts")]
    assert "std" in table
    assert "\u2026" not in table


def test_a_prompt_in_a_file_is_named_and_not_shown(invoke, tmp_path):
    """Reports go round; what is asked of a model may not."""
    (tmp_path / "p.txt").write_text("our own secret sauce, in ten words")
    done = invoke("--prompt", "p.txt", "--runs", 2, "--json", "--report", "b.html")
    assert found_of(done)["asked"]["asked"] == "p.txt"
    assert "sauce" not in done.stdout + (tmp_path / "b.html").read_text("utf-8")


def test_ctrl_c_while_it_checks_itself_is_an_interruption(tmp_path):
    """Exit code 130 whatever was under way; what was measured is told."""
    with serving(SimSettings(latency_scale=0.02)) as url:
        argv = [sys.executable, "-c", "from headway.cli import main; main()", "bench", "--base-url", url, "--json"]
        with subprocess.Popen(
            [*argv, "--runs", "2", "--concurrency", "1,2"],
            cwd=tmp_path, env=os.environ | {"OPENAI_API_KEY": "sk-own"}, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            for _ in range(1_000):
                with urllib.request.urlopen(url[:-3] + "/sim/ledger") as answer:
                    if len(json.loads(answer.read())["rows"]) >= 4:  # ahead, warm-up, two that count
                        break
                time.sleep(0.01)
            for _ in range(1_000):  # until the null server of its own check has been started
                if subprocess.run(["pgrep", "-P", str(process.pid)], stdout=subprocess.PIPE).stdout:
                    break
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["rows"][0]["ok"] == 2
