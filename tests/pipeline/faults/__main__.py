"""Replay seeds: ``python -m tests.pipeline.faults 17`` prints its plan, its trace and what it broke; ``0-99`` what broke."""

from __future__ import annotations

import sys

import msgspec

from .drawn import drawn
from .invariants import violations
from .world import run


def main() -> int:
    """0 if nothing was broken."""
    first, _, last = sys.argv[1].partition("-")
    seeds = range(int(first), int(last or first) + 1)
    broken = 0
    for seed in seeds:
        record = run(drawn(seed))
        found = violations(record)
        if len(seeds) == 1:
            plan = msgspec.to_builtins(record.plan)
            _say(*map(str, plan.pop("steps")), str(plan), "", record.trace.decode(), repr(record.error))
        _say(*(f"seed {seed}: {sentence}" for sentence in found))
        broken += bool(found)
    _say(f"{len(seeds)} seeds, {broken} broken")
    return int(broken > 0)


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
