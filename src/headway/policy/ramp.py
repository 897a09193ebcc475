"""How fast to spend while nobody knows how much a provider takes: exponential while it takes all, then additive.

Buckets start full, so waiting politely at the refill rate wastes them; bursting at once finds hidden limits with a
storm of 429s. A refusal comes back within one round trip, long before the first answer, so silence is evidence:
the rate starts at a burst and doubles every `double_s` until the first refusal, or until a bucket says more.
Where a provider says nothing at all (no headers, no numbers in its 429s), the same rate is steered by AIMD. What was
never tried proves nothing: the rate grows only while somebody waits for it.

Source: TCP slow start; AIMD x0.9 from FACTS section 2; burst and doubling time are our own measurement
(`bench/bench_limits.py`: <= 0.5 % refused at 3,000 RPM with 1 s of capacity).
"""

from __future__ import annotations

from math import inf

__all__ = ["Ramp"]

LONE_PER_S = 5.0
AGAIN_S, FEW = 30.0, 8
"""So many refusals, each within that time of the one before, are no chance."""
RATE_FREE_PER_S = 20_000.0
"""Past this the ramp is out of the way: no single process sends faster."""


class Ramp:
    """A send rate in requests a second.

    Args:
        burst: Requests that may go at once at the very start.
        rate_per_s: The rate right after it.
        double_s: How long doubling takes while nothing is refused.
        decrease: Factor on a refusal that carried no numbers.
        increase_ratio_per_s: Growth after a refusal, as a share of the rate a second; more after ten quiet seconds.
    """

    __slots__ = (
        "_again",
        "_at_s",
        "_cut_at_s",
        "_tokens",
        "burst",
        "decrease",
        "double_s",
        "increase_ratio_per_s",
        "rate_per_s",
        "state",
    )

    def __init__(
        self,
        *,
        burst: float = 24.0,
        rate_per_s: float = 40.0,
        double_s: float = 0.35,
        decrease: float = 0.9,
        increase_ratio_per_s: float = 0.02,
    ) -> None:
        self.burst = burst
        self.rate_per_s = rate_per_s
        self.double_s = double_s
        self.decrease = decrease
        self.increase_ratio_per_s = increase_ratio_per_s
        self.state = "growing"
        """"growing", then "off" (a bucket is known and trusted) or "steered" (AIMD)."""
        self._tokens = burst
        self._at_s: float | None = None
        self._cut_at_s = -inf
        self._again = 0  # refusals in a row

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next request may go."""
        if self.state == "off":
            return 0.0
        self._advance(now_s)
        return 0.0 if self._tokens >= 1.0 - 1e-9 else (1.0 - self._tokens) / self.rate_per_s

    def charge(self, now_s: float) -> None:
        """One request goes."""
        if self.state != "off":
            self._advance(now_s)
            self._tokens -= 1.0

    def refund(self, now_s: float) -> None:
        """A request that was charged never went."""
        if self.state != "off":
            self._advance(now_s)
            self._tokens = min(self._depth(), self._tokens + 1.0)

    def settle(self) -> None:
        """A bucket's capacity is known: it alone says what may be spent from now on, unless refusals steer already."""
        if self.state == "growing":
            self.state = "off"

    def refused(self, now_s: float, *, sent_per_s: float) -> None:
        """A refusal without numbers, or an overload: steer by AIMD.

        At most one cut a quarter of a second, for refusals come in packs.

        Args:
            now_s: The time now.
            sent_per_s: The rate at which requests went out lately; where steering starts.
        """
        if self.state != "steered":
            # Switched off, it has no rate of its own any more: only what was sent tells. And who sends next to nothing
            # is not told much by a few refusals: only where they go on is it slowed down below `LONE_PER_S`.
            sent_per_s = max(LONE_PER_S, sent_per_s)
            self.rate_per_s = min(self.rate_per_s, sent_per_s) if self.state == "growing" else sent_per_s
            self.state = "steered"
            self._tokens, self._at_s = min(self._tokens, 0.0), now_s
            self._again = 0
        elif now_s - self._cut_at_s < AGAIN_S:
            self._again += 1
            if self._again >= FEW:
                self.rate_per_s = min(self.rate_per_s, max(0.05, sent_per_s))
        else:
            self._again = 0
        if now_s - self._cut_at_s >= 0.25:
            self._cut_at_s = now_s
            self.rate_per_s = max(0.05, self.rate_per_s * self.decrease)

    def _advance(self, now_s: float) -> None:
        if self._at_s is None:
            self._at_s = now_s
        elapsed_s = now_s - self._at_s
        if elapsed_s <= 0:
            return
        self._at_s = now_s
        if self._tokens < 1.0:
            # Somebody may have waited until the next token was due; later than that, nobody did.
            if self.state == "growing":
                self.rate_per_s *= 2.0 ** (min(elapsed_s, self.double_s) / self.double_s)
                if self.rate_per_s >= RATE_FREE_PER_S:
                    self.state = "off"
            else:
                quiet = min(10.0, max(1.0, 0.1 * (now_s - self._cut_at_s)))
                waited_s = min(elapsed_s, max(1.0, 1.0 / self.rate_per_s))
                self.rate_per_s = min(
                    RATE_FREE_PER_S, self.rate_per_s * (1.0 + self.increase_ratio_per_s * quiet * waited_s)
                )
        depth = self.burst if self.state == "growing" else self._depth()
        tokens = self._tokens + elapsed_s * self.rate_per_s
        self._tokens = tokens if tokens < depth else depth

    def _depth(self) -> float:
        """How many requests may go at once."""
        return max(1.0, min(self.burst, self.rate_per_s * 0.05)) if self.state == "steered" else self.burst
