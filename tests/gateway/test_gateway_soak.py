"""bench/gateway/soak.py, briefly: nothing unexpected is answered, and nothing is left. `make soak` runs it for long."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.environments import ROOT

SOAK = ROOT / "bench" / "gateway" / "soak.py"


def soaked(*options: str) -> dict:
    """What it prints."""
    done = subprocess.run([sys.executable, SOAK, *options], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout)


def test_a_few_seconds_of_everything_leave_nothing_behind():
    """Faults, streams, clients who leave, requests that are none: each is answered as it should be, and forgotten."""
    found = soaked("--minutes", "0.1", "--per-s", "100")
    assert found["unexpected"] == []
    assert not found["traceback"]
    assert found["nothing_left"], (found["before"], found["after"])
    assert found["answers"]["left"] > 0
    assert found["answers"]["bad request: as it should"] > 0


@pytest.mark.soak
def test_ten_minutes_at_80_percent_load_grow_by_no_more_than_2_percent():
    """The same for long, at 80 % of what it takes here."""
    found = soaked()
    assert found["reached"], found
