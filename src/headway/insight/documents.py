"""What the dashboard is told: the shapes of its documents, which are the admin API's as well.

Seconds, dollars (None: not known, never zero) and Unix seconds (`*_wall_s`) as everywhere. A *key* is a virtual key's
id, or a tenant's digest where there are none; a *route* is an endpoint's path (the client's); a *tier* is where an
answer came from. One call, pipelines and runs are in `details`.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Breaker",
    "CallLine",
    "CallLines",
    "Choice",
    "Choices",
    "Filters",
    "Layer",
    "LimitUse",
    "Live",
    "Money",
    "Overview",
    "Quantiles",
    "Series",
    "Spent",
    "Tier",
    "Totals",
    "UpstreamLine",
]


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Which calls count; "" for all of them."""

    window_s: float = 900.0
    """Back from now, 60 to 604,800."""
    key: str = ""
    model: str = ""
    route: str = ""
    upstream: str = ""


class Choice(msgspec.Struct, frozen=True):
    """One value to filter by, and how it is shown."""

    id: str
    name: str


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to filter by, the most used first, at most 100 of each."""

    keys: list[Choice] = []
    models: list[Choice] = []
    routes: list[Choice] = []
    upstreams: list[Choice] = []


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, within 5 % (see `histogram`); of answered calls. None where there was none."""

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Now, over all workers."""

    workers: int = 1
    in_flight: int = 0
    queued: int = 0
    queued_by_priority: dict[str, int] = {}
    """"high", "normal" and "low"."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Over the window."""

    calls: int = 0
    requests_per_s: float = 0.0
    failed: int = 0
    throttled: int = 0
    """Attempts that were answered 429."""
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    dollars_unknown: int = 0
    """Calls whose price is not known."""
    saved_dollars: float = 0.0
    wasted_dollars: float = 0.0
    """Paid for tries that did not answer: retries, losing hedges, what was abandoned."""
    ttft: Quantiles = Quantiles()
    total: Quantiles = Quantiles()


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Over time: one value a bucket in every list; the last bucket is still being filled."""

    bucket_s: float = 5.0
    at_wall_s: list[float] = []
    """Where buckets begin."""
    calls: list[int] = []
    failed: list[int] = []
    throttled: list[int] = []
    hits: list[int] = []
    ttft_p50_s: list[float | None] = []
    ttft_p95_s: list[float | None] = []
    ttft_p99_s: list[float | None] = []
    total_p50_s: list[float | None] = []
    total_p95_s: list[float | None] = []
    total_p99_s: list[float | None] = []
    dollars: list[float] = []
    saved_dollars: list[float] = []


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Where answers came from: "memory", "sqlite", "redis", "joined", "stale", "miss", "prompt cache" (tokens)."""

    tier: str
    count: int
    share: float
    saved_dollars: float = 0.0


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a limit is used: `share` is 0 to 1."""

    scope: str
    """Model, or what else the provider counts by."""
    kind: str
    """"requests", "tokens", "input_tokens" or "output_tokens", a minute."""
    per_min: float | None
    share: float | None
    learned: bool = False
    """The provider itself has named it; else it is configured."""


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker: "closed" (all is well), "open" or "half-open"; "none" where there is none."""

    name: str
    state: str


class UpstreamLine(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream over the window, and its limits now."""

    name: str
    origin: str
    """"" where nobody knows it any more."""
    attempts: int = 0
    """Tries that were sent, or tried to connect."""
    failed: int = 0
    throttled: int = 0
    ttft: Quantiles = Quantiles()
    """Of tries, from when they were sent."""
    queued: int = 0
    limits: list[LimitUse] = []
    breaker: str = "none"
    """As in `Breaker`. There is none where no other upstream could be taken instead: none is configured."""
    last: int = 0
    """How many tries there were lately: about the last 5, as far back as the window goes."""
    last_failed: int = 0
    """How many of those failed."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Money by a key or a model."""

    id: str
    name: str
    calls: int
    dollars: float
    saved_dollars: float
    wasted_dollars: float


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer of the engine saved and what it wasted."""

    layer: str
    """"cache", "join", "prompt cache" (tokens; net of what writing to it cost more), "retry", "hedge" (tries that lost
    to another), "abandoned" (nobody wanted them any more)."""
    count: int
    saved_dollars: float = 0.0
    wasted_dollars: float = 0.0


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars over the window, the greatest first, at most 20 of each."""

    by_key: list[Spent] = []
    by_model: list[Spent] = []
    by_layer: list[Layer] = []


class CallLine(msgspec.Struct, frozen=True, kw_only=True):
    """One call in the list of the last ones."""

    id: str
    start_wall_s: float
    key: str
    key_name: str
    model: str
    route: str
    upstream: str
    status: int | None
    outcome: str
    error_code: str
    cache: str
    stream: bool
    attempts: int
    """As in `UpstreamLine`."""
    wait_s: float
    ttft_s: float | None
    total_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    dollars: float | None
    run: str = ""
    step: str = ""


class CallLines(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of the window, the latest first."""

    calls: list[CallLine]
    more: bool
    """There may be more."""
    next: str = ""
    """What to ask for them as `before`: the last one's id, or that of the last call that was looked at where a search
    took long; "" where there are none."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The first view, and every update of it."""

    now_wall_s: float
    version: str
    filters: Filters
    choices: Choices
    log: str
    """"on"; "off": no call is written down, only `live` is told; "loading": older calls are still being read."""
    log_note: str = ""
    """Why there is no log, in a sentence."""
    live: Live
    totals: Totals
    series: Series
    tiers: list[Tier]
    upstreams: list[UpstreamLine]
    money: Money
    calls: list[CallLine]
    """The last 50, the latest first."""
