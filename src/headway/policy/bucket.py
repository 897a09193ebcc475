"""A provider's token bucket, seen from outside: what may be spent now, learned from what the provider says.

Providers enforce a limit per minute as a continuous token bucket: it holds at most `capacity`, refills at
`limit / window` per second, and a request is refused when it asks for more than the level. Published numbers are the
limit; the capacity is often smaller than the limit without saying so (60,000 a minute enforced as 1,000 a second).
Then the headers still say that plenty remains, and only a 429 shows the truth. `Bucket` holds that difference as
`hidden`: level = remaining - hidden.

Source: FACTS section 2 (reset is the time to *full*; the arithmetic of the 429 text; limits enforced in slices).
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

__all__ = ["Bucket", "Mark"]

_WINDOWS_S = (1.0, 60.0, 3600.0, 86400.0)


class Mark(NamedTuple):
    """Where the bucket stood right after a charge; what came later is measured against it."""

    charged: float
    level: float
    corrected: float


class Bucket:
    """One dimension (requests or tokens) of one quota. Unknown until a limit is configured or learned.

    Args:
        limit: Units per window, > 0; None leaves the bucket unknown, and whatever is asked is granted.
        capacity: Units it holds when full; defaults to `limit`.
        window_s: What the limit counts over; 60 for the usual per-minute limits.
        headroom_ratio: Share of the capacity never spent, for the jitter between our clock and theirs. It costs no
            throughput: it is left in the bucket once, the refill is spent in full.
    """

    __slots__ = (
        "_at_s",
        "_window_known",
        "capacity",
        "charged",
        "corrected",
        "headroom_ratio",
        "hidden",
        "learned",
        "level",
        "limit",
        "refill_per_s",
        "window_s",
    )

    def __init__(
        self,
        limit: float | None = None,
        *,
        capacity: float | None = None,
        window_s: float = 60.0,
        headroom_ratio: float = 0.1,
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self.refill_per_s = inf if limit is None else limit / window_s
        """Units that come back each second; infinite while the limit is unknown."""
        self.capacity = inf if limit is None else (capacity or limit)
        self.hidden = 0.0 if limit is None else limit - self.capacity
        self.level = self.capacity
        self.headroom_ratio = headroom_ratio
        self.charged = 0.0
        """All charges ever made: two readings of it tell what was charged in between."""
        self.corrected = 0.0
        """The sum of all corrections to the level, for the same purpose."""
        self.learned = False
        self._at_s = 0.0
        self._window_known = False

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until `cost` may be spent; 0.0 when it may be spent now.

        A cost above the whole capacity waits for a full bucket: whether it can ever pass is the provider's to say.
        """
        if self.limit is None:
            return 0.0
        self._advance(now_s)
        wanted = cost + self.capacity * self.headroom_ratio
        missing = (wanted if wanted < self.capacity else self.capacity) - self.level
        return missing / self.refill_per_s if missing > 1e-9 else 0.0

    def charge(self, cost: float, now_s: float) -> Mark:
        """Spend `cost`; the level may go below zero, for the provider alone decides what it admits."""
        self.charged += cost
        if self.limit is not None:
            self._advance(now_s)
            self.level -= cost
        return Mark(self.charged, self.level, self.corrected)

    def refund(self, cost: float, now_s: float) -> None:
        """Give back what was charged and never sent."""
        self.charged -= cost
        if self.limit is not None:
            self._advance(now_s)
            self.level = min(self.capacity, self.level + cost)

    def observe(
        self,
        mark: Mark,
        limit: int | None,
        remaining: int | None,
        reset_s: float | None,
        *,
        age_s: float,
        now_s: float,
    ) -> None:
        """Learn from an answer's headers.

        Args:
            mark: From the charge of the request that was answered.
            limit, remaining, reset_s: As the headers give them; `reset_s` is the time to full.
            age_s: How long ago the provider took the reading (it does so when it admits the request).
            now_s: The time now.
        """
        if limit is not None and limit > 0:
            self._learn_limit(float(limit), remaining, reset_s, now_s)
        if self.limit is None or remaining is None:
            return
        self._advance(now_s)
        reading = remaining - self.hidden
        if mark.level == inf:  # sent before anything was known: available = remaining + refill * age - sent since
            error = reading + self.refill_per_s * age_s - (self.charged - mark.charged) - self.level
            self._correct(min(error, 0.0))
            return
        # Requests travel in the order they were sent, so the reading belongs to the level right after this charge;
        # what has been corrected since must not be corrected again by every answer still under way.
        error = reading - mark.level - (self.corrected - mark.corrected)
        # Down at once: somebody else spends from this bucket too. Up by a tenth: readings carry the network's jitter.
        self._correct(error if error < 0 else 0.1 * error)

    def refused(self, mark: Mark, cost: float, *, level: float | None, remaining: int | None, now_s: float) -> bool:
        """Learn from a 429; return whether it showed that the capacity is smaller than was thought.

        Args:
            mark: From the refused request's charge.
            cost: What it asked for.
            level: The exact level, limit - used, where the text gives it; None otherwise.
            remaining: What the same answer's headers claim remains, if they do.
            now_s: The time now. The reading is taken to be this fresh: a refusal takes no work.
        """
        if self.limit is None:
            return False
        self._advance(now_s)
        since = self.charged - mark.charged
        true_level = max(0.0, level) if level is not None else 0.0
        claimed = remaining - self.hidden if remaining is not None else self.level + since
        shrunk = claimed >= cost and claimed > true_level + 1.0
        if shrunk:
            self.hidden = min(self.hidden + claimed - true_level, self.limit - max(1.0, min(cost, self.limit)))
            self.capacity = self.limit - self.hidden
        self._correct(true_level - since - self.level)
        return shrunk

    def _correct(self, error: float) -> None:
        before = self.level
        self.level = min(self.capacity, before + error)
        self.corrected += self.level - before

    def _advance(self, now_s: float) -> None:
        elapsed_s = now_s - self._at_s
        if elapsed_s > 0.0:
            self._at_s = now_s
            level = self.level + elapsed_s * self.refill_per_s
            self.level = level if level < self.capacity else self.capacity

    def _learn_limit(self, limit: float, remaining: int | None, reset_s: float | None, now_s: float) -> None:
        used = limit - remaining if remaining is not None else 0.0
        if used >= 10 and reset_s and (self.limit != limit or not self._window_known):
            # reset = used / limit * window, so the window follows; snapped, for both are rounded.
            window_s = reset_s * limit / used
            self.window_s = min(_WINDOWS_S, key=lambda known: abs(known / window_s - 1.0))
            self._window_known = True
        if self.limit == limit:
            self.refill_per_s = limit / self.window_s
            return
        self.learned = True
        self.limit, self.hidden, self.capacity = limit, 0.0, limit
        self.refill_per_s = limit / self.window_s
        self.level = limit
        self._at_s = now_s
