"""Backups for late calls: one trigger per upstream and model, one budget for all."""

from __future__ import annotations

from typing import Final

from headway.policy.hedge import Hedge, HedgeBudget, HedgeSettings, hedgeable
from headway.policy.objective import alias_of
from headway.types import Call
from headway.wire.prices import Prices

__all__ = ["NONE", "Hedges"]

HEDGES_MAX = 256
NONE: Final = (None, (0.0, None))
"""No backup."""


class Hedges:
    """Finds the trigger for a call.

    Args:
        ratio: Share of the dollars of all other tries that may go to backups.
        prices: For what a backup may cost.
    """

    __slots__ = ("_budget", "_hedges", "_prices", "_settings")

    def __init__(self, ratio: float, prices: Prices) -> None:
        self._settings = HedgeSettings(ratio=ratio)
        self._budget = HedgeBudget(self._settings)
        self._prices = prices
        self._hedges: dict[tuple[str, str, bool], Hedge] = {}

    def backup(self, call: Call) -> tuple[Hedge | None, tuple[float, float | None]]:
        """The trigger, None where asking twice does harm or has no price; and a backup's dollars, least and most."""
        view = call.view
        if not hedgeable(view):
            return NONE
        rates = self._prices.rates(view.model, call.origin)
        if rates is None and alias_of(view.model) is None:
            return NONE
        least, most, bound = 0.0, None, view.output_tokens_max
        if rates is not None:
            least = rates.worst_case(view.input_tokens, 0)
            most = rates.worst_case(view.input_tokens, bound) if bound is not None else None
        # A whole answer takes as long as all of its tokens, a stream's first content does not.
        place = (call.origin, view.model, view.stream)
        hedge = self._hedges.get(place)
        if hedge is None:
            if len(self._hedges) >= HEDGES_MAX:
                self._hedges.clear()
            hedge = self._hedges[place] = Hedge(self._settings, self._budget)
        return hedge, (least, most)
