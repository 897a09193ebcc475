"""What trying rewrites on rows can be told, and how rows are divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

import msgspec

from headway.engine import Engine
from headway.errors import ConfigError, InputError
from headway.measure.compare.checkers import Checker
from headway.measure.compare.opening import open_engine, own_check
from headway.measure.compare.settings import CompareSettings
from headway.measure.compare.variant import Variant
from headway.prompts.task import Task

__all__ = ["ROWS_MIN", "Engines", "Row", "Told", "TrySettings", "demand_check", "divided"]

Row = Mapping[str, Any]
Engines = Callable[[Variant], Engine]

ROWS_MIN: Final = 20
"""Below it nothing can be said about anything."""
CHOOSE_SHARE: Final = 1 / 3
CHOOSE_ROWS_MAX: Final = 60
"""Rows to choose with: enough to see what is clearly worse; the rest confirms, and is worth more there."""


class Told(Protocol):
    """Is told what happens: a line for people, and dollars so far."""

    def __call__(self, line: str, dollars: float) -> None: ...


class TrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How rewrites are tried.

    Raises:
        ConfigError: A value is out of range.
    """

    margin: float = 0.02
    """How much worse in score (0..1) still counts as not inferior."""
    alpha: float = 0.025
    """One-sided, for everything that is confirmed together."""
    usd_max: float | None = 1.0
    """For all of it: writing, choosing, confirming; None for no cap."""
    seed: int = 0
    checker: Checker | None = None
    """None: exact, by the task's own `expected` column."""
    concurrency: int = 8
    rows_max: int | None = None
    """Of the input; None: all of it, at most 400 in a comparison."""
    tried_max: int = 12
    """Candidates that get as far as rows."""
    confirmed_max: int = 3
    """Candidates that get as far as the rows that were held out."""
    base: Mapping[str, Any] = {}
    """Engine settings for all variants."""
    config: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.tried_max < 1 or self.confirmed_max < 1:
            raise ConfigError("tried_max and confirmed_max must be at least 1")

    def compare(
        self, *, left_usd: float | None, rows: int, alpha: float | None = None, aa: bool = False
    ) -> CompareSettings:
        """How one comparison is made, with what is left of the money."""
        return CompareSettings(
            margin=self.margin,
            alpha=self.alpha if alpha is None else alpha,
            rows_max=min(rows, self.rows_max or rows),
            usd_max=None if left_usd is None else max(0.0, left_usd),
            seed=self.seed,
            aa=aa,
            checker=self.checker,
            concurrency=self.concurrency,
            base=self.base,
            config=self.config,
        )

    def engines(self, left_usd: Callable[[], float | None]) -> Engines:
        """Makes engines as `compare` does, for what is asked beside it (the writer)."""

        def make(variant: Variant) -> Engine:
            return open_engine(variant, self.compare(left_usd=left_usd(), rows=1))

        return make


def demand_check(task: Task, settings: TrySettings, where: str) -> None:
    """Nothing is verified where nothing says what a right answer is.

    Raises:
        ConfigError: Neither the task nor the settings say it.
    """
    if settings.checker is None and own_check(task, task) is None:
        raise ConfigError(
            f"{where}: nothing says what a right answer is, so nothing can be verified; name the column with right "
            "answers (expected = ...) or a check (--check)"
        )


def divided(
    rows: Sequence[Row],
    *,
    seed: int,
    needed: Sequence[str],
    share: float = CHOOSE_SHARE,
    rows_max: int = CHOOSE_ROWS_MAX,
) -> tuple[list[Row], list[Row]]:
    """Rows to choose with, and rows to confirm with; each row is in one of them, whichever the seed draws.

    Rows with the same values stay together: else what is confirmed on had been seen.

    Args:
        rows: All rows.
        seed: Of the drawing.
        needed: Columns that a row must have; rows without are left out.
        share: Of the rows to choose with.
        rows_max: To choose with.

    Raises:
        InputError: There are too few rows that can be asked about.
    """
    usable = [row for row in rows if all(name in row for name in needed)]
    if len(usable) < ROWS_MIN:
        raise InputError(
            f"{len(usable)} rows can be asked about, and fewer than {ROWS_MIN} tell nothing; give more rows with "
            f"{', '.join(needed)}"
        )
    groups: dict[str, list[Row]] = {}
    for row in usable:
        groups.setdefault(repr([row[name] for name in needed]), []).append(row)
    drawn = list(groups.values())
    Random(f"{seed} divide").shuffle(drawn)
    target = min(rows_max, int(len(usable) * share))
    choose: list[Row] = []
    confirm: list[Row] = []
    for group in drawn:
        (choose if len(choose) + len(group) <= target else confirm).extend(group)
    return choose, confirm
