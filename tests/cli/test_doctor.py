"""`headway doctor` against a simulator, and where there is nothing to talk to."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.measure.doctor import local


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A directory and a home of its own, and a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")


def invoke(*arguments: object):
    done = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    assert "sk-own" not in done.output + done.stderr
    return done


def test_all_is_well_with_a_simulator(server):
    """A line a check, exit code 0; nothing is generated, nothing is written."""
    done = invoke("--base-url", server)
    assert done.exit_code == 0, done.output
    checks = [line.split()[1] for line in done.stdout.splitlines() if line[:2] in ("ok", "sk")]
    assert checks == [
        "configuration", "connection", "key", "clock", "price", "limits", "state", "call", "cache", "extras",
    ]  # fmt: skip
    assert done.stdout.endswith("All is well.\n")


def test_a_tiny_call_is_priced_beforehand(server):
    """--call generates something, tells the limits, and says first what it may cost."""
    done = invoke("--base-url", server, "--call", "--model", "gpt-5.4-mini")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("One tiny call of gpt-5.4-mini at each address, for $0.0000")
    assert "gpt-5.4-mini answered in" in done.stdout
    assert "30,000,000 tokens" in done.stdout


def test_nobody_there_is_a_failure_with_a_remedy():
    """Exit code 1; what needs a connection is said not to have been looked at, all else is."""
    done = invoke("--base-url", "http://127.0.0.1:9/v1", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["worst"]) == (1, "failure")
    levels = {one["check"]: one["level"] for one in found["findings"]}
    assert (levels["connection"], levels["key"], levels["clock"], levels["state"]) == (
        "failure",
        "skipped",
        "skipped",
        "ok",
    )
    assert next(one for one in found["findings"] if one["check"] == "connection")["remedy"]


def test_a_missing_key_is_a_failure(monkeypatch):
    """It is named by its variable, with a connection or without."""
    monkeypatch.delenv("OPENAI_API_KEY")
    done = invoke("--base-url", "https://nowhere.invalid/v1", "--quiet")
    assert done.exit_code == 1
    assert "set OPENAI_API_KEY to your key" in done.stdout


def test_a_wrong_configuration_is_told_with_its_line(tmp_path):
    """Exit code 2, and one sentence."""
    (tmp_path / "headway.toml").write_text("\ntimeout = 3\n")
    done = invoke()
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "headway doctor: headway.toml, line 2: unknown key 'timeout'; did you mean 'timeout_s'?"
    )


def test_every_value_can_be_explained(tmp_path, monkeypatch):
    """--explain shows all settings, and for those that somebody has set, who."""
    (tmp_path / "headway.toml").write_text('cache = "disk"\n')
    monkeypatch.setenv("HEADWAY_TIMEOUT_S", "30")
    shown = invoke("--offline", "--explain").stdout.splitlines()
    assert 'cache = "disk"  # headway.toml, line 1' in shown
    assert "timeout_s = 30.0  # environment variable HEADWAY_TIMEOUT_S" in shown
    assert "api_key = set, not shown  # environment variable OPENAI_API_KEY" in shown
    assert "attempts_max = 3" in shown
    tree = json.loads(invoke("--offline", "--explain", "--json").stdout)
    assert {"name": "cache", "value": '"disk"', "source": "headway.toml, line 1"} in tree["settings"]


@pytest.mark.parametrize(
    ("environ", "told"), [({}, "1 setting is not"), ({"HEADWAY_TIMEOUT_S": "30"}, "2 settings are not")]
)
def test_settings_are_counted(environ, told, monkeypatch):
    """One is one."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert told in invoke("--offline").stdout


@pytest.mark.parametrize(("gone", "missing"), [("none", ""), ("prometheus-client", "prometheus, serve")])
def test_an_extra_is_installed_with_all_that_it_names(gone, missing, monkeypatch):
    """Other extras of ours among it; those of the package's developers are nobody's business."""
    named = (
        'headway[prometheus]; extra == "serve"',
        'starlette>=0.40; extra == "serve"',
        'prometheus-client>=0.21; extra == "prometheus"',
        'opentelemetry-api>=1.27; extra == "otel"',
        'pytest; extra == "dev"',
    )
    monkeypatch.setattr(local, "requires", lambda name: list(named))
    monkeypatch.setattr(local, "_is_installed", lambda name: name != gone)
    there = sorted({"otel", "prometheus", "serve"} - set(missing.split(", ")))
    said = local.extras().text
    assert said.startswith(f"installed: {', '.join(there)}")
    assert said.partition("not installed: ")[2].partition(" (")[0] == missing
    assert "dev" not in said


def test_offline_leaves_the_network_alone():
    """Exit code 0, and a word on what was left out."""
    done = invoke("--offline")
    assert done.exit_code == 0, done.output
    assert "not looked at: --offline" in done.stdout
    assert invoke("--offline", "--quiet").stdout == ""


@pytest.mark.parametrize("arguments", [("--call",), ("--call", "--model", "m", "--offline")])
def test_a_call_needs_a_model_and_the_network(arguments):
    """Exit code 2 before anything is sent."""
    assert invoke(*arguments).exit_code == 2
