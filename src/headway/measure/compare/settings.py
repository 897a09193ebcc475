"""What a comparison can be told, and at how many rows it looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headway.errors import ConfigError
from headway.measure.compare.checkers import Checker
from headway.measure.stats import TrialSettings

__all__ = ["AA_ROWS", "ROWS_MAX", "CompareSettings", "Progress", "looks_of"]

ROWS_MAX = 400
"""Of an input that is longer, unless more are asked for."""
AA_ROWS = 10
"""On which A is run against itself."""
ROWS_MIN = 20
"""Below it there is no look."""
ROWS_LEAST = 8
"""Where there are fewer than `ROWS_MIN`: the tests are exact, but of fewer than these they can say nothing."""
_LOOKS = (ROWS_MIN, 30, 50, 70, 100, 150, 200, 300)


class Progress(Protocol):
    """Is told how far it is: the stage ("noise", "rows"), rows done of how many at most, dollars so far."""

    def __call__(self, stage: str, done: int, of: int, dollars: float) -> None: ...


class CompareSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to compare.

    Raises:
        ConfigError: A value is out of range.
    """

    margin: float = 0.02
    """How much worse in score (0..1) still counts as not inferior; > 0."""
    alpha: float = 0.025
    """One-sided, over all metrics and all looks, 0 to 0.25."""
    rows_max: int | None = None
    """None: all rows, at most 400."""
    usd_max: float | None = 1.0
    """Never exceeded by all engines together; None for no cap."""
    seed: int = 0
    aa: bool = True
    """Whether A is run against itself first."""
    checker: Checker | None = None
    """None: exact, where a task names its `expected` column; else quality is not judged."""
    concurrency: int = 4
    """Rows in flight at once, where the variants do not say."""
    early: bool = True
    """Whether it stops as soon as it is decided."""
    base: Mapping[str, Any] = {}
    """Engine settings for both sides; a variant's own win."""
    config: Path | None = None
    """The settings file of all engines."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.margin < 1:
            raise ConfigError(f"margin must be a share above 0 and below 1, such as 0.02, not {self.margin:g}")
        if not 0 < self.alpha <= 0.25:
            raise ConfigError(f"alpha must be above 0 and at most 0.25, not {self.alpha:g}")
        if self.usd_max is not None and not 0 <= self.usd_max < float("inf"):
            raise ConfigError(f"usd_max must be an amount of at least 0, not {self.usd_max:g}")
        if self.concurrency < 1 or (self.rows_max is not None and self.rows_max < 1):
            raise ConfigError("concurrency and rows_max must be at least 1")

    def trial(self, rows_max: int, *, shared: bool = False, same_asked: bool = False) -> TrialSettings:
        """How a trial of so many rows decides.

        Args:
            rows_max: So many.
            shared: Half of alpha is for how long sets of rows take.
            same_asked: Both ask the same of the same model.
        """
        return TrialSettings(
            margin=self.margin,
            alpha=self.alpha / 2 if shared else self.alpha,
            rows_min=min(ROWS_MIN, max(rows_max, ROWS_LEAST)),
            rows_max=rows_max,
            looks=looks_of(rows_max),
            seed=self.seed,
            same_asked=same_asked,
        )


def looks_of(rows_max: int) -> tuple[int, ...]:
    """Rows at which to look whether it is decided; the last look is at the last row."""
    looks = list(_LOOKS)
    while looks[-1] < rows_max:
        looks.append(looks[-1] * 3 // 2)
    return (*(rows for rows in looks if rows < rows_max), rows_max)
