"""Results as a run would give them."""

from __future__ import annotations

from typing import Any

from headway.types import Result, Usage


class Flat:
    """Prices: 1 $ an input token, 0.1 cached, 1.25 written, 4 output; doubled above 1,000 input tokens."""

    def dollars(self, usage: Usage) -> float:
        """What those tokens cost."""
        fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        one = fresh + 0.1 * usage.cached_tokens + 1.25 * usage.cache_write_tokens + 4 * usage.output_tokens
        return one * (2 if usage.input_tokens > 1000 else 1)


def result(index: int = 0, **fields: Any) -> Result:
    """A row that succeeded with one call, but for what is given."""
    usage = fields.get("usage", Usage(input_tokens=100, output_tokens=5))
    told = {
        "row": {"text": "t"}, "value": "billing", "text": "billing", "latency_s": 1.0, "usage": usage,
        "dollars": Flat().dollars(usage) if usage else 0.0, "cache": "miss", "attempts": 1,
    }  # fmt: skip
    return Result(index=index, **{**told, **fields})
