"""Comparisons that share one purse, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headway.measure.compare.comparison import Comparison
from headway.measure.compare.run import Comparing
from headway.measure.compare.variant import Variant
from headway.measure.rewrite.settings import Engines, Row, Told, TrySettings

__all__ = ["Comparisons"]


class Comparisons:
    """Makes them one after the other.

    Args:
        settings: How, and for how much in all.
        engines: As in `compare`.
        told: Is told of every step.
        spent_usd: What of the money is gone.
    """

    def __init__(
        self, settings: TrySettings, engines: Engines | None, told: Told | None, spent_usd: float = 0.0
    ) -> None:
        self._settings, self._engines, self._told = settings, engines, told
        self.spent_usd = spent_usd
        self.broke = False
        """Whether the last one stopped at the money cap."""

    def left_usd(self) -> float | None:
        """What is left of the money; None: there is no cap."""
        cap = self._settings.usd_max
        return None if cap is None else max(0.0, cap - self.spent_usd)

    async def compare(
        self, a: Variant, b: Variant, rows: Sequence[Row], *, alpha: float | None = None, aa: bool = False
    ) -> Comparison:
        """Compare two variants on rows, for what is left of the money."""
        how = self._settings.compare(left_usd=self.left_usd(), rows=len(rows), alpha=alpha, aa=aa)
        comparing = Comparing(a, b, rows, settings=how, engines=self._engines)
        try:
            await comparing.run()
        except asyncio.CancelledError:
            known = comparing.comparison()
            self.spent_usd += known.dollars
            self.say(f"{b.name}: interrupted after {known.rows:,} of {len(rows):,} rows")
            raise
        found = comparing.comparison()
        self.spent_usd += found.dollars
        self.broke = found.stopped == "money"
        return found

    def say(self, line: str) -> None:
        """Tell of a step, and of the dollars so far."""
        if self._told is not None:
            self._told(line, self.spent_usd)
