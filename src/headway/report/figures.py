"""What a run came to: `Summary`, frozen, and its parts. Times in seconds, money in US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import msgspec

__all__ = ["Accuracy", "Cost", "Failure", "LatencyFigures", "Reuse", "Series", "Summary", "Tokens", "wilson"]


class LatencyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of rows that succeeded. p95_s is None below 20 values, p99_s below 100: fewer do not reach so far."""

    count: int = 0
    mean_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Of `count` answers whose right one is known, `right` were; `low`..`high` is the 95 % Wilson interval.

    An answer that broke its constraint counts as wrong; a row that got no answer at all does not count.
    """

    count: int
    right: int
    ratio: float
    low: float
    high: float


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answers fetched in this run; `cached` is part of `input`, `reasoning` of `output`."""

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False
    """Some counts were estimated, for the provider did not report them."""
    reused: int = 0
    """Input and output tokens of answers that came from the cache or were joined: not paid again."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars; None is "unknown", and one unknown row makes the sum unknown."""

    total: float | None = None
    per_1000_rows: float | None = None
    known: float = 0.0
    """The sum over the rows whose cost is known."""
    rows_unknown: int = 0
    input: float | None = None
    cached: float | None = None
    cache_write: float | None = None
    output: float | None = None
    retries: float | None = None
    """What was paid beyond the answers' own tokens: tries that failed and yet were billed."""
    saved_cache: float | None = None
    saved_join: float | None = None
    """What the reused answers had cost when they were fetched; None when any of that is unknown."""
    saved_prefix: float | None = None
    """Net, by the provider's prompt cache: what reads saved less what writes cost more; below 0 a loss."""
    saved_lane: float | None = None
    """By rows in batches and at the flex tier, against the same rows online."""


class Reuse(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows got their answers. `hit_rate` is hits, `reuse_rate` hits and joins, of rows that looked."""

    hits: int = 0
    joins: int = 0
    misses: int = 0
    off: int = 0
    hit_rate: float | None = None
    reuse_rate: float | None = None
    """None when reuse was off."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that failed alike, with the message of the first of them, whose index (from 0) is `row`."""

    outcome: str
    code: str
    count: int
    row: int
    message: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Means over consecutive slots of `step_s`, at most 300: requests at the provider, and in our queue."""

    step_s: float = 0.0
    in_flight: tuple[float, ...] = ()
    waiting: tuple[float, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to. `to_dict()` is what ``--json`` prints."""

    model: str
    rows: int
    resumed: int
    """Rows that an earlier run had answered: counted in what came out, not in what this run took."""
    ok: int
    owed: int
    """Rows of the input that were not done."""
    failed: Mapping[str, int]
    """Outcome -> rows."""
    failures: tuple[Failure, ...]
    runtime_s: float
    requests_per_s: float | None
    """Rows of this run finished a second, however they were answered."""
    latency: LatencyFigures
    """All rows that succeeded: what the caller saw."""
    call_latency: LatencyFigures
    """Rows that asked the provider, our wait included: a cached answer must not flatter a call's latency."""
    hit_latency: LatencyFigures
    join_latency: LatencyFigures
    own_wait: LatencyFigures
    """The part of `call_latency` spent in our queue."""
    output_tokens_mean: float | None
    output_chars_mean: float | None
    tokens: Tokens
    cost: Cost
    reuse: Reuse
    categories: Mapping[str, int]
    """Answer -> rows, the most frequent first, at most 50; empty when the answers are free text."""
    categories_other: int
    accuracy: Accuracy | None
    attempts: int
    """Requests sent to the provider."""
    throttled: int
    """429s among them."""
    allowed_rpm: float | None
    """Requests a minute that the provider allows, as far as is known."""
    allowed_used: float | None
    """Attempts a minute in relation to it; above 1 when a bucket that was full at the start was drawn on."""
    repairs: int
    lanes: Mapping[str, int]
    """Lane -> rows of this run that it answered or failed."""
    series: Series
    histogram: tuple[tuple[float, float, int, int], ...]
    """(from_s, to_s, provider calls, reused answers), latency in log bins."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, ready for JSON."""
        return {name: msgspec.to_builtins(getattr(self, name)) for name in self.__struct_fields__}


_Z = 1.959963984540054  # 97.5 % of the normal distribution lie below: the two-sided 95 % interval


def wilson(right: int, count: int) -> Accuracy:
    """The share of right answers with its 95 % interval; `count` >= 1, 0 <= `right` <= `count`.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927), the score
    interval without continuity correction: it stays inside 0..1 and has width even at 20 of 20.
    """
    ratio, z2 = right / count, _Z * _Z
    middle = (ratio + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * sqrt(ratio * (1 - ratio) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    low = 0.0 if right == 0 else max(0.0, middle - half)  # exact at the ends, where rounding would leave dust
    high = 1.0 if right == count else min(1.0, middle + half)
    return Accuracy(count=count, right=right, ratio=ratio, low=low, high=high)
