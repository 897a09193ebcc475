"""Published limits by provider and tier, as a start: what the provider's own headers say replaces them; "off": none.

Source: the tiers as FACTS section 2 quotes them (OpenAI's limits page for its mid-size models, November 2026). Limits
differ by model; where yours do, set `requests_per_min` and `tokens_per_min`, or leave all of it out and let them be
learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from headway.policy.limits import LimitSettings

__all__ = ["LIMIT_PRESETS"]

LIMIT_PRESETS: Mapping[str, LimitSettings] = MappingProxyType(
    {
        "off": LimitSettings(paced=False),
        "openai/free": LimitSettings(requests_per_min=3, tokens_per_min=40_000),
        "openai/tier-1": LimitSettings(requests_per_min=500, tokens_per_min=200_000),
        "openai/tier-5": LimitSettings(requests_per_min=10_000, tokens_per_min=30_000_000),
    }
)
