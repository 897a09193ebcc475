"""What the providers' prompt caches saved: what was read from them at the lower price, less what writing cost more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from headway.wire.prices import Prices

__all__ = ["saved_dollars"]


def saved_dollars(tokens: Mapping[tuple[str, str], list[int]]) -> float:
    """Dollars, at today's prices for short prompts; below 0 for a loss. Models without a known price count as 0.

    Args:
        tokens: By model and upstream's address ("" or a name where that is not known): tokens read, and written.
    """
    found = 0.0
    for (model, upstream), (read, written) in tokens.items():
        rates = _prices().rates(model, upstream if "://" in upstream else "")
        if rates is not None:
            tier = rates.base
            found += read * (tier.input - tier.cached) - written * max(0.0, tier.cache_write - tier.input)
    return found


@lru_cache(maxsize=1)
def _prices() -> Prices:
    return Prices()
