"""What may still be spent: dollars and tokens under a cap, and retries in proportion to the work that succeeds."""

from __future__ import annotations

from math import inf

__all__ = ["RetryBudget", "SpendCap"]


class SpendCap:
    """A hard cap on dollars and tokens: the worst case is reserved before sending, actuals are settled after.

    What does not fit now may fit when others have settled; `possible` says whether it ever can.

    Args:
        dollars_max: Cap in US dollars, >= 0; infinite when there is none.
        tokens_max: Cap on input + output tokens, >= 0; infinite when there is none.
    """

    __slots__ = (
        "_open",
        "dollars_max",
        "dollars_owed",
        "dollars_reserved",
        "dollars_spent",
        "dollars_stuck",
        "tokens_max",
        "tokens_reserved",
        "tokens_spent",
    )

    def __init__(self, *, dollars_max: float = inf, tokens_max: float = inf) -> None:
        self.dollars_max = dollars_max
        self.tokens_max = tokens_max
        self.dollars_reserved = 0.0
        self.dollars_spent = 0.0
        self.dollars_owed = 0.0
        """What requests of earlier runs may still cost, whether or not it fits: they are under way."""
        self.dollars_stuck = 0.0
        """The part of it that is not known to become less."""
        self.tokens_reserved = 0
        self.tokens_spent = 0
        self._open = 0

    def possible(self, dollars: float, tokens: int) -> bool:
        """Whether this fits beside what is spent; never again, once it does not. True when nothing is reserved: now."""
        return self._fits(self.dollars_spent + self.dollars_stuck + dollars, self.tokens_spent + tokens)

    def reserve(self, dollars: float, tokens: int) -> bool:
        """Set the worst case aside; False when it does not fit beside what is spent and reserved."""
        if not self._fits(
            self.dollars_spent + self.dollars_reserved + self.dollars_owed + dollars,
            self.tokens_spent + self.tokens_reserved + tokens,
        ):
            return False
        self.dollars_reserved += dollars
        self.tokens_reserved += tokens
        self._open += 1
        return True

    def settle(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int) -> None:
        """Give the reservation (the same `dollars` and `tokens`) back and book what it really took."""
        self._open -= 1
        # Sums of floats keep a residue, which must not stand in the way of the last dollar.
        self.dollars_reserved = max(0.0, self.dollars_reserved - dollars) if self._open else 0.0
        self.tokens_reserved -= tokens
        self.dollars_spent += dollars_actual
        self.tokens_spent += tokens_actual

    def book(self, dollars: float, tokens: int = 0) -> None:
        """Count what was spent without a reservation of its own, e.g. before this process began."""
        self.dollars_spent += dollars
        self.tokens_spent += tokens

    @property
    def dollars_left(self) -> float:
        """What is neither spent nor reserved nor owed."""
        return self.dollars_max - self.dollars_spent - self.dollars_reserved - self.dollars_owed

    def _fits(self, dollars: float, tokens: int) -> bool:
        return dollars <= self.dollars_max + 1e-12 and tokens <= self.tokens_max


class RetryBudget:
    """Retries for one upstream: a share of its successes plus a trickle, so that an outage is not amplified.

    Source: Finagle's retry budget and SRE's "at most 10 % of a client's requests" (FACTS section 4). The reserve lets
    a small job retry at all before anything has succeeded.

    Args:
        ratio: Retries earned by a success.
        per_s: Retries earned by a second that passes.
        reserve: Retries in hand at the start, and the most that can be saved up.
    """

    __slots__ = ("_at_s", "_balance", "per_s", "ratio", "reserve")

    def __init__(self, *, ratio: float = 0.1, per_s: float = 1.0, reserve: float = 10.0) -> None:
        self.ratio = ratio
        self.per_s = per_s
        self.reserve = reserve
        self._balance = reserve
        self._at_s: float | None = None

    def succeeded(self) -> None:
        """An attempt succeeded: it earns its share."""
        self._balance = min(self.reserve, self._balance + self.ratio)

    def available(self, now_s: float) -> bool:
        """Whether a retry could be had now."""
        self._advance(now_s)
        return self._balance >= 1.0

    def take(self, now_s: float) -> bool:
        """Spend one retry; False when there is none left."""
        if not self.available(now_s):
            return False
        self._balance -= 1.0
        return True

    def _advance(self, now_s: float) -> None:
        if self._at_s is not None and now_s > self._at_s:
            self._balance = min(self.reserve, self._balance + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s if self._at_s is None else max(now_s, self._at_s)
