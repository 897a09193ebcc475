"""How fast, how good and where each simulated model is.

The latencies are medians at no load for a prompt of about 200 tokens. Source of the ranges: the figures the
field's courses quote (GPT-4 Turbo: TTFT 0.8-1.2 s, 500 tokens in 8-12 s; GPT-4o: 0.2-0.4 s, 4-6 s; GPT-3.5 Turbo:
0.15-0.3 s, 2-4 s; a small model's label 1.1-1.4 s end to end); the others are interpolated. A test holds the
10th and the 90th percentile of seeded runs inside those ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import msgspec

__all__ = ["PROFILES", "REGIONS", "Profile", "Tier", "profile_for"]

Tier: TypeAlias = Literal["large", "medium", "small", "nano"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One model's figures. Times are in seconds; `tier` sets its quality (see `sim.quality`)."""

    tier: Tier
    start_s: float
    """Median from the provider's door to the first token of a prompt of no length, without any queue."""
    prefill_s: float
    """Per uncached prompt token."""
    token_s: float
    """Median per output token."""
    spread: float
    """Sigma of the log-normal factors; 0.12 puts 80 % of requests within -14 % and +17 % of the median."""
    family: str = ""
    """Models of one family share their rate limits; "" for a limit of its own."""
    context_tokens: int = 128_000
    output_tokens_max: int = 16_384
    reasons: bool = False
    """Whether it thinks when `reasoning_effort` asks for it."""
    dimensions: int = 0
    """Of its vectors; 0 for models that are not for embeddings."""
    origin: str = "https://api.openai.com"
    """Who sells it: its prices are theirs, and Anthropic's and Gemini's own endpoints play only what they sell."""
    cache_tokens_min: int = 1_024
    """The shortest prefix that a `cache_control` breakpoint writes."""
    flex: bool = False
    """Whether the flex tier has it."""
    usage_told: bool = False
    """Whether every chat stream ends with the usage, asked for or not."""


