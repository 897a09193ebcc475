"""How long to wait before the next try."""

from __future__ import annotations

from random import Random

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential back-off with full jitter: ``rand(0, min(max_s, base_s * 2^n))``.

    Source: AWS, "Exponential Backoff And Jitter"; 0.5 and 8 s are the official SDKs' own bounds (FACTS section 4).
    """

    base_s: float = 0.5
    max_s: float = 8.0

    def delay_s(self, tries: int, rng: Random, *, retry_after_s: float | None = None) -> float:
        """Seconds to wait after `tries` failed tries (1 = the first one failed).

        A wait that the provider named is a floor, and the jitter comes on top of it where it is longer: everybody was
        told the same number, and coming back at the same instant is the next storm.
        """
        jitter_s = rng.uniform(0.0, min(self.max_s, self.base_s * 2.0 ** (tries - 1)))
        if retry_after_s is None:
            return jitter_s
        return max(retry_after_s, jitter_s)
