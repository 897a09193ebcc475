"""What a run cost, by what the money went to, and what was not spent because an answer was there already."""

from __future__ import annotations

from typing import Literal, Protocol

from headway.policy.prefix_cache import net_dollars
from headway.report.figures import Cost
from headway.types import Result, Usage
from headway.wire.prices import FLEX_RATIO

__all__ = ["Kind", "Money", "Rates", "kind_of"]

Kind = Literal["call", "hit", "join"]
_HALF = frozenset(("flex", "batch"))
"""Lanes at half the price. Source: FACTS sections 2 and 3."""


class Rates(Protocol):
    """Prices of one model; `wire.prices.Rates` is one."""

    def dollars(self, usage: Usage) -> float:
        """What those tokens cost."""
        ...


def kind_of(result: Result) -> Kind:
    """How a row got its answer: "call" (provider asked), "hit" (kept before) or "join" (another row's call).

    A row that was repaired asked the provider, whatever its first answer came from.
    """
    if result.cache in ("", "off", "miss", "refresh") or result.repairs:
        return "call"
    return "join" if result.cache == "joined" else "hit"


class Money:
    """Dollars spent, by what they were spent on, and saved."""

    def __init__(self) -> None:
        self._total = 0.0
        self._unknown = 0
        self._parts: dict[str, float] | None = dict.fromkeys(
            ("input", "cached", "cache_write", "output", "retries"), 0.0
        )
        self._saved: dict[str, float | None] = {"hit": 0.0, "join": 0.0}
        self._prefix = 0.0
        self._lanes = 0.0

    def add(self, result: Result, kind: Kind, rates: Rates | None) -> None:
        """Count one row."""
        if result.dollars is None:
            self._unknown += 1
        else:
            self._total += result.dollars
        saved = self._saved.get(kind)
        if saved is not None:
            self._saved[kind] = None if result.saved_dollars is None else saved + result.saved_dollars
        if self._parts is None or kind != "call" or not result.dollars:
            return
        if rates is None or result.usage is None:
            self._parts = None  # a split of only some rows would not add up to the sum
            return
        ratio = FLEX_RATIO if result.lane in _HALF else 1.0
        self._prefix += ratio * net_dollars(result.usage, rates)
        rest = result.dollars
        for name, value in _split(result.usage, rates):
            self._parts[name] += ratio * value
            self._lanes += (1.0 - ratio) * value
            rest -= ratio * value
        self._parts["retries"] += max(0.0, rest)

    def cost(self, rows: int) -> Cost:
        """The figures, over `rows` rows."""
        total = None if self._unknown else self._total
        parts = self._parts if self._parts is not None and not self._unknown else {}
        if parts and parts["retries"] < 1e-9 * self._total:
            parts = {**parts, "retries": 0.0}  # what is left of adding floats
        return Cost(
            total=total,
            per_1000_rows=None if total is None or not rows else total / rows * 1000,
            known=self._total,
            rows_unknown=self._unknown,
            saved_cache=self._saved["hit"],
            saved_join=self._saved["join"],
            saved_prefix=self._prefix if parts else None,
            saved_lane=self._lanes if parts else None,
            **parts,
        )


def _split(usage: Usage, rates: Rates) -> tuple[tuple[str, float], ...]:
    """A request's dollars by kind of token, priced at the whole prompt's length: prices may step with it."""
    tokens = usage.input_tokens
    prompt = rates.dollars(
        Usage(input_tokens=tokens, cached_tokens=usage.cached_tokens, cache_write_tokens=usage.cache_write_tokens)
    )
    output = rates.dollars(usage) - prompt
    if not usage.cached_tokens and not usage.cache_write_tokens:
        return ("input", prompt), ("output", output)
    cached = write = 0.0
    if usage.cached_tokens and tokens:
        whole = rates.dollars(Usage(input_tokens=tokens, cached_tokens=tokens))
        cached = whole * usage.cached_tokens / tokens
    if usage.cache_write_tokens and tokens:
        whole = rates.dollars(Usage(input_tokens=tokens, cache_write_tokens=tokens))
        write = whole * usage.cache_write_tokens / tokens
    return (
        ("input", max(0.0, prompt - cached - write)),
        ("cached", cached),
        ("cache_write", write),
        ("output", output),
    )
