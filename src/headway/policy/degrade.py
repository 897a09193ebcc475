"""What a run gives up when time or money runs short: first its models' size, then what is optional.

Two measures for each of deadline and dollars, and the poorer verdict of the two counts:

- **The share that is left**, where nothing else is known: below `smaller_below` smaller models are asked, below
  `skip_below` optional steps are left out.
- **What is still needed**, where it is known (from earlier runs): while what is left covers it, nothing is given up,
  however small the share. Where it does not, smaller models are asked, and where even those would take more than is
  left, optional steps are left out.

The defaults are a declared choice, not a measured one: the first half of a run is never degraded without a reason, and
the last fifth is for what has to be there.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import Literal, TypeAlias

import msgspec

from headway.errors import ConfigError

__all__ = ["Decision", "Degrade", "Left"]

Decision: TypeAlias = Literal["full", "smaller", "skip"]

_ORDER: tuple[Decision, ...] = ("skip", "smaller", "full")


class Left(msgspec.Struct, frozen=True, gc=False):
    """Where a run stands with its time, or with its dollars."""

    left: float
    """What is left; at or below 0: nothing."""
    whole: float
    """What there was at the beginning, >= 0; infinite where there is no bound."""
    needed: float | None = None
    """What this step and all that has to come after it are expected to take at full size, >= 0; None: unknown."""


class Degrade(msgspec.Struct, frozen=True, kw_only=True):
    """When a run gives up what; see the module. ``Degrade(smaller_below=0, skip_below=0)`` goes by needs alone.

    Raises:
        ConfigError: A value is outside of its range.
    """

    smaller_below: float = 0.5
    """Share of deadline or dollars, 0 to 1, below which smaller models are asked."""
    skip_below: float = 0.2
    """Likewise, from 0 to `smaller_below`: below it optional steps are left out."""
    smaller_takes: float = 0.4
    """What smaller models are expected to take of what the full ones take, above 0 to 1."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("smaller_below", "skip_below", "smaller_takes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
                raise ConfigError(f"degrade: {name} must be a number from 0 to 1, not {value!r}")
        if self.skip_below > self.smaller_below:
            raise ConfigError(
                f"degrade: skip_below ({self.skip_below}) must not be above smaller_below ({self.smaller_below}); "
                "smaller models come before leaving steps out"
            )
        if not self.smaller_takes:
            raise ConfigError("degrade: smaller_takes must be above 0; smaller models take something, too")

    def decide(self, *, time: Left | None = None, dollars: Left | None = None, optional: bool = True) -> Decision:
        """What becomes of a step that is about to start.

        Args:
            time: Seconds; None: no deadline.
            dollars: None: no budget.
            optional: Whether the run can do without it; what it cannot do without is never left out.

        Returns:
            "full", "smaller" or "skip"; never a richer one for less of either.
        """
        worst = min(self._rank(time), self._rank(dollars))
        return _ORDER[worst if optional else max(1, worst)]

    def _rank(self, stand: Left | None) -> int:
        """An index of `_ORDER`."""
        if stand is None or stand.whole == inf:
            return 2
        left = stand.left if isfinite(stand.left) else 0.0
        if left <= 0.0:
            return 0
        needed = stand.needed
        if needed is not None:
            return (left >= needed * self.smaller_takes) + (left >= needed)
        share = left / stand.whole if stand.whole > 0.0 else 0.0
        return (share >= self.skip_below) + (share >= self.smaller_below)
