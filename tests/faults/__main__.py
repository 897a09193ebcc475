"""Replay seeds: ``python -m tests.faults 17`` prints its trace, its scenario and what it broke; ``0-99`` what they broke."""

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
    """0 if nothing was broken, known faults included."""
    first, _, last = sys.argv[1].partition("-")
    seeds = range(int(first), int(last or first) + 1)
    broken = 0
    for seed in seeds:
        record = replay(seed)
        found = violations(record)
        if len(seeds) == 1:
            settings = {**msgspec.to_builtins(record.scenario), "callers": len(record.got)}
            _say(record.trace.decode(), msgspec.json.format(msgspec.json.encode(settings)).decode())
        _say(*(f"seed {seed}: {sentence}" for sentence in found))
        broken += bool(found)
    _say(f"{len(seeds)} seeds, {broken} broken")
    return int(broken > 0)


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
