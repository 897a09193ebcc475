"""Seeded runs of engine, callers and provider under faults; a seed that breaks an invariant prints how to replay it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .__main__ import replay
from .invariants import violations
from .known import unknown
from .scenario import scenario_of
from .world import run

SEEDS = 200
SOAK_SEEDS = 3_000
HASHED = (2, 9, 12, 42, 154)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_fault_breaks_an_invariant(seed, tmp_path):
    """Whatever goes wrong: one end a caller, bytes of one attempt, books that agree, nothing left."""
    _must_hold(seed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(SEEDS, SOAK_SEEDS, 100))
def test_no_fault_breaks_an_invariant_in_a_long_run(first, tmp_path):
    """The same, for many more seeds."""
    for seed in range(first, first + 100):
        _must_hold(seed, tmp_path)


@pytest.mark.parametrize("seed", [5, 60, 66, 79, 115, 192])
def test_the_same_seed_leaves_the_same_trace(seed, tmp_path):
    """Every byte on the wire, every caller's every step, every row of both books: the same in a second run."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert run(scenario_of(seed), first).trace == run(scenario_of(seed), second).trace


def test_the_trace_does_not_depend_on_the_interpreters_hash_seed():
    """Another process, whose sets and dicts of strings are ordered differently, leaves the same traces as this one."""
    program = (
        "import hashlib\nfrom tests.faults.__main__ import replay\n"
        f"for seed in {HASHED}:\n    print(seed, hashlib.sha256(replay(seed).trace).hexdigest())\n"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": other}, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    own = [f"{seed} {hashlib.sha256(replay(seed).trace).hexdigest()}" for seed in HASHED]
    assert said.splitlines() == own


def test_different_seeds_are_different_runs(tmp_path):
    """The seed is what the run is made of."""
    traces = [run(scenario_of(seed), tmp_path).trace for seed in (31, 32)]
    assert len({hashlib.sha256(trace).digest() for trace in traces}) == 2


def _must_hold(seed, directory):
    found = unknown(violations(run(scenario_of(seed), directory)))
    if found:
        told = "\n".join(found)
        pytest.fail(f"seed {seed} breaks:\n{told}\nreplay it: python -m tests.faults {seed}", pytrace=False)
