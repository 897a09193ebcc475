"""Seeded runs of pipelines under faults; a seed that breaks an invariant prints how to replay it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .drawn import drawn
from .invariants import violations
from .world import run

SEEDS = 250
SOAK_SEEDS = 10_000
BLOCK = 50
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_fault_breaks_an_invariant(first):
    """Whatever befalls the steps: one error or a value, rows that agree with each other, nothing left."""
    _must_hold(range(first, first + BLOCK))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, 500))
def test_no_fault_breaks_an_invariant_in_a_long_run(first):
    """The same for ten thousand seeds, and every tenth leaves the same trace in a second run."""
    _must_hold(range(first, first + 500))
    for seed in range(first, first + 500, 10):
        assert run(drawn(seed)).trace == run(drawn(seed)).trace, f"seed {seed} left another trace the second time"


@pytest.mark.parametrize("seed", range(30))
def test_the_same_seed_leaves_the_same_trace(seed):
    """Every step's begin and end, every chunk that was read, every row: the same in a second run."""
    first = run(drawn(seed))
    assert not violations(first)
    assert first.trace == run(drawn(seed)).trace


def test_the_trace_does_not_depend_on_the_interpreters_hash_seed():
    """Two processes whose sets and dicts of strings are ordered differently leave the same traces."""
    program = (
        "import hashlib\nfrom tests.pipeline.faults.drawn import drawn\nfrom tests.pipeline.faults.world import run\n"
        "for seed in range(25):\n    print(seed, hashlib.sha256(run(drawn(seed)).trace).hexdigest())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == 25


def test_the_seeds_meet_every_way_in_which_runs_and_steps_end():
    """Else the invariants would hold for want of trouble."""
    records = [run(drawn(seed)) for seed in range(200)]
    ends = Counter(record.ended for record in records)
    outcomes = Counter(row.outcome for record in records for row in record.rows)
    edges = Counter(edge.kind for record in records for row in record.rows for edge in row.edges)
    assert {"value", "cancelled", "Left", "Planned", "DeadlineExceeded", "BudgetExceeded", "BadReply"} <= set(ends)
    assert {"ok", "default", "skipped", "failed", "timeout", "deadline", "budget", "cancelled"} <= set(outcomes)
    assert set(edges) == {"value", "stream", "field", "control"}
    assert any(row.smaller for record in records for row in record.rows)


def _must_hold(seeds):
    for seed in seeds:
        found = violations(run(drawn(seed)))
        if found:
            told = "\n".join(found)
            pytest.fail(
                f"seed {seed} breaks:\n{told}\nreplay it: python -m tests.pipeline.faults {seed}", pytrace=False
            )
