"""When an upstream is left alone for a while, and how it is tried again.

    closed --(failures)--> open --(open_s passed)--> half-open: one probe --(ok)--> closed
                             ^-----------(failed: twice as long, at most open_s_max)----'

One breaker stands for one (upstream, model, key). It opens when at least half of at least 20 answers within 30 s
failed, or five in a row did. Source: FACTS section 4 (window and times ours; five in a row is Envoy's
`consecutive_5xx`, without which an upstream that dies after a thousand good answers would have to fail a thousand
times).
"""

from __future__ import annotations

from math import inf

import msgspec

__all__ = ["Breaker", "BreakerSettings"]

_SLOTS = 6


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens, and for how long.

    `ratio` of at least `calls_min` answers in the last `window_s`, or `streak` failures without a success between.
    The first opening lasts `open_s`, each one after a failed probe twice as long, up to `open_s_max`.
    """

    window_s: float = 30.0
    calls_min: int = 20
    ratio: float = 0.5
    streak: int = 5
    open_s: float = 5.0
    open_s_max: float = 60.0


class Breaker:
    """Counts failures in a sliding window of six slots; see the module.

    `enter` gives a ticket, `leave` takes it back with the outcome. A ticket from before the last change of state
    counts no more: answers that were under way when it opened neither close it nor open it again.
    """

    __slots__ = ("_epoch", "_failed", "_ok", "_open_s", "_probes", "_settings", "_slot", "_streak", "opens_at_s")

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self._ok = [0] * _SLOTS
        self._failed = [0] * _SLOTS
        self._slot = 0
        self._streak = 0
        self._epoch = 0
        self._probes = 0
        self._open_s = 0.0
        self.opens_at_s = -inf
        """Not closed: when the next probe may go. Closed: -inf."""

    @property
    def closed(self) -> bool:
        """Whether it lets everything through."""
        return self.opens_at_s == -inf

    def allows(self, now_s: float) -> bool:
        """Whether a call may go: always when closed, else one probe at a time once the pause is over."""
        return self.opens_at_s == -inf or (now_s >= self.opens_at_s and not self._probes)

    def enter(self) -> int:
        """A call goes, allowed or (where every other upstream is open, too) in spite of it; its ticket."""
        if not self.closed:
            self._probes += 1
        return self._epoch

    def leave(self, ticket: int, ok: bool | None, now_s: float, *, hopeless: bool = False) -> None:
        """A call has ended.

        Args:
            ticket: From `enter`.
            ok: Whether it was answered; None where the end says nothing (its caller left, it was throttled).
            now_s: The loop's clock.
            hopeless: The failure will last (a refused key): open at once, for `open_s_max`.
        """
        if ticket != self._epoch:
            return
        if not self.closed:
            self._probes -= 1
            if ok:
                self._close()
            elif ok is False:
                longer_s = self._settings.open_s_max if hopeless else min(2 * self._open_s, self._settings.open_s_max)
                self._open(longer_s, now_s)
            return
        if ok is None:
            return
        self._turn(now_s)
        if ok:
            self._ok[self._slot % _SLOTS] += 1
            self._streak = 0
            return
        self._failed[self._slot % _SLOTS] += 1
        self._streak += 1
        settings = self._settings
        failed = sum(self._failed)
        total = failed + sum(self._ok)
        if hopeless:
            self._open(settings.open_s_max, now_s)
        elif self._streak >= settings.streak or (total >= settings.calls_min and failed >= settings.ratio * total):
            self._open(settings.open_s, now_s)

    def _turn(self, now_s: float) -> None:
        """Empty the slots that have left the window."""
        slot = int(now_s / (self._settings.window_s / _SLOTS))
        for old in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._ok[old % _SLOTS] = self._failed[old % _SLOTS] = 0
        self._slot = max(self._slot, slot)

    def _open(self, open_s: float, now_s: float) -> None:
        self._epoch += 1
        self._probes = 0
        self._open_s = open_s
        self.opens_at_s = now_s + open_s

    def _close(self) -> None:
        self._epoch += 1
        self._probes = 0
        self._streak = 0
        self._ok, self._failed = [0] * _SLOTS, [0] * _SLOTS
        self.opens_at_s = -inf
