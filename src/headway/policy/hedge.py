"""Whether and when a call that is slow gets a backup elsewhere, within a budget of dollars.

The answer that is late is rarely late twice, so a second request, sent once the first has taken longer than 95 % of
its kind, cuts the tail for a few percent more money. Source: Dean and Barroso, "The Tail at Scale" (CACM 2013): p99.9
from 1,800 to 74 ms at 2 % more requests; the numbers of FACTS section 4. Off by default.

How the flight policy uses it, with one `Hedge` per (upstream, model):

    at_s = hedge.hedge_at_s(sent_at_s)              # None: not enough is known yet
    if at_s <= now_s and hedge.may_hedge(dollars):  # the backup's worst case is set aside
        start a try elsewhere (why="hedge"); the first content token of either commits
    hedge.settle(dollars, actual)                   # when the backup has ended
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

    @property
    def mean(self) -> float:
        """What a try costs on average, in dollars."""
        return self._mean

    def sent(self, dollars: float) -> None:
        """A try that is no backup cost `dollars`: its share is earned, up to the reserve."""
        unit = max(dollars, _FREE)
        self._mean = self._mean + 0.05 * (unit - self._mean) if self._mean else unit
        self._left = min(self._left + self._settings.ratio * unit, self._settings.reserve * self._mean)

    def take(self, dollars: float) -> bool:
        """Set a backup's worst case aside; False where it does not fit."""
        unit = max(dollars, _FREE)
        if self._settings.ratio <= 0.0 or unit > self._left:
            return False
        self._left -= unit
        return True

    def settle(self, dollars: float, actual: float) -> None:
        """A backup has ended: what it did not cost of `dollars`, set aside for it, comes back."""
        self._left += max(dollars, _FREE) - max(actual, _FREE)
        self.spent += actual


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

    def may_hedge(self, dollars: float | None) -> bool:
        """Whether a backup of at most `dollars` is in the budget; if so, they are set aside until `settle`.

        A price that nobody knows cannot be budgeted: no backup.
        """
        return dollars is not None and self._budget.take(dollars)

    def sent(self, dollars: float | None) -> None:
        """A try that was no backup has ended; it earns its share."""
        if dollars is not None:
            self._budget.sent(dollars)

    def settle(self, dollars: float, actual: float | None) -> None:
        """A backup has ended; an unknown cost counts as the worst case."""
        self._budget.settle(dollars, dollars if actual is None else actual)


def hedgeable(view: RequestView) -> bool:
    """Whether asking twice is harmless: nothing is stored, no state is used, one answer is asked for."""
    return bool(view.format) and view.reusable and view.answers == 1
