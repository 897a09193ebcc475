"""What tokens cost, by the ``genai-prices`` package: its data, with arithmetic fast enough for every call.

A model that the package does not know costs None, unknown, and never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from headway.types import Usage

if TYPE_CHECKING:
    from datetime import datetime

    from genai_prices.types import PriceCalculation

__all__ = ["FLEX_RATIO", "Prices", "Rates", "Tier", "tier_ratio"]

FLEX_RATIO = 0.5
_MODELS_MAX = 1024


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars per token of requests of more than `above_tokens` input tokens; the whole request pays them."""

    above_tokens: int = 0
    input: float
    cached: float
    cache_write: float
    cache_write_1h: float
    output: float


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of one model."""

    base: Tier
    tiers: tuple[Tier, ...] = ()
    """Dearer tiers, the one with the highest threshold first."""
    request: float = 0.0
    """Dollars per request, whatever its size."""
    model: str = ""
    """The package's own name for the model."""
    context_window: int | None = None
    """Input tokens that fit; None when unknown."""

    def dollars(self, usage: Usage) -> float:
        """What `usage` costs in dollars: uncached input, cache reads, cache writes, output."""
        input_tokens, cached = usage.input_tokens, usage.cached_tokens
        tier = self._tier(input_tokens) if self.tiers else self.base
        fresh = input_tokens - cached - usage.cache_write_tokens
        return (
            self.request
            + (fresh * tier.input if fresh > 0 else 0.0)
            + cached * tier.cached
            + usage.cache_write_tokens * tier.cache_write
            + usage.cache_write_1h_tokens * (tier.cache_write_1h - tier.cache_write)
            + usage.output_tokens * tier.output
        )

    def worst_case(self, input_tokens: int, output_tokens_max: int) -> float:
        """The most that a request can cost: nothing cached, all written to the cache, all output used."""
        tier = self._tier(input_tokens)
        dearest = max(tier.input, tier.cache_write, tier.cache_write_1h)
        return self.request + input_tokens * dearest + output_tokens_max * tier.output

    def _tier(self, input_tokens: int) -> Tier:
        for tier in self.tiers:
            if input_tokens > tier.above_tokens:
                return tier
        return self.base


def tier_ratio(body: bytes) -> float:
    """What a request's service tier makes of the price: flex costs half.

    Source: FACTS section 2 (flex costs what Batch does). Where flex was asked for and not had, the provider refuses.
    """
    return FLEX_RATIO if b'"service_tier":"flex"' in body else 1.0


class Prices:
    """Rates by model, looked up once each.

    Args:
        at: The time whose prices count; None for the time of each model's first look-up. Prices change on set
            dates, so a replay that must give the same dollars every day names its own.
    """

    __slots__ = ("_at", "_known")

    def __init__(self, *, at: datetime | None = None) -> None:
        self._at = at
        self._known: dict[tuple[str, str], Rates | None] = {}

    def rates(self, model: str, origin: str = "") -> Rates | None:
        """The rates of `model`; None when unknown.

        Args:
            model: As in the request or the reply ("gpt-5.4-mini", "gpt-4o-2024-08-06").
            origin: Where it is served ("https://api.openai.com"). One that sells no such model, or a
                simulator on loopback, is priced by the model's name alone.
        """
        key = (model, origin)
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= _MODELS_MAX:
            del self._known[next(iter(self._known))]
        rates = self._known[key] = self._look_up(model, origin)
        return rates

    def _look_up(self, model: str, origin: str) -> Rates | None:
        if not model:
            return None
        from genai_prices import Usage as NoUsage  # 0.1 s: imported when the first price is asked for
        from genai_prices import calc_price

        # By where it is served; else by the name, which tells whose most models are, embeddings excepted.
        for url in (origin or None, None, "https://api.openai.com"):
            try:
                found = calc_price(NoUsage(), model, provider_api_url=url, genai_request_timestamp=self._at)
            except LookupError:
                continue
            return _rates(found)
        return None


def load() -> None:
    """Have the price list ready ahead of its first use; from a thread, so that no event loop waits for it."""
    Prices().rates("gpt-4o")  # its data are imported by the first look-up only, which takes 20 ms more


def _rates(found: PriceCalculation) -> Rates | None:
    price: Any = found.model_price
    if price.input_mtok is None:
        return None  # listed without a price
    columns = [price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok]
    columns.append(getattr(price, "cache_write_1h_mtok", None))
    thresholds = {tier.start for column in columns for tier in getattr(column, "tiers", ())}
    return Rates(
        base=_tier(columns, -1),
        tiers=tuple(_tier(columns, start) for start in sorted(thresholds, reverse=True)),
        request=0.0 if price.requests_kcount is None else float(price.requests_kcount) / 1e3,
        model=found.model.id,
        context_window=found.model.context_window,
    )


def _tier(columns: list[Any], start: int) -> Tier:
    """The rates just above `start` input tokens (-1: the base rates)."""
    rates: list[float | None] = []
    for column in columns:
        rate = getattr(column, "base", column)
        for tier in getattr(column, "tiers", ()):  # ascending
            if tier.start <= start:
                rate = tier.price
        rates.append(None if rate is None else float(rate) / 1e6)
    input_, cached, cache_write, output, cache_write_1h = rates
    input_ = input_ or 0.0
    cache_write = input_ if cache_write is None else cache_write
    return Tier(
        above_tokens=max(start, 0),
        input=input_,
        cached=input_ if cached is None else cached,  # no rate of its own: it costs what input costs
        cache_write=cache_write,
        cache_write_1h=cache_write if cache_write_1h is None else cache_write_1h,
        output=output or 0.0,
    )
