"""What each lane would cost and take: arithmetic on what a plan's pass found. Pure.

Money: requests times the price of a mean one, by price tier. Time online: the limits are token buckets
(FACTS section 2), so n requests at a limit of r a minute take (n - r) / r minutes when the bucket is full at the start,
and n / r when it is empty; the same for tokens; and one answer's latency on top. Batches (FACTS section 3): half are
done within 7 minutes, nine in ten within the hour, tails reach 24 h. A log-normal distribution through those two
points says when the last of several is done, if they end independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, inf, log
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import msgspec

from headway.policy.lanes import FLEX_SLOWER, PROBE_ROWS, LaneName, LanePolicy, LaneSettings, Outlook
from headway.policy.parcels import ParcelBounds
from headway.report.plan_figures import Assumed, Interval, LanePlan
from headway.types import Usage
from headway.wire.batch import PRICE_RATIO, BatchFormat
from headway.wire.prices import FLEX_RATIO, Rates

__all__ = ["Pace", "Terms", "Work", "auto_lane", "lane_plans"]

_Sure: TypeAlias = Literal["yes", "perhaps", "no", "unknown", ""]

LATENCY_PRIOR: Final = Interval(1.0, 15.0)
"""Seconds an answer takes, half of them and nearly all of them, where no call was seen yet: assumed."""
_BATCH_P50_S: Final = 7 * 60.0
_BATCH_P90_S: Final = 3600.0
_BATCH_MAX_S: Final = 24 * 3600.0
_NORMAL: Final = NormalDist()
_SIGMA: Final = log(_BATCH_P90_S / _BATCH_P50_S) / _NORMAL.inv_cdf(0.9)
_PARCEL: Final = ParcelBounds()
_LINE_BYTES: Final = 128
"""What a line of a batch has besides the request: its id, method and path."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that are known or assumed; None: not a limit."""

    name: str
    requests_per_min: float | None = None
    tokens_per_min: float | None = None


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be sent."""

    requests: int
    groups: tuple[tuple[float, float], ...]
    """Requests and their estimated input tokens, by price tier."""
    input_factor: Interval
    """What the estimate has to be multiplied by."""
    output: Interval
    """Mean output tokens."""
    bound: int | None
    prefix_tokens: int = 0
    """What the provider's prompt cache would keep; 0 where it would not."""
    body_bytes: int = 0

    @property
    def input_tokens(self) -> Interval:
        """In all."""
        tokens = sum(tokens for _, tokens in self.groups)
        return Interval(tokens * self.input_factor.low, tokens * self.input_factor.high)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the lanes are judged by."""

    rates: Rates | None
    pace: Pace | None
    """None: the limits are not known."""
    assumed: tuple[Pace, ...] = ()
    """Then these are shown instead."""
    latency_s: Interval = LATENCY_PRIOR
    concurrency: int = 512
    deadline_s: float = inf
    budget_usd: float = inf
    batch: BatchFormat | None = None
    flex: bool = False

    @property
    def offers(self) -> frozenset[LaneName]:
        """The lanes that there are."""
        names: set[LaneName] = {"online"}
        if self.flex:
            names.add("flex")
        if self.batch is not None:
            names.add("batch")
        return frozenset(names)


def lane_plans(work: Work, terms: Terms) -> tuple[LanePlan, ...]:
    """One for each lane that there is, "auto" last where there is a choice."""
    lanes = [_online(work, terms)]
    if terms.flex:
        lanes.append(_flex(work, terms, lanes[0]))
    if terms.batch is not None:
        lanes.append(_batch(work, terms, terms.batch))
    if len(lanes) > 1:
        lanes.append(_auto(work, terms, lanes))
    return tuple(lanes)


def auto_lane(work: Work, terms: Terms) -> LaneName:
    """The lane that `policy.lanes` would choose for the first row behind the probes, if it all goes as planned."""
    row = _dollars(work, terms.rates, 1.0, prefix=False)[0]
    rate = _rows_per_s(work, terms.pace)
    policy = LanePolicy(LaneSettings(lane="auto", deadline_s=terms.deadline_s, rows_per_s=rate), terms.offers)
    look = Outlook(
        rows_left=work.requests,
        online_per_s=rate,
        row_dollars=row.high / work.requests if row is not None and work.requests else None,
        dollars_left=terms.budget_usd,
    )
    chosen: LaneName = "online"
    for _ in range(min(work.requests, PROBE_ROWS + 1)):
        chosen = policy.choose(look)
    return chosen


def _online(work: Work, terms: Terms) -> LanePlan:
    dollars, most = _dollars(work, terms.rates, 1.0, prefix=True)
    eta_s = None if terms.pace is None else _online_s(work, terms, terms.pace)
    assumed = () if terms.pace is not None else terms.assumed
    return _judged(
        terms,
        LanePlan(
            name="online",
            dollars=dollars,
            dollars_max=most,
            eta_s=eta_s,
            assumed=tuple(Assumed(limits=pace.name, eta_s=_online_s(work, terms, pace)) for pace in assumed),
            note=terms.pace.name if terms.pace is not None else "limits unknown until the first answers",
        ),
    )


def _flex(work: Work, terms: Terms, online: LanePlan) -> LanePlan:
    dollars, most = _dollars(work, terms.rates, FLEX_RATIO, prefix=True)
    return _judged(
        terms,
        LanePlan(
            name="flex",
            dollars=dollars,
            dollars_max=most,
            eta_s=_slower(online.eta_s),
            assumed=tuple(msgspec.structs.replace(one, eta_s=_slower(one.eta_s)) for one in online.assumed),
            note=f"half price, up to {FLEX_SLOWER:g} times as slow, as room is",
        ),
    )


def _slower(eta_s: Interval | None) -> Interval | None:
    return None if eta_s is None else Interval(eta_s.low, eta_s.high * FLEX_SLOWER)


def _batch(work: Work, terms: Terms, batch: BatchFormat) -> LanePlan:
    dollars, most = _dollars(work, terms.rates, PRICE_RATIO, prefix=False)
    bytes_ = work.body_bytes + _LINE_BYTES * work.requests
    rows_max, bytes_max = min(batch.rows_max, _PARCEL.rows_max), min(batch.bytes_max, _PARCEL.bytes_max)
    count = max(1, ceil(work.requests / rows_max), ceil(bytes_ / bytes_max))
    return _judged(
        terms,
        LanePlan(
            name="batch",
            dollars=dollars,
            dollars_max=most,
            eta_s=Interval(_last_done_s(count, 0.5), _last_done_s(count, 0.9)) if work.requests else Interval(0.0, 0.0),
            note=f"half price, {count} batch{'es' * (count > 1)}; some take up to 24 h",
        ),
    )


def _auto(work: Work, terms: Terms, lanes: Sequence[LanePlan]) -> LanePlan:
    """A few rows online, the others in the lane chosen; with a deadline they may be called back and go online."""
    online = lanes[0]
    name = auto_lane(work, terms)
    chosen = next(lane for lane in lanes if lane.name == name)
    dollars, eta_s = chosen.dollars, chosen.eta_s
    if chosen is not online:
        probes = min(PROBE_ROWS, work.requests) / max(1, work.requests)
        if dollars is not None and online.dollars is not None:
            low = probes * online.dollars.low + (1 - probes) * dollars.low
            high = probes * online.dollars.high + (1 - probes) * dollars.high
            dollars = Interval(low, high if terms.deadline_s == inf else online.dollars.high)
        if eta_s is not None and online.eta_s is not None and name == "batch":
            eta_s = Interval(eta_s.low, min(eta_s.high, max(terms.deadline_s, online.eta_s.high)))
    called_back = name == "batch" and terms.deadline_s < inf
    return _judged(
        terms,
        LanePlan(
            name="auto",
            dollars=dollars,
            dollars_max=online.dollars_max,
            eta_s=eta_s,
            assumed=chosen.assumed,
            note=f"would take {name}" + ("; what is not back in time goes online" if called_back else ""),
        ),
    )


def _dollars(work: Work, rates: Rates | None, ratio: float, *, prefix: bool) -> tuple[Interval | None, float | None]:
    """Low and high, and the most with every answer at its bound; None where the price or the bound is not known."""
    if rates is None:
        return None, None
    low = high = most = 0.0
    kept = work.prefix_tokens if prefix else 0
    for requests, tokens in work.groups:
        mean = tokens / requests if requests else 0.0
        least, dearest = round(mean * work.input_factor.low), round(mean * work.input_factor.high)
        read = Usage(input_tokens=least, cached_tokens=min(kept, least), output_tokens=round(work.output.low))
        low += requests * rates.dollars(read)
        written = Usage(
            input_tokens=dearest, cache_write_tokens=min(kept, dearest), output_tokens=round(work.output.high)
        )
        high += requests * rates.dollars(written)
        most += requests * rates.worst_case(dearest, work.bound or 0)
    spread = Interval(round(min(low, high) * ratio, 9), round(high * ratio, 9))
    return spread, None if work.bound is None else round(max(most, high) * ratio, 9)


def _online_s(work: Work, terms: Terms, pace: Pace) -> Interval:
    """Low: full buckets, charges as short as the answers. High: empty ones, charges by the bound."""
    n = work.requests
    if not n:
        return Interval(0.0, 0.0)
    tokens = work.input_tokens
    low = high = n * terms.latency_s.low / terms.concurrency
    charged = Interval(tokens.low + n * work.output.low, tokens.high + n * (work.bound or work.output.high))
    for cost, limit in (
        (Interval(n, n), pace.requests_per_min),
        (charged, pace.tokens_per_min),
    ):
        if limit is not None:
            low = max(low, (cost.low - limit) / limit * 60.0)
            high = max(high, cost.high / limit * 60.0)
    return Interval(round(low + terms.latency_s.low, 1), round(high + terms.latency_s.high, 1))


def _rows_per_s(work: Work, pace: Pace | None) -> float | None:
    """Rows a second that the limits allow; None where they are not known."""
    if pace is None or not work.requests:
        return None
    charge = work.input_tokens.high / work.requests + (work.bound or work.output.high)
    by_tokens = inf if pace.tokens_per_min is None else pace.tokens_per_min / max(1.0, charge)
    per_min = min(by_tokens, inf if pace.requests_per_min is None else pace.requests_per_min)
    return per_min / 60.0 if per_min < inf else None


def _last_done_s(batches: int, q: float) -> float:
    """By when the last of so many batches is done with probability `q`: each has to be, with q ** (1 / batches)."""
    z = _NORMAL.inv_cdf(q ** (1.0 / batches))
    return round(min(_BATCH_MAX_S, _BATCH_P50_S * exp(_SIGMA * z)), 1)


def _judged(terms: Terms, lane: LanePlan) -> LanePlan:
    """The lane with its verdicts on deadline and budget."""
    return msgspec.structs.replace(
        lane, in_time=_within(lane.eta_s, terms.deadline_s), in_budget=_within(lane.dollars, terms.budget_usd)
    )


def _within(interval: Interval | None, most: float) -> _Sure:
    if most == inf:
        return ""
    if interval is None:
        return "unknown"
    if interval.high <= most:
        return "yes"
    return "perhaps" if interval.low <= most else "no"
