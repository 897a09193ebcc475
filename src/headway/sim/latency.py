"""How long things take: network + queue + prefill = time to first token; then a time per output token.

    total = network + queue + start + uncached * prefill + output * token
    queue = 0.05 * u**2 / (1 - u),  u = min(in flight / capacity, 0.98)      (nothing at no load, 2.4 s at the worst)

and every token takes `1 + u / 2` times as long, since a batch shares the machine. Spread is log-normal and leaves
medians where they are: each request draws one factor for its prompt, one for its tokens, one for the network.
"""

from __future__ import annotations

from math import exp
from random import Random

import msgspec

from headway.sim.profiles import REGIONS, Profile

__all__ = ["Timing", "error_s", "network_s", "timing"]

_QUEUE_S = 0.05
_LOAD_MAX = 0.98
_NETWORK_SPREAD = 0.10
_ERROR_S = 0.004


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One request's times at the provider, in seconds; the network is apart."""

    queue_s: float
    prefill_s: float
    token_s: float

    def total_s(self, tokens: int) -> float:
        """From admission to the last of `tokens` output tokens."""
        return self.queue_s + self.prefill_s + self.token_s * tokens


def timing(
    profile: Profile, *, uncached_tokens: int, in_flight: int, capacity: int, scale: float, rng: Random
) -> Timing:
    """Draw one request's times. Always two draws, so that neither depends on the other's arguments."""
    load = min(in_flight / capacity, _LOAD_MAX)
    prompt_factor, token_factor = _factor(profile.spread, rng), _factor(profile.spread, rng)
    return Timing(
        queue_s=scale * _QUEUE_S * load * load / (1 - load),
        prefill_s=scale * prompt_factor * (profile.start_s + uncached_tokens * profile.prefill_s),
        token_s=scale * token_factor * profile.token_s * (1 + load / 2),
    )


def network_s(region: str, scale: float, rng: Random) -> float:
    """One round trip to the region."""
    return scale * REGIONS[region] * _factor(_NETWORK_SPREAD, rng)


def error_s(region: str, scale: float) -> float:
    """What the provider takes to refuse a request, and the way back."""
    return scale * (_ERROR_S + REGIONS[region] / 2)


def _factor(spread: float, rng: Random) -> float:
    """Log-normal with median 1, cut at 3 sigma so that bounds can be given."""
    return exp(spread * max(-3.0, min(3.0, rng.gauss(0.0, 1.0))))
