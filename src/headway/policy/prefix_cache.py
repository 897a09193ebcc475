"""Provider prompt caching: when a write pays, what caching came to in dollars, and who goes first.

A provider keeps the computed prefix of a prompt for minutes and reads it at about a tenth of the price; some charge for
writing it. All prices here are in units of the uncached input price, w for a write and r for a read.

**Break-even.** A request finds its prefix with probability h. Marked, the prefix costs h * r + (1 - h) * w; unmarked 1.
They are equal at

    h = (w - 1) / (w - r)        w = 1.25, r = 0.1: 0.25 / 1.15 = 21.7 %        w = 2, r = 0.1: 1 / 1.9 = 52.6 %

**Send one, then fan.** N requests with one prefix sent side by side all write: N * w. When the first goes ahead and the
others follow its first byte: w + r * (N - 1). What that costs is time: one wait for a first byte.

Source: FACTS section 6; OpenAI, "Prompt caching"; Anthropic, "Prompt caching".
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from headway.types import Usage

__all__ = ["PrefixRules", "Reuse", "break_even", "fan_pays", "fan_saved_usd", "net_dollars", "rules_for"]

WAIT_USD_PER_H: Final = 10.0
"""What an hour of a job's delay is worth: the wait of send-one-then-fan has to save more. A choice, not a measurement;
at it a prefix of 1,100 tokens pays from about six rows on with a small model."""
FIRST_BYTE_S: Final = 2.0
"""How long a first answer is expected to take, before any has been seen."""
_DECAY: Final = 0.95
_PRIOR_MISSES: Final = 3.0
"""Evidence against, before there is any: a prefix is marked from its third request on, if they come close enough."""


class Priced(Protocol):
    """Prices of one model; `wire.prices.Rates` is one."""

    def dollars(self, usage: Usage) -> float:
        """What those tokens cost."""
        ...


class PrefixRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a wire format's provider caches prefixes."""

    tokens_min: int
    """The shortest prefix that is kept; shorter ones are silently not."""
    write_ratio: float
    """Price of a write over that of uncached input, where the price list does not tell."""
    read_ratio: float = 0.1
    ttl_s: float
    """How long an entry lives after its last use."""
    marked: bool
    """Whether only prefixes that end at a breakpoint are kept; otherwise all are, and a key routes the request."""


_ROUTED: Final = PrefixRules(tokens_min=1_024, write_ratio=1.0, ttl_s=300.0, marked=False)
_MARKED: Final = PrefixRules(tokens_min=1_024, write_ratio=1.25, ttl_s=300.0, marked=True)
_FORMATS: Final[Mapping[str, PrefixRules]] = MappingProxyType(
    {"openai_chat": _ROUTED, "openai_responses": _ROUTED, "anthropic_messages": _MARKED}
)
_TOKENS_MIN: Final = (
    ("claude-opus-5", 512),
    ("claude-opus-4-5", 4_096),
    ("claude-opus-4-6", 4_096),
    ("claude-haiku-4-5", 4_096),
    ("claude-sonnet-4-6", 2_048),
    ("claude-haiku-3", 2_048),
    ("claude-3-haiku", 2_048),
    ("claude-3-5-haiku", 2_048),
)
"""Models with a minimum of their own, by how their names begin. Source: Anthropic, "Prompt caching"."""


def rules_for(format_: str, model: str) -> PrefixRules | None:
    """The rules of a request's format and model; None where nothing is known of a prompt cache."""
    rules = _FORMATS.get(format_)
    if rules is None or not rules.marked:
        return rules
    own = next((tokens for name, tokens in _TOKENS_MIN if model.startswith(name)), rules.tokens_min)
    return rules if own == rules.tokens_min else msgspec.structs.replace(rules, tokens_min=own)


