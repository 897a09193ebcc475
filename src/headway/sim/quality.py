"""How wrong the stand-in is, and why: every number in one frozen table.

A model's answers get worse with what is asked and how. Each cause adds to the chance that a choice (a label, an
enum) goes to a runner-up instead of the best evidence; the sum is capped. Apart from that, answers break the form
they were asked for, at a rate per tier. The throws depend on the seed and on the content, nothing else, so that the
same prompt always gets the same answer and a comparison of two prompts can come out either way.

The amounts are round figures made up for this simulator, ordered as published evaluations order them (smaller
models, vague labels, long and crowded prompts do worse); they claim nothing about any real model.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

import msgspec

from headway.errors import ConfigError
from headway.sim.profiles import Tier

__all__ = ["PromptFacts", "Quality"]

_TIERS: Final = ("large", "medium", "small", "nano")


class PromptFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a prompt matters for quality."""

    labels: int = 0
    """Labels in the list; 0 when a classification is asked for without one."""
    ambiguous_share: float = 0.0
    """Share of labels whose words are mostly another label's too, 0 to 1."""
    guided: bool = False
    """Rules, definitions or examples are in it."""
    idle_tokens: int = 0
    """Instruction tokens that are neither labels nor guidance: irrelevant context."""
    prompt_tokens: int = 0
    items: int = 1
    """Items to be judged in one prompt."""


class Quality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Error rates, 0 to 1. They add up, to at most `error_max`.

    Raises:
        ConfigError: A rate outside 0..1 or a tier without a rate; the message names the key.
    """

    error_by_tier: Mapping[str, float] = msgspec.field(
        default_factory=lambda: {"large": 0.02, "medium": 0.04, "small": 0.06, "nano": 0.14}
    )
    error_without_labels: float = 0.30
    """A choice is asked for, but its labels are not named."""
    error_ambiguous: float = 0.08
    """Times the share of labels that resemble another."""
    error_without_guidance: float = 0.03
    """No rule, definition or example: what dropping the rules costs, apart from their own evidence."""
    error_per_1000_idle: float = 0.04
    """Per 1,000 tokens of irrelevant context beyond the first `idle_tokens_free`."""
    idle_tokens_free: int = 150
    error_per_1000_long: float = 0.01
    """Per 1,000 prompt tokens beyond the first `long_tokens_free`."""
    long_tokens_free: int = 4_000
    error_per_item: float = 0.02
    """Per item beyond the first in one prompt."""
    error_max: float = 0.60
    violation_by_tier: Mapping[str, float] = msgspec.field(
        default_factory=lambda: {"large": 0.002, "medium": 0.006, "small": 0.012, "nano": 0.040}
    )
    """The form is broken: prose around a label, wrong case, a full stop, cut JSON, one bullet too many."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if isinstance(value, Mapping):
                missing = [tier for tier in _TIERS if tier not in value]
                if missing:
                    raise ConfigError(f"quality.{key}: the tier {missing[0]!r} has no rate; give one from 0 to 1")
            rates = list(value.values()) if isinstance(value, Mapping) else [value]
            if not key.endswith("_free") and not all(0 <= rate <= 1 for rate in rates):
                raise ConfigError(f"quality.{key}: expected a rate from 0 to 1, got {value}")

    def error(self, tier: Tier, facts: PromptFacts) -> float:
        """The chance that a choice goes wrong: the tier's own, plus what the prompt adds."""
        idle = max(0, facts.idle_tokens - self.idle_tokens_free)
        long = max(0, facts.prompt_tokens - self.long_tokens_free)
        total = (
            self.error_by_tier[tier]
            + (self.error_ambiguous * facts.ambiguous_share if facts.labels else self.error_without_labels)
            + (0.0 if facts.guided else self.error_without_guidance)
            + self.error_per_1000_idle * idle / 1_000
            + self.error_per_1000_long * long / 1_000
            + self.error_per_item * (facts.items - 1)
        )
        return min(total, self.error_max)

    def errs(self, tier: Tier, facts: PromptFacts, rng: Random) -> bool:
        """Throw for one choice."""
        return rng.random() < self.error(tier, facts)

    def violates(self, tier: Tier, rng: Random) -> bool:
        """Throw for one answer's form."""
        return rng.random() < self.violation_by_tier[tier]
