"""Replay one seed: ``python -m tests.faults 17`` prints its scenario, its trace and what it broke."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from .invariants import violations
from .scenario import scenario_of
from .world import Record, run


def replay(seed: int) -> Record:
    """Run a seed in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return run(scenario_of(seed), Path(directory))


def main() -> int:
    """0 if nothing was broken."""
    if len(sys.argv) == 2 and sys.argv[1].isdigit():
        seeds = [int(sys.argv[1])]
    else:
        first, last = (int(word) for word in sys.argv[1].split("-"))
        seeds = list(range(first, last + 1))
    broken = 0
    for seed in seeds:
        record = replay(seed)
        found = violations(record)
        if len(seeds) == 1:
            scenario = record.scenario
            print(record.trace.decode())
            print(msgspec.json.format(msgspec.json.encode({**msgspec.to_builtins(scenario), "callers": len(scenario.callers)})).decode())
        for sentence in found:
            print(f"seed {seed}: {sentence}")
        broken += bool(found)
    print(f"{len(seeds)} seeds, {broken} broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
