"""What a fault costs, in tokens, dollars and milliseconds: of one call, before anything was tried.

Prices are those of uncached input; a prefix that the provider has cached costs a tenth. Milliseconds are counted as

    input tokens * 0.1 ms + output tokens * time per output token

with the call log's own median time per output token, and 10 ms where there is no log. The 0.1 ms for an input token are
what middling models take to read a prompt that is not cached (the simulator's profiles assume 0.03 to 0.2); network and
queue stay what they are.
"""

from __future__ import annotations

from statistics import median
from typing import Final, NamedTuple

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.rule import Hit
from headway.prompts.lint.source import Source
from headway.store.rows import LogRow
from headway.wire.prices import Prices, Rates
from headway.wire.tokens import count_tokens

__all__ = ["INPUT_TOKEN_MS", "OUTPUT_TOKEN_MS", "Estimate", "Saved", "output_token_ms"]

INPUT_TOKEN_MS: Final = 0.1
OUTPUT_TOKEN_MS: Final = 10.0


class Saved(NamedTuple):
    """Of one call; dollars of a thousand."""

    tokens: int | None
    output_tokens: int
    dollars_per_1000: float | None
    ms: float | None


class Estimate:
    """Estimates for one source: its model's prices, and its log's speed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        model = source.model or next((call.model for call in reversed(source.calls) if call.model), "")
        self._model = model
        self._rates: Rates | None = Prices().rates(model) if model else None
        self._texts = {text.key: text.text for text in source.texts}
        self._output_ms = output_token_ms(source.calls) or OUTPUT_TOKEN_MS

    def of(self, hit: Hit, fix: Edit | None) -> Saved:
        """What mending one fault saves."""
        given = hit.input_tokens
        if given is None and fix is not None:
            before = self._texts[fix.key][fix.start : fix.end]
            given = max(0, count_tokens(before, self._model) - count_tokens(fix.replacement, self._model))
        if given is None and not hit.output_tokens:
            known = hit.cached_tokens or hit.dollars is not None or hit.ms is not None
            return self._saved(hit, 0.0) if known else Saved(None, 0, None, None)
        return self._saved(hit, given or 0.0)

    def _saved(self, hit: Hit, input_tokens: float) -> Saved:
        tokens = round(input_tokens + hit.output_tokens)
        dollars = hit.dollars
        if dollars is None and self._rates is not None:
            price = self._rates.base
            dollars = input_tokens * price.input + hit.output_tokens * price.output
            dollars += hit.cached_tokens * (price.input - price.cached)
        ms = hit.ms
        if ms is None:
            ms = (input_tokens + hit.cached_tokens) * INPUT_TOKEN_MS + hit.output_tokens * self._output_ms
        return Saved(
            tokens, round(hit.output_tokens), None if dollars is None else round(1_000 * dollars, 6), round(ms, 2)
        )


def output_token_ms(calls: tuple[LogRow, ...]) -> float | None:
    """The median time per output token that a log shows; None when no call shows one."""
    times = []
    for call in calls:
        tokens, end_s = call.output_tokens or 0, call.end_s
        if call.outcome != "ok" or end_s is None or tokens < 2 or not call.flight_id:
            continue
        if call.stream and call.first_content_s is not None:
            times.append((end_s - call.first_content_s) / (tokens - 1) * 1e3)
    return median(times) if times else None
