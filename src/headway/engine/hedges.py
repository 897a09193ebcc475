"""Backups for late calls: one trigger per upstream and model, one budget for all."""

from __future__ import annotations

from headway.policy.hedge import Hedge, HedgeBudget, HedgeSettings, hedgeable
from headway.policy.objective import alias_of
from headway.types import Call
from headway.wire.prices import Prices

__all__ = ["Hedges"]

HEDGES_MAX = 256
WORST_OF_MEANS = 2.0
"""A backup is taken to cost at most that many times the mean call: bounds on answers are far above what comes."""


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

    def backup(self, call: Call) -> tuple[Hedge | None, float | None]:
        """The trigger and what a backup may cost in dollars; None where asking twice does harm, or has no price."""
        view = call.view
        if not hedgeable(view):
            return None, None
        rates = self._prices.rates(view.model, call.origin)
        if rates is None and alias_of(view.model) is None:
            return None, None
        dollars = WORST_OF_MEANS * self._budget.mean
        if rates is not None and view.output_tokens_max is not None:
            dollars = min(dollars, rates.worst_case(view.input_tokens, view.output_tokens_max))
        # A whole answer takes as long as all of its tokens, a stream's first content does not.
        place = (call.origin, view.model, view.stream)
        hedge = self._hedges.get(place)
        if hedge is None:
            if len(self._hedges) >= HEDGES_MAX:
                self._hedges.clear()
            hedge = self._hedges[place] = Hedge(self._settings, self._budget)
        return hedge, dollars
