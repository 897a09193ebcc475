"""What a plan says: `Plan`, frozen, and its parts. Times in seconds, money in US dollars; None is "unknown"."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Assumed", "Bar", "Cached", "InputTokens", "Interval", "LanePlan", "OutputTokens", "Plan"]


class Interval(msgspec.Struct, frozen=True):
    """Between which two values something is expected; what the two stand for is said where it is used."""

    low: float
    high: float


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of more than half of `tokens_max` input tokens, and of at most that."""

    tokens_max: int
    requests: int


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Input tokens of the requests that are owed, one by one and in all."""

    total: Interval
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    bars: tuple[Bar, ...] = ()
    source: str = ""
    """How they were counted."""


class OutputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Output tokens of one request: the mean that is expected, and the most that the request allows."""

    mean: Interval
    bound: int | None
    """None: nothing bounds it."""
    source: str
    samples: int = 0
    """Answers in the call log that `mean` was taken from; 0: it is a prior."""
    p99: float | None = None
    """Of those answers, from 100 of them on."""


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct requests whose answers are at hand."""

    requests: int = 0
    looked_up: int = 0
    """How many were looked up; where that is fewer than there are, `requests` is extrapolated."""
    extrapolated: bool = False


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a lane would take if the limits were these."""

    limits: str
    eta_s: Interval


class LanePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane would cost and take.

    Dollars, low: mean outputs as short as expected, the fixed prefix read from the provider's cache where it is long
    enough. High: mean outputs as long as expected, nothing cached. `dollars_max`: every answer as long as its bound.
    None of the three counts repairs of malformed answers.
    """

    name: str
    dollars: Interval | None
    dollars_max: float | None
    """None: the price is unknown, or nothing bounds the output."""
    eta_s: Interval | None
    """None: it depends on limits that are not known; then see `assumed`."""
    assumed: tuple[Assumed, ...] = ()
    in_time: Literal["yes", "perhaps", "no", "unknown", ""] = ""
    """Whether it would be done by the deadline; "" where there is none."""
    in_budget: Literal["yes", "perhaps", "no", "unknown", ""] = ""
    note: str = ""
    """What the figures rest on."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would do; nothing was sent. Of `rows`, all that are not counted elsewhere are `requests`."""

    input: str
    model: str
    rows: int
    unreadable: int
    """Rows with a problem: they end in the output with their error, and cost nothing."""
    finished: int
    """Rows that an earlier run had finished."""
    batched: int
    """Rows in batches of an earlier run that are still out: not handed in again, and not in the dollars here."""
    repeated: int
    """Rows that ask what an earlier row asks as well: one answer serves them all."""
    cached: Cached
    requests: int
    """What would be sent."""
    input_tokens: InputTokens
    output_tokens: OutputTokens
    prefix_tokens: int
    """What all requests have in common at their beginning, about."""
    prefix_saves: float | None
    """Dollars that the provider's prompt cache saves at most, in `dollars.low`; None: nothing, or unknown."""
    lanes: tuple[LanePlan, ...]
    lane: str
    """The lane that was asked for: "online", "flex", "batch" or "auto"."""
    auto: str
    """The lane that ``--lane auto`` would take for most rows."""
    deadline_s: float | None
    budget_usd: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, ready for JSON."""
        return {name: msgspec.to_builtins(getattr(self, name)) for name in self.__struct_fields__}
