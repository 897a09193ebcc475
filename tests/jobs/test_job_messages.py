"""`headway run --api messages` against the simulator's Messages API, by its own headers and key."""

import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.sim.server import serving
from headway.sim.settings import SimSettings

ROWS = 30


@pytest.fixture(scope="module")
def provider():
    with serving(SimSettings(latency_scale=0.0, rpm=None, tpm=None, quality=None, api_keys=("sk-ant",))) as url:
        yield url


def test_a_job_over_the_messages_api(tmp_path, monkeypatch, provider):
    """Every row is answered and labelled, with its tokens; a second run finds all of it in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ant")
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"My card number {i} was stolen\n" for i in range(ROWS)))
    command = ["run", "in.csv", "--api", "messages", "--model", "claude-haiku-4-5", "--prompt", "{text}"]
    command += ["--labels", "card,invoice", "--base-url", provider, "--quiet", "--out"]
    for out in ("a.jsonl", "b.jsonl"):
        done = CliRunner().invoke(app, [*command, out])
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in (tmp_path / out).read_text().splitlines()]
        assert len(rows) == ROWS
        assert {row["output"] for row in rows} == {"card"}
    with closing(sqlite3.connect(tmp_path / "home" / "calls.sqlite")) as log:
        calls = log.execute("SELECT path, format, outcome, cache, input_tokens FROM calls").fetchall()
    assert len(calls) == 2 * ROWS
    assert {call[:3] for call in calls} == {("/v1/messages", "anthropic_messages", "ok")}
    assert sorted(call[3] for call in calls).count("miss") == ROWS
    assert all(call[4] > 0 for call in calls)


def test_a_model_has_to_be_named(tmp_path, monkeypatch):
    """The default model is none of that API's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("text\nx\n")
    done = CliRunner().invoke(app, ["run", "in.csv", "--api", "messages", "--prompt", "{text}"])
    assert done.exit_code == 2
    assert "model is missing" in done.output
