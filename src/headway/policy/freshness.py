"""How long an answer may be reused, and what to do with one of a given age.

        stored         fresh_until      + stale_while_revalidate_s      stale_until
    ------|----- fresh -----|---------- revalidate ----------|--- stale ---|---- gone
               (refresh)

Source: RFC 5861 (stale-while-revalidate, stale-if-error) and XFetch: Vattani et al., "Optimal Probabilistic
Cache Stampede Prevention" (VLDB 2015); FACTS section 5 for the defaults.
"""

from __future__ import annotations

from math import exp
from random import Random
from typing import Literal, TypeAlias

import msgspec

from headway.errors import ConfigError

__all__ = ["Freshness", "Verdict"]

Verdict: TypeAlias = Literal[
    "fresh",  # serve it
    "refresh",  # still fresh: serve it, and fetch a new one in the background (XFetch)
    "revalidate",  # just past fresh: serve it, and fetch a new one in the background
    "stale",  # try once; serve it when that fails
    "gone",  # a miss
]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of reuse over time; seconds, >= 0. Raises `ConfigError` for values outside their range."""

    ttl_s: float = 86_400.0
    """How long an answer is fresh."""
    jitter_ratio: float = 0.1
    """Lifetimes vary by +- this share, >= 0 and < 1: what was stored together does not expire together."""
    stale_if_error_s: float = 86_400.0
    """How long past fresh an answer may stand in for a provider that fails."""
    stale_while_revalidate_s: float = 0.0
    """How long past fresh an answer is served at once while a new one is fetched behind it."""
    xfetch_beta: float = 0.0
    """Eagerness of early refreshes; 0 switches them off, 1 is the paper's optimum."""

    def __post_init__(self) -> None:
        for name in ("ttl_s", "stale_if_error_s", "stale_while_revalidate_s", "xfetch_beta"):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f"{name} must be >= 0, not {getattr(self, name)!r}.")
        if not 0.0 <= self.jitter_ratio < 1.0:
            raise ConfigError(f"jitter_ratio must be >= 0 and < 1, not {self.jitter_ratio!r}.")

    def lifetime(self, now_wall_s: float, rng: Random) -> tuple[float, float]:
        """(fresh_until, stale_until), Unix seconds, for an answer stored now."""
        fresh_until_s = now_wall_s + self.ttl_s * (1.0 + self.jitter_ratio * (2.0 * rng.random() - 1.0))
        return fresh_until_s, fresh_until_s + max(self.stale_if_error_s, self.stale_while_revalidate_s)

    def judge(
        self,
        *,
        fresh_until_wall_s: float,
        stale_until_wall_s: float,
        fetch_s: float,
        now_wall_s: float,
        rng: Random,
    ) -> Verdict:
        """What to do with a stored answer.

        Args:
            fresh_until_wall_s: As `lifetime` gave it when the answer was stored; Unix seconds.
            stale_until_wall_s: Likewise.
            fetch_s: How long fetching it took: XFetch's delta.
            now_wall_s: Unix seconds.
            rng: Dice for the early refresh, thrown only where `xfetch_beta` > 0.
        """
        remaining_s = fresh_until_wall_s - now_wall_s
        if remaining_s > 0.0:
            eager_s = self.xfetch_beta * fetch_s
            # P(-ln(u) * beta * delta >= remaining) for u uniform in (0, 1], written out.
            if eager_s > 0.0 and rng.random() < exp(-remaining_s / eager_s):
                return "refresh"
            return "fresh"
        if now_wall_s >= stale_until_wall_s:
            return "gone"
        return "revalidate" if -remaining_s < self.stale_while_revalidate_s else "stale"
