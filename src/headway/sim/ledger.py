"""The provider's own books: every attempt that reached it, what it used and what it was billed.

Independent of everything the engine records, so that the two can be held against each other. The last rows are
kept (100,000 unless told otherwise); totals are exact over all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from headway.sim.profiles import profile_for
from headway.sim.text import Memo
from headway.types import Usage

__all__ = ["HALF_PRICE", "Ledger", "Row", "Totals", "price_lookup"]

HALF_PRICE: Final = 0.5
"""What batches and the flex tier cost of the price online. Source: OpenAI and Anthropic, their price lists."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt."""

    id: str
    """The request id, as the answer's `x-request-id` gave it."""
    time_wall_s: float
    """When it arrived, Unix seconds."""
    path: str
    model: str
    credential: str
    """Digest of the key (16 hex digits), never the key."""
    content: str
    """Digest of what was asked (16 hex digits): equal for equal requests, streamed or not."""
    attempt: int
    """Which attempt at this content it was, from 1."""
    status: int
    """0 when the connection was dropped before an answer."""
    outcome: str
    """"ok", "throttled", "aborted" (the client left), "auth", "client_error", or the fault's name."""
    stream: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_hour_tokens: int = 0
    """Of the written, those to be kept for an hour: they cost what two uncached ones do."""
    output_tokens: int = 0
    """Generated and billed, reasoning included."""
    reasoning_tokens: int = 0
    dollars: float | None = 0.0
    """Billed; None when nobody knows the model's price."""
    aborted: bool = False
    """The client left before the end; what was generated until then is billed."""
    lane: str = "online"
    """"online", "flex" or "batch"; the last two cost half."""
    batch: str = ""
    """The batch it was a row of."""
    custom_id: str = ""
    """Which row."""


class Totals(msgspec.Struct, kw_only=True):
    """Exact sums since the start or the last reset."""

    attempts: int = 0
    ok: int = 0
    throttled: int = 0
    aborted: int = 0
    failed: int = 0
    """Everything else."""
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    dollars: float = 0.0
    flex: int = 0
    """Attempts at the flex tier."""
    batch: int = 0
    """Rows of batches that were run."""
    unpriced: int = 0
    """Attempts whose price is unknown; their dollars are in no sum."""


class Ledger:
    """Rows and totals.

    Args:
        rows_max: How many rows are kept; the oldest go first.
        dollars: Price of one answer; None where it is unknown.
    """

    def __init__(self, rows_max: int, dollars: Callable[[str, Usage], float | None]) -> None:
        self._rows: deque[Row] = deque(maxlen=rows_max)
        self._dollars = dollars
        self.totals = Totals()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are kept, oldest first."""
        return tuple(self._rows)

    def book(self, row: Row) -> Row:
        """Write a row; its dollars are filled in here."""
        used = row.input_tokens or row.output_tokens
        if used:
            hour = row.cache_hour_tokens
            usage = Usage(
                input_tokens=row.input_tokens + hour, cached_tokens=row.cached_tokens,
                cache_write_tokens=row.cache_write_tokens - hour, output_tokens=row.output_tokens,
                reasoning_tokens=row.reasoning_tokens,
            )  # fmt: skip
            dollars = self._dollars(row.model, usage)
            if dollars is not None and row.lane != "online":
                dollars *= HALF_PRICE
            row = msgspec.structs.replace(row, dollars=dollars)
        self._rows.append(row)
        totals = self.totals
        totals.attempts += 1
        totals.ok += row.outcome == "ok"
        totals.throttled += row.outcome == "throttled"
        totals.aborted += row.outcome == "aborted"
        totals.failed += row.outcome not in ("ok", "throttled", "aborted")
        totals.flex += row.lane == "flex"
        totals.batch += row.lane == "batch"
        totals.input_tokens += row.input_tokens
        totals.cached_tokens += row.cached_tokens
        totals.cache_write_tokens += row.cache_write_tokens
        totals.output_tokens += row.output_tokens
        totals.reasoning_tokens += row.reasoning_tokens
        totals.dollars += row.dollars or 0.0
        totals.unpriced += row.dollars is None
        return row

    def reset(self) -> None:
        """Start new books."""
        self._rows.clear()
        self.totals = Totals()

    def export(self) -> bytes:
        """``{"totals": {...}, "rows": [...]}`` as JSON; `rows_dropped` counts those no longer kept."""
        dropped = self.totals.attempts - len(self._rows)
        return msgspec.json.encode({"totals": self.totals, "rows_dropped": dropped, "rows": list(self._rows)})


def price_lookup() -> Callable[[str, Usage], float | None]:
    """Dollars of an answer by the published prices of the model that is played, looked up once per model."""
    rates: Memo[str, tuple[Any]] = Memo(256)

    def dollars(model: str, usage: Usage) -> float | None:
        found = rates.get(model)
        if found is None:
            from headway.wire.prices import Prices  # takes 0.1 s to import: paid at the first bill

            played = profile_for(model)
            origin = played[1].origin if played else ""
            found = rates.put(model, (Prices().rates(model, origin),))
        return None if found[0] is None else float(found[0].dollars(usage))

    return dollars
