"""What earlier runs of a pipeline took from the start of each step to their end: what is still needed, for `Degrade`.

A step is known by its name, and by how many of that name had started before it. Needed is what was enough in nine of
ten of the last 64 runs; with fewer than eight, nothing is known. Both numbers are a declared choice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from headway.types.steps import StepRow

__all__ = ["Experience", "Needed"]

_RUNS_MAX: Final = 64
_RUNS_MIN: Final = 8
_STARTS_MAX: Final = 256
"""Starts of steps that are remembered of a run; of later ones nothing is known."""
_SHARE: Final = 0.9
_WHOLE: Final = frozenset(("ok", "cached"))


class Needed(NamedTuple):
    """From the start of a step to the end of the run, what the step takes itself included."""

    time_s: float
    dollars: float | None
    """None: some price was unknown."""


class Experience:
    """The last 64 whole runs of one pipeline: those that gave up nothing, and in which nothing failed.

    A pipeline with `degrade` learns from every run of its own in this process, but for those on virtual time, which are
    to be the same each time. What other processes have learnt is in the call log::

        with CallLogReader("calls.sqlite") as log:
            article.experience.learn(log.steps(pipeline="article", limit=10_000))
    """

    def __init__(self) -> None:
        self._runs: deque[dict[tuple[str, int], Needed]] = deque(maxlen=_RUNS_MAX)

    def learn(self, rows: Iterable[StepRow]) -> None:
        """Remember the runs that these rows are of, in their order; those that were not whole are passed over."""
        runs: dict[str, list[StepRow]] = {}
        for row in rows:
            runs.setdefault(row.run, []).append(row)
        self._runs.extend(needed for found in runs.values() if (needed := _needed(found)))

    def needed(self, step: str, nth: int) -> Needed | None:
        """What the run needs from the start of that step on.

        Args:
            step: Its name.
            nth: How many of that name have started before it in the run, >= 0.

        Returns:
            None: too few runs have got there.
        """
        found = [run[step, nth] for run in self._runs if (step, nth) in run]
        if len(found) < _RUNS_MIN:
            return None
        dollars = [one.dollars for one in found if one.dollars is not None]
        return Needed(_enough([one.time_s for one in found]), _enough(dollars) if len(dollars) == len(found) else None)


def _enough(values: list[float]) -> float:
    return sorted(values)[ceil(_SHARE * len(values)) - 1]


def _needed(rows: list[StepRow]) -> dict[tuple[str, int], Needed] | None:
    """Of one run; None where it was not whole."""
    run = next((row for row in rows if row.index < 0), None)
    steps = sorted(
        (row for row in rows if row.index >= 0 and row.started_s is not None),
        key=lambda row: (row.started_s, row.index),
    )
    if run is None or run.end_s is None or any(row.smaller or row.outcome not in _WHOLE for row in rows):
        return None
    ends = deque(sorted((row.end_s or 0.0, row.dollars or 0.0) for row in steps))
    counts: Counter[str] = Counter()
    found, left_usd = {}, run.dollars
    for row in steps[:_STARTS_MAX]:
        started_s = row.started_s or 0.0
        while left_usd is not None and ends and ends[0][0] <= started_s:  # what is under way may not be paid yet
            left_usd -= ends.popleft()[1]
        found[row.step, counts[row.step]] = Needed(run.end_s - started_s, left_usd)
        counts[row.step] += 1
    return found