def break_even(write_ratio: float, read_ratio: float = 0.1) -> float:
    """The hit rate from which caching a prefix saves money: 0 where writes are free, 1 where reads are no cheaper.

    Args:
        write_ratio: Price of a write over that of uncached input.
        read_ratio: Likewise of a read.
    """
    if write_ratio <= 1.0:
        return 0.0 if read_ratio < 1.0 else 1.0
    return min(1.0, (write_ratio - 1.0) / (write_ratio - read_ratio)) if read_ratio < 1.0 else 1.0


def net_dollars(usage: Usage, rates: Priced) -> float:
    """What the provider's cache saved on one answer in dollars; below 0 where writes cost more than reads saved."""
    if not usage.cached_tokens and not usage.cache_write_tokens:
        return 0.0
    uncached = Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    return rates.dollars(uncached) - rates.dollars(usage)


def fan_saved_usd(rows: int, prefix_tokens: int, rates: Priced) -> float:
    """Dollars that sending one row ahead saves over sending `rows` >= 1 with one prefix side by side.

    N * w against w + r * (N - 1), each times the prefix.
    """
    write = rates.dollars(Usage(input_tokens=prefix_tokens, cache_write_tokens=prefix_tokens))
    read = rates.dollars(Usage(input_tokens=prefix_tokens, cached_tokens=prefix_tokens))
    return (rows - 1) * (write - read)


def fan_pays(
    rows: int,
    prefix_tokens: int,
    rules: PrefixRules,
    rates: Priced,
    *,
    wait_s: float = FIRST_BYTE_S,
    usd_per_h: float = WAIT_USD_PER_H,
) -> bool:
    """Whether the rows of a job should wait for the first one's first byte: dollars saved against time lost.

    Args:
        rows: How many would be sent at once, the first included.
        prefix_tokens: What they have in common at the beginning.
        rules: From `rules_for`.
        rates: The model's prices.
        wait_s: How long the first byte is expected to take.
        usd_per_h: What an hour of waiting is worth.
    """
    if rows < 2 or prefix_tokens < rules.tokens_min:
        return False
    return fan_saved_usd(rows, prefix_tokens, rates) > wait_s / 3600.0 * usd_per_h


class Reuse:
    """What is known of one prefix: how often it comes again in time, and until when it is cached.

    Counts fade (a twentieth with each request), so that a prefix that has gone out of use is not written for long.
    """

    __slots__ = ("_again", "_asked", "_cached_until_s", "_ignored", "_used_at_s", "_writing")

    def __init__(self) -> None:
        self._asked = self._again = 0.0
        self._used_at_s = -inf
        self._cached_until_s = -inf
        self._writing = False
        self._ignored = False

    @property
    def expected(self) -> float:
        """The expected hit rate, 0..1; pessimistic while little is known."""
        return self._again / (self._asked + _PRIOR_MISSES)

    def mark(self, now_s: float, rules: PrefixRules, threshold: float) -> bool:
        """Count a request, and say whether its prefix is to be marked.

        Args:
            now_s: Loop time.
            rules: From `rules_for`.
            threshold: From `break_even`.

        One that will be read is always marked. One that would be written is where the expected hit rate is above the
        threshold, and nobody is writing it yet: what is sent side by side with the writer would write as well.
        """
        self._asked = self._asked * _DECAY + 1.0
        self._again = self._again * _DECAY + (now_s - self._used_at_s <= rules.ttl_s)
        self._used_at_s = now_s
        if self._ignored:
            return False
        if now_s <= self._cached_until_s:
            return True
        if self._writing or self.expected <= threshold:
            return False
        self._writing = True
        return True

    def ended(self, now_s: float, rules: PrefixRules, usage: Usage | None) -> None:
        """A marked request has ended; `usage` as the provider reported it, None if it did not."""
        self._writing = False
        if usage is None or usage.estimated:
            return
        if usage.cached_tokens or usage.cache_write_tokens:
            self._cached_until_s = now_s + rules.ttl_s
        else:
            self._ignored = True  # too short for this model, or caching is not offered
