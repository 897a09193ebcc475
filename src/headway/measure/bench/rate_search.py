"""Which rate to try next, in search of the highest one that holds. Pure.

Doubling from the start until a rate fails (halving, where the first one does), then bisection between the highest that
held and the lowest that failed, in steps of equal ratio; then a second look at what was found, for a rate near the knee
holds now and then by luck.
"""

from __future__ import annotations

from math import inf, sqrt

__all__ = ["RateSearch"]

SPAN = 1024.0
"""How far below the start a rate is still looked for."""


class RateSearch:
    """Ask `next_rate`, try it, `add` what came of it, until there is none.

    Args:
        start_per_s: The first rate, > 0.
        rate_max_per_s: No higher one is tried.
        resolution_ratio: Bisection ends where the rates that held and failed are so near to one another; > 0.
        trials_max: Bounds everything, the confirmation included; >= 2.
    """

    __slots__ = ("_confirmed", "_held", "_lowest", "_max", "_resolution", "_trials_max", "failed_per_s", "trials")

    def __init__(
        self,
        start_per_s: float,
        *,
        rate_max_per_s: float = inf,
        resolution_ratio: float = 0.05,
        trials_max: int = 14,
    ) -> None:
        self._max = rate_max_per_s
        self._resolution = resolution_ratio
        self._trials_max = trials_max
        self._lowest = min(start_per_s, rate_max_per_s)
        self._held: list[float] = []  # ascending
        self._confirmed: float | None = None
        self.failed_per_s: float | None = None
        """The lowest rate that failed."""
        self.trials = 0

    @property
    def found_per_s(self) -> float | None:
        """The highest rate that held, so far."""
        return self._held[-1] if self._held else None

    @property
    def confirms(self) -> bool:
        """Whether the next trial is a second look at what was found."""
        if not self._held or self._confirmed is not None or self.trials >= self._trials_max:
            return False
        highest = self._held[-1]
        last = self.trials == self._trials_max - 1
        failed = self.failed_per_s
        settled = highest >= self._max if failed is None else failed / highest <= 1.0 + self._resolution
        return settled or last

    def next_rate(self) -> float | None:
        """What to try; None when the search is over."""
        if self.trials >= self._trials_max or self._confirmed is not None:
            return None
        held, failed = self.found_per_s, self.failed_per_s
        if self.confirms:
            return held
        if held is None:
            if failed is None:
                return self._lowest
            return failed / 2.0 if failed / 2.0 >= self._lowest / SPAN else None
        return min(self._max, held * 2.0) if failed is None else sqrt(held * failed)

    def add(self, rate_per_s: float, *, held: bool) -> None:
        """What came of `next_rate`. A rate that does not hold a second time counts as failed."""
        second = self.confirms
        self.trials += 1
        if not held:
            self._held = [rate for rate in self._held if rate < rate_per_s]
            self.failed_per_s = rate_per_s if self.failed_per_s is None else min(self.failed_per_s, rate_per_s)
        elif second:
            self._confirmed = rate_per_s
        else:
            self._held.append(rate_per_s)
