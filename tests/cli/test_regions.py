"""`headway regions` over real connections to simulators in two regions."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.sim import SimSettings, serving


@pytest.fixture(scope="module")
def servers():
    with (
        serving(SimSettings(region="ap-southeast", latency_scale=0.5)) as far,
        serving(SimSettings(region="local", latency_scale=0)) as near,
    ):
        yield far, near


@pytest.fixture
def config(servers, tmp_path, monkeypatch):
    """A configuration whose own address is the far one."""
    far, near = servers
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    monkeypatch.setenv("NEAR_KEY", "sk-near")
    file = tmp_path / "h.toml"
    file.write_text(
        f'base_url = "{far}"\n[[upstream]]\nname = "near"\nregion = "local"\nbase_url = "{near}"\n'
        f'key_env = "NEAR_KEY"\nstands_in_for = "{far}"\n'
    )
    return file


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["regions", *map(str, arguments)])


def test_it_names_the_nearest_and_shows_the_cost_beforehand(config):
    """A table and a verdict for people; exit code 0."""
    done = invoke("--config", config, "--model", "gpt-4o", "--runs", 3)
    assert done.exit_code == 0, done.output
    assert "2 upstreams, 3 + 1 short requests each, for $" in done.stderr
    assert re.search(r"near (is the fastest to its first token|leads)", done.stderr)
    assert done.stdout == ""
    assert "sk-" not in done.output


def test_json_is_for_programs(config):
    """One object on stdout, the same figures."""
    done = invoke("--config", config, "--model", "gpt-4o", "--runs", 2, "--json", "--quiet")
    found = json.loads(done.stdout)
    assert found["winner"]["name"] == "near"
    assert [one["answers"] for one in found["upstreams"]] == [2, 2]
    assert done.stderr == ""


def test_nothing_is_sent_that_may_cost_too_much(config, servers):
    """Exit code 2, and a sentence."""
    done = invoke("--config", config, "--model", "gpt-4o", "--max-usd", "0.000001")
    assert done.exit_code == 2
    assert "more than --max-usd" in done.stderr


def test_an_upstream_that_does_not_answer_is_exit_code_one(config):
    """The others are shown all the same."""
    config.write_text(config.read_text() + '[[upstream]]\nname = "down"\nbase_url = "http://127.0.0.1:9/v1"\n')
    done = invoke("--config", config, "--model", "gpt-4o", "--runs", 1)
    assert done.exit_code == 1
    assert "no connection to http://127.0.0.1:9" in done.stderr
    assert "base_url" in done.stderr


def test_a_configuration_without_upstreams_is_exit_code_two(tmp_path):
    """It says what to add."""
    (tmp_path / "h.toml").write_text("timeout_s = 3\n")
    done = invoke("--config", tmp_path / "h.toml")
    assert done.exit_code == 2
    assert "there is no [[upstream]] to compare" in done.stderr
