"""`make live` itself, without a key and with the simulator in the providers' place: it is ready when a key is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.sim import SimSettings, serving
from tests.live import test_live
from tests.live.providers import CHECK_USD, ENV, PROVIDERS, TOTAL_USD, Purse

ROOT = Path(__file__).resolve().parents[2]


def live(**variables: str) -> subprocess.CompletedProcess[str]:
    """The live tests in a process of their own, where nothing but those variables is known."""
    keys = {provider.key_env for provider in PROVIDERS} | {"AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT"}
    plain = {name: value for name, value in os.environ.items() if name not in keys and "HEADWAY" not in name}
    command = [sys.executable, "-m", "pytest", "-m", "live", "tests/live"]
    return subprocess.run(command, env=plain | variables, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_without_a_key_everything_is_skipped_with_a_line_for_each():
    """Exit code 0, nothing asked, and which variable is missing."""
    done = live(HEADWAY_LIVE="1")
    assert done.returncode == 0, done.stdout
    for provider in PROVIDERS:
        assert done.stdout.count(f"skipped {provider.name}: {provider.key_env} is not set") == 1
    assert "spent: 0.000000 dollars of 0.10" in done.stdout
    assert " passed" not in done.stdout


def test_without_make_live_keys_are_not_used(tmp_path, monkeypatch):
    """A plain `pytest` with a key in the environment asks nobody."""
    monkeypatch.setitem(ENV, "OPENAI_API_KEY", "sk-x")
    monkeypatch.setattr(test_live, "STARTED", False)
    with pytest.raises(pytest.skip.Exception, match="make live"):
        test_live.test_a_real_provider_answers(PROVIDERS[0], "chat", "engine.send", tmp_path, monkeypatch)


def test_with_keys_every_reader_and_door_is_asked():
    """Three providers, played by the simulator: all pass, the table has a row for each, the sum is under the cap."""
    asked = PROVIDERS[:3]
    with serving(SimSettings(latency_scale=0)) as url:
        variables = {f"HEADWAY_LIVE_{provider.name.upper()}_URL": url for provider in asked}
        variables |= {provider.key_env: "sk-sim" for provider in asked}
        variables["AZURE_OPENAI_DEPLOYMENT"] = "gpt-4o-mini"
        done = live(HEADWAY_LIVE="1", **variables)
    assert done.returncode == 0, done.stdout[-4000:]
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[:1] and " ok " in line]
    assert {row[0] for row in rows} == {provider.name for provider in asked}
    assert {row[1] for row in rows} == {"chat", "responses", "embeddings", "messages"}
    for door in ("engine.send", "a stream", "async_client", "client", "headway ask"):
        assert any(door in line for line in done.stdout.splitlines())
    spent = float(done.stdout.partition("spent: ")[2].split()[0])
    assert 0 < spent < TOTAL_USD / 10


@pytest.mark.parametrize("spent", [None, 1.0])
def test_the_purse_never_pays_more_than_it_holds(spent):
    """Whatever checks say they took, or do not say: the sum of all caps is the total."""
    purse, paid = Purse(), 0.0
    while (cap := purse.take()) > 1e-12:
        assert cap <= CHECK_USD
        purse.back(cap, spent)
        paid += cap
    assert paid == pytest.approx(TOTAL_USD)
