"""``headway sim``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
import typer
from typer.testing import CliRunner

from headway.cli.sim import sim


def run(*arguments: str):
    """The command in this process."""
    app = typer.Typer()
    app.command()(sim)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fault", "418:0.1"), "'418' is not a kind of fault"),
        (("--fault", "429:lots"), "was not understood"),
        (("--host", "0.0.0.0"), "add --allow-remote"),
        (("--host", "example.org"), "add --allow-remote"),
        (("--host", "192.0.2.1", "--allow-remote"), "cannot listen on 192.0.2.1"),
        (("--region", "moon"), "region: 'moon' is not played"),
        (("--capacity-s", "61"), "capacity_s: expected a number from 1 to 60"),
        (("--latency-scale", "-1"), "latency_scale: expected"),
        (("--batch-scale", "-1"), "batches.scale: expected"),
        (("--batch-fault", "row_418:0.1"), "'row_418' is not a kind of fault"),
        (("--flex-unavailable", "2"), "flex_unavailable: expected a number from 0 to 1"),
        (("--org", "acme"), "write it like --org sk-one=acme"),
    ],
)
def test_wrong_options_are_a_sentence_and_exit_code_2(arguments, said):
    """What is wrong and what to do, without a traceback."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_has_examples():
    """The first thing a newcomer types."""
    assert "headway sim --rpm 3000 --capacity-s 1" in run("--help").stdout


@pytest.mark.skipif(os.name == "nt", reason="sends a SIGINT")
def test_it_serves_until_ctrl_c_and_prints_the_bill():
    """A banner that says what it is and how to use it; totals at the end; exit code 0."""
    program = "import typer; from headway.cli.sim import sim; a = typer.Typer(); a.command()(sim); a()"
    command = [
        sys.executable,
        "-c",
        program,
        "--port",
        "0",
        "--latency-scale",
        "0",
        "--batch-scale",
        "0",
        "--org",
        "sim=acme",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as child:
        banner = ""
        while "Ctrl-C" not in banner:
            line = child.stdout.readline().decode()
            assert line, banner
            banner += line
        base = next(line.split("=")[1] for line in banner.split("\n") if "OPENAI_BASE_URL=" in line)
        body = json.dumps({"model": "gpt-4o", "input": "Hello you"}).encode()
        request = urllib.request.Request(f"{base}/responses", body, {"authorization": "Bearer sim"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert json.load(reply)["status"] == "completed"
            assert reply.headers["openai-organization"] == "acme"
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read().decode()
    assert child.returncode == 0
    assert banner.startswith("This is a simulator, not a model")
    assert "1 attempt: 1 answered, 0 rate-limited" in rest
    assert "9 tokens in (0 cached), 2 out; $0.0000" in rest
