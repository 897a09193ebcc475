"""What `headway pipelines --check` is worth: how often it cries wolf, and what it does not miss.

A check looks at ten steps, with 100 to 1,000 runs of history and 30 to 100 recent ones. Times are log-normal: sigma 0.3
is a step of one call to a quiet provider (p95 = 1.6x p50), 0.5 one whose answers vary in length (2.3x). "Weather" is
what happens to all calls of a step for a while: a cycle of 300 runs of +-35 %, or a drift that forgets itself within
some 20 runs.

    python bench/bench_regressions.py [checks of each kind, 400 by default]
"""

from __future__ import annotations

import sys
from math import exp, pi, sin, sqrt
from random import Random

from common import emit
from headway.pipeline.explain.regressions import Watch
from headway.pipeline.explain.shift import Shift, holm, shift_of

CHECKS = int(sys.argv[1]) if len(sys.argv) > 1 else 400
STEPS = 10
WATCH = Watch()


def times(rng: Random, count: int, sigma: float, weather: str) -> list[float]:
    """Of one step, in the order of the runs."""
    phase, level, found = rng.random() * 2 * pi, 0.0, []
    for i in range(count):
        if weather == "drift":
            level = 0.95 * level + rng.gauss(0.0, 0.2 * sqrt(1 - 0.95**2))
        elif weather == "cycle":
            level = 0.3 * sin(phase + i * 2 * pi / 300)
        found.append(exp(rng.gauss(0.0, sigma) + level))
    return found


def named(shifts: list[Shift], slower: float) -> list[bool]:
    """Which of the steps a check names."""
    ps = holm([shift.p for shift in shifts])
    return [p <= WATCH.false_alarms and shift.beyond(slower) for shift, p in zip(shifts, ps, strict=True)]


def share(sigma: float, weather: str, slowdown: float, before: int, recent: int) -> float:
    """Of the checks: those that name any step where nothing changed, or the one that has become slower."""
    rng, hits = Random(f"{sigma} {weather} {slowdown} {before} {recent}"), 0
    for _ in range(CHECKS):
        shifts = []
        for step in range(STEPS):
            factor = slowdown if step == 0 else 1.0
            values = times(rng, before + recent, sigma, weather)
            shift = shift_of(values[:before], [value * factor for value in values[before:]])
            assert shift is not None
            shifts.append(shift)
        found = named(shifts, WATCH.slower)
        hits += found[0] if slowdown > 1 else any(found)
    return hits / CHECKS


def main() -> None:
    """Print the figures."""
    for before, recent in ((1000, 100), (300, 100), (300, 50), (100, 30)):
        for sigma in (0.3, 0.5):
            where = f"{before} + {recent} runs, sigma {sigma}"
            wolf = share(sigma, "none", 1.0, before, recent)
            emit(f"false alarms, {where}", "<= 1 %", wolf, reached=wolf <= 0.01 + 2 * sqrt(0.01 / CHECKS))
            for slowdown in (1.5, 2.0):
                power = share(sigma, "none", slowdown, before, recent)
                emit(f"{slowdown}x found, {where}", "", power, reached=None)
    for weather in ("cycle", "drift"):
        for sigma in (0.3, 0.5):
            where = f"1000 + 100 runs, sigma {sigma}, {weather}"
            emit(f"false alarms, {where}", "", share(sigma, weather, 1.0, 1000, 100), reached=None)
            emit(f"1.5x found, {where}", "", share(sigma, weather, 1.5, 1000, 100), reached=None)
            emit(f"2.0x found, {where}", "", share(sigma, weather, 2.0, 1000, 100), reached=None)


if __name__ == "__main__":
    main()
