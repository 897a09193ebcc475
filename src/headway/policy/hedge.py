"""Whether and when a call that is slow gets a backup elsewhere, within a budget of dollars.

The answer that is late is rarely late twice, so a second request, sent once the first has taken longer than 95 % of
its kind, cuts the tail for a few percent more money. Source: Dean and Barroso, "The Tail at Scale" (CACM 2013): p99.9
from 1,800 to 74 ms at 2 % more requests; the numbers of FACTS section 4. Off by default.

How the flight policy uses it, with one `Hedge` per (upstream, model):

    at_s = hedge.hedge_at_s(sent_at_s)              # None: not enough is known yet
    if at_s <= now_s and (reserved := hedge.reserve(least, most)):  # what the backup may cost is set aside
        start a try elsewhere (why="hedge"); the first content token of either commits
    hedge.settle(reserved, actual)                  # when the backup has ended
    hedge.sent(dollars) for every other try; hedge.answered(ttft_s) at its first content
"""

from __future__ import annotations

import msgspec

from headway.policy.quantile import QuantileSketch
from headway.types import RequestView

__all__ = ["Hedge", "HedgeBudget", "HedgeSettings", "hedgeable"]


class HedgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When to send a backup, and how much may be spent on backups.

    `ratio` of the dollars of all other tries, 0 to 1; 0 switches it off. The trigger is the `quantile` of the time
    from sent to first content over the last `window` to 2 * `window` answers, and 2 % more, once there are
    `samples_min`.
    """

    ratio: float = 0.02
    quantile: float = 0.95
    samples_min: int = 50
    window: int = 500
    reserve: int = 10
    """Backups of the mean call's price that may be saved up, at most: a provider that slows down as a whole gets no
    flood of them."""


class HedgeBudget:
    """Dollars for backups: a share of what the other tries cost. Shared by all hedges of an engine."""

    __slots__ = ("_left", "_mean", "_settings", "spent")

    def __init__(self, settings: HedgeSettings) -> None:
        self._settings = settings
        self._left = 0.0
        self._mean = 0.0
        self.spent = 0.0
        """Dollars that backups have cost."""

    def sent(self, dollars: float) -> None:
        """A try that is no backup cost `dollars`: its share is earned, up to the reserve."""
        unit = max(dollars, _FREE)
        if self._mean <= _FREE:
            self._mean = unit
        elif dollars > 0.0:  # refusals are free, and say nothing about what an answer costs
            self._mean += 0.05 * (unit - self._mean)
        self._left = min(self._left + self._settings.ratio * unit, self._settings.reserve * self._mean)

    def reserve(self, least: float, most: float | None) -> float | None:
        """Set aside what a backup may cost; None where it does not fit.

        Args:
            least: Dollars for its input alone.
            most: Dollars if it uses all the output it may; None where there is no bound.
        """
        if self._mean <= 0.0 and most is None:
            return None
        bound = WORST_OF_MEANS * self._mean
        likely = max(least, bound if most is None else min(most, bound)) if self._mean > 0.0 else most
        unit = max(likely or 0.0, _FREE)
        if self._settings.ratio <= 0.0 or unit > self._left:
            return None
        self._left -= unit
        return unit

    def settle(self, reserved: float, actual: float) -> None:
        """A backup has ended: what it did not cost of what was `reserved` for it comes back."""
        self._left += reserved - max(actual, _FREE)
        self.spent += actual


WORST_OF_MEANS = 2.0
"""A backup is taken to cost at most that many times the mean call: bounds on answers are far above what comes."""
_FREE = 1e-9
"""What a request without a price counts as, so that free backups are bounded by their number."""


class Hedge:
    """The trigger for one (upstream, model); money comes from a budget that it shares with others."""

    __slots__ = ("_after_s", "_before", "_budget", "_now", "_settings", "_stale")

    def __init__(self, settings: HedgeSettings, budget: HedgeBudget) -> None:
        self._settings = settings
        self._budget = budget
        self._now, self._before = QuantileSketch(), QuantileSketch()
        self._after_s: float | None = None
        self._stale = 0

    def answered(self, ttft_s: float) -> None:
        """Learn from a try's first content, `ttft_s` after it was sent; its wait in our queue is no part of it."""
        self._now.add(max(0.0, ttft_s))
        if self._now.count >= self._settings.window:
            self._before, self._now = self._now, QuantileSketch()
        self._stale += 1

    def hedge_at_s(self, sent_at_s: float) -> float | None:
        """When a try that was sent then is late; None while fewer than `samples_min` answers are known."""
        count = self._now.count + self._before.count
        if count < self._settings.samples_min:
            return None
        if self._after_s is None or self._stale * 50 >= count:  # a few percent of news leave a quantile where it is
            both = QuantileSketch()
            both.merge(self._before)
            both.merge(self._now)
            # Above the sketch's error of 1 %: where answers differ by less, none of them is late.
            self._after_s, self._stale = 1.02 * (both.quantile(self._settings.quantile) or 0.0), 0
        return None if self._after_s is None else sent_at_s + self._after_s

    def reserve(self, least: float, most: float | None) -> float | None:
        """What is set aside for a backup until `settle`; None where it is not in the budget. See `HedgeBudget`."""
        return self._budget.reserve(least, most)

    def sent(self, dollars: float | None) -> None:
        """A try that was no backup has ended; it earns its share."""
        if dollars is not None:
            self._budget.sent(dollars)

    def settle(self, reserved: float, actual: float | None) -> None:
        """A backup has ended; an unknown cost counts as all that was reserved."""
        self._budget.settle(reserved, reserved if actual is None else actual)


def hedgeable(view: RequestView) -> bool:
    """Whether asking twice is harmless: nothing is stored, no state is used, one answer is asked for."""
    return bool(view.format) and view.reusable and view.answers == 1