_ANTHROPIC: Final = "https://api.anthropic.com"
_GOOGLE: Final = "https://generativelanguage.googleapis.com"
_MISTRAL: Final = "https://api.mistral.ai"
_GROQ: Final = "https://api.groq.com"

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "gpt-5.4": Profile(
            tier="large", start_s=1.35, prefill_s=0.00012, token_s=0.0160, spread=0.16,
            context_tokens=1_050_000, output_tokens_max=128_000, reasons=True, flex=True,
        ),
        "gpt-5.4-mini": Profile(
            tier="small", start_s=1.19, prefill_s=0.00006, token_s=0.0080, spread=0.07,
            context_tokens=400_000, output_tokens_max=128_000, reasons=True, flex=True,
        ),
        "gpt-4.1": Profile(
            tier="large", start_s=0.45, prefill_s=0.00010, token_s=0.0110, spread=0.16,
            context_tokens=1_047_576, output_tokens_max=32_768,
        ),
        "gpt-4.1-mini": Profile(
            tier="small", start_s=0.36, prefill_s=0.00005, token_s=0.0080, spread=0.16,
            context_tokens=1_047_576, output_tokens_max=32_768,
        ),
        "gpt-4.1-nano": Profile(
            tier="nano", start_s=0.24, prefill_s=0.00003, token_s=0.0050, spread=0.16,
            context_tokens=1_047_576, output_tokens_max=32_768,
        ),
        "gpt-4o": Profile(
            tier="medium", start_s=0.240, prefill_s=0.00010, token_s=0.0092, spread=0.12, family="gpt-4o"
        ),
        "gpt-4o-mini": Profile(tier="small", start_s=1.19, prefill_s=0.00005, token_s=0.0080, spread=0.07),
        "gpt-4-turbo": Profile(
            tier="medium", start_s=0.92, prefill_s=0.00020, token_s=0.0178, spread=0.10, output_tokens_max=4_096
        ),
        "gpt-3.5-turbo": Profile(
            tier="nano", start_s=0.185, prefill_s=0.00005, token_s=0.0052, spread=0.16,
            context_tokens=16_385, output_tokens_max=4_096,
        ),
        "text-embedding-3-small": Profile(
            tier="small", start_s=0.060, prefill_s=0.000004, token_s=0.0, spread=0.15,
            context_tokens=8_192, dimensions=1_536,
        ),
        "text-embedding-3-large": Profile(
            tier="large", start_s=0.090, prefill_s=0.000008, token_s=0.0, spread=0.15,
            context_tokens=8_192, dimensions=3_072,
        ),
        "claude-opus-5": Profile(
            tier="large", start_s=1.30, prefill_s=0.00012, token_s=0.0170, spread=0.16, origin=_ANTHROPIC,
            context_tokens=1_000_000, output_tokens_max=128_000, reasons=True, cache_tokens_min=512,
        ),
        "claude-sonnet-5": Profile(
            tier="large", start_s=0.95, prefill_s=0.00010, token_s=0.0150, spread=0.16, origin=_ANTHROPIC,
            context_tokens=1_000_000, output_tokens_max=128_000, reasons=True,
        ),
        "claude-haiku-4-5": Profile(
            tier="small", start_s=0.50, prefill_s=0.00005, token_s=0.0070, spread=0.14, origin=_ANTHROPIC,
            context_tokens=200_000, output_tokens_max=64_000, reasons=True, cache_tokens_min=4_096,
        ),
        "gemini-2.5-pro": Profile(
            tier="large", start_s=1.20, prefill_s=0.00010, token_s=0.0080, spread=0.18, origin=_GOOGLE,
            context_tokens=1_048_576, output_tokens_max=65_536, reasons=True,
        ),
        "gemini-2.5-flash": Profile(
            tier="small", start_s=0.40, prefill_s=0.00004, token_s=0.0045, spread=0.16, origin=_GOOGLE,
            context_tokens=1_048_576, output_tokens_max=65_536, reasons=True,
        ),
        "mistral-large-latest": Profile(
            tier="large", start_s=0.60, prefill_s=0.00010, token_s=0.0130, spread=0.15, origin=_MISTRAL,
            context_tokens=131_072, usage_told=True,
        ),
        "mistral-small-latest": Profile(
            tier="small", start_s=0.30, prefill_s=0.00005, token_s=0.0065, spread=0.15, origin=_MISTRAL,
            context_tokens=131_072, usage_told=True,
        ),
        "mistral-embed": Profile(
            tier="small", start_s=0.080, prefill_s=0.000005, token_s=0.0, spread=0.15, origin=_MISTRAL,
            context_tokens=8_192, dimensions=1_024,
        ),
        "llama-3.3-70b-versatile": Profile(
            tier="medium", start_s=0.22, prefill_s=0.00003, token_s=0.0030, spread=0.14, origin=_GROQ,
            context_tokens=131_072, output_tokens_max=32_768,
        ),
        "llama-3.1-8b-instant": Profile(
            tier="nano", start_s=0.15, prefill_s=0.00002, token_s=0.0014, spread=0.14, origin=_GROQ,
            context_tokens=131_072, output_tokens_max=131_072,
        ),
    }
)  # fmt: skip
"""The models that are played."""

REGIONS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "local": 0.001,
        "us-east": 0.020,
        "us-west": 0.065,
        "eu-west": 0.085,
        "eu-central": 0.095,
        "ap-northeast": 0.160,
        "ap-southeast": 0.220,
    }
)
"""Median round trip in seconds for a client on the US east coast: round figures of what clouds publish."""


def profile_for(model: str) -> tuple[str, Profile] | None:
    """The played model a name stands for; else None.

    That is itself, or a dated snapshot of it ("gpt-4o-2024-08-06", "claude-haiku-4-5-20251001").
    """
    if found := PROFILES.get(model):
        return model, found
    name, dash, rest = model.partition("-20")
    if dash and (found := PROFILES.get(name)) and len(rest) in (6, 8) and rest.replace("-", "").isdigit():
        return name, found
    return None
