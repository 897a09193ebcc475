"""What one process may spend of a key's dollars: a part that it holds of caps it shares with other processes.

Spending asks nobody as long as it fits into what is held. Who holds what is written down where all of them see it
(`gateway/keys/ledger.py`), so that all parts and all that is spent never exceed the caps.
"""

from __future__ import annotations

from math import inf

from headway.policy.budget import SpendCap

__all__ = ["SLACK_RATIO", "LeasedCap", "part"]

SLACK_RATIO = 0.02
"""How much of what is left a process may hold beyond its reservations: what a process that dies may cost its key."""
_SLACK_TRIES = 16.0
_EPSILON = 1e-12


class LeasedCap(SpendCap):
    """A `SpendCap` whose room is what was handed out to this process.

    Args:
        per_day: Dollars for a calendar day, >= 0; infinite for no cap.
        per_month: Likewise for a calendar month.
    """

    __slots__ = (
        "active", "day", "held", "impatient", "per_day", "per_month", "requests", "short_of", "spent_day",
        "spent_month", "tried",
    )  # fmt: skip

    def __init__(self, per_day: float = inf, per_month: float = inf) -> None:
        super().__init__()
        self.per_day = per_day
        self.per_month = per_month
        self.day = ""
        self.spent_day = 0.0
        """By all processes, as far as it is known here; so is `spent_month`."""
        self.spent_month = 0.0
        self.held = 0.0
        """What reservations, and dollars that are spent and not yet written down, may come to."""
        self.short_of = 0.0
        """The worst case that did not fit since the last exchange."""
        self.requests = 0
        """Sent and not yet written down; so are `dollars_spent` and `tokens_spent` here."""
        self.tried = 0.0
        self.active = False
        self.impatient = False
        """What does not fit now is not waited for any longer: others hold what it would need."""

    @property
    def capped(self) -> bool:
        """Whether there is a cap at all."""
        return self.per_day < inf or self.per_month < inf

    def on(self, day: str) -> None:
        """It is that day now, "2026-11-21": a new one begins with nothing spent, a new month too."""
        if day != self.day:
            self.spent_day = 0.0
            if day[:7] != self.day[:7]:
                self.spent_month = 0.0
            self.day = day

    def possible(self, dollars: float, tokens: int) -> bool:
        """Whether this fits beside what is spent today and this month."""
        if self.impatient:
            return False
        more = self.dollars_spent + dollars - _EPSILON
        return self.spent_day + more <= self.per_day and self.spent_month + more <= self.per_month

    def reserve(self, dollars: float, tokens: int) -> bool:
        """Set the worst case aside; False when it does not fit into what is held."""
        self.active = True
        if self.capped and self.dollars_reserved + self.dollars_spent + dollars > self.held + _EPSILON:
            if self.possible(dollars, tokens):
                self.short_of = dollars
            return False
        self.tried = max(dollars, 0.9 * self.tried)
        self.dollars_reserved += dollars
        self._open += 1
        return True

    def settle(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int) -> None:
        """Give the reservation back and book what it really took."""
        super().settle(dollars, 0, dollars_actual=dollars_actual, tokens_actual=tokens_actual)

    def wants(self) -> tuple[float, float, float]:
        """For an exchange: what has to stay held, what is needed, and what would be welcome beyond it.

        While calls come, what is held beyond reservations is kept as far as it is a small part of what is left;
        afterwards it goes back, and at once where it does not suffice for the call that is next: several processes
        would each keep what another one needs, for good. Until `exchanged` is called nothing is reserved that would
        not fit into that.
        """
        active, short, self.active, self.short_of = self.active, self.short_of, False, 0.0
        if not self.capped:
            return 0.0, 0.0, 0.0
        needed = self.dollars_reserved + short
        spare = max(0.0, self.held - self.dollars_spent - self.dollars_reserved)
        if not active or short:
            spare = 0.0
        elif spare > (most := SLACK_RATIO * self._left()):
            spare = most
        keep = self.dollars_reserved + spare
        self.held = keep + self.dollars_spent
        return keep, needed, _SLACK_TRIES * self.tried if active else 0.0

    def _left(self) -> float:
        """What is not spent, as far as it is known here."""
        left = min(self.per_day - self.spent_day, self.per_month - self.spent_month) - self.dollars_spent
        return max(0.0, left)

    def exchanged(self, day: str, held: float, spent: tuple[float, float], dollars: float, tokens: int) -> None:
        """What the exchange brought.

        Args:
            day: When it was made; a day that is over says nothing of this one.
            held: Handed out from now on.
            spent: By all processes, on that day and in its month.
            dollars: Of `dollars_spent`, written down now.
            tokens: Of `tokens_spent`, likewise.
        """
        self.held = held
        if day == self.day:
            self.spent_day, self.spent_month = spent
        self.dollars_spent = max(0.0, self.dollars_spent - dollars) if self.dollars_spent != dollars else 0.0
        self.tokens_spent -= tokens


def part(*, room: float, keep: float, needed: float, welcome: float) -> float:
    """What one process is handed out.

    Args:
        room: Dollars that are neither spent nor held by others; may be negative where caps were lowered.
        keep: What it holds and cannot give back.
        needed: That, and the worst case of what waits.
        welcome: What would spare it the next exchange.
    """
    if room < needed - _EPSILON:
        return keep
    return max(keep, needed + max(0.0, min(welcome, SLACK_RATIO * room, room - needed)))
