"""The boxes of one run on the page: latency, requests in flight, money, categories, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headway.report import format as fmt
from headway.report.figures import Summary
from headway.report.page import bar_table, details, figure, section, table, text
from headway.report.svg import QUEUE_SHOWN, histogram_chart, merge_bins, over_time_chart, short_seconds

__all__ = ["Axes", "detail"]

_TABLE_BINS = 16
_TABLE_POINTS = 20


class Axes(NamedTuple):
    """Axes that the charts of several runs share; None: each chart's own."""

    latency: tuple[float, float] | None
    time_s: float | None
    requests: float | None


def detail(s: Summary, id_: str, axes: Axes | None) -> str:
    """Everything about one run but its headline; `id_` keeps ids apart where a page shows several."""
    boxes = [
        section("Latency", _latency(s, id_, axes)),
        section("Requests in flight", _over_time(s, id_, axes)),
    ]
    boxes.append(section("Where the money went", _money(s)))
    if s.categories:
        rows = [(name.replace("\n", " "), float(n), f"{n:,}", "a") for name, n in s.categories.items()]
        if s.categories_other:
            rows.append(("(others)", float(s.categories_other), f"{s.categories_other:,}", "b"))
        boxes.append(section("Categories", bar_table(rows, "rows by answer")))
    parts = [f'<div class="grid2">{"".join(boxes)}</div>']
    if s.failures:
        failed = [
            (f"{f.outcome} {f.code}".strip(), f"{f.count:,}", f"row {f.row + 1}: {f.message}") for f in s.failures
        ]
        parts.append(section("Failures", table(("what", "rows", "the first of them"), failed, left=True), wide=True))
    return "\n".join(parts)


def _latency(s: Summary, id_: str, axes: Axes | None) -> str:
    chart = histogram_chart(s.histogram, x_range=axes.latency if axes else None, id_=f"{id_}-h")
    keys = [("a", "provider calls")] + ([("b", "reused answers")] if s.reuse.hits + s.reuse.joins else [])
    kinds = (
        ("all rows", s.latency),
        ("provider calls", s.call_latency),
        ("cache hits", s.hit_latency),
        ("joined", s.join_latency),
        ("own wait in calls", s.own_wait),
    )
    rows = [
        (label, f"{k.count:,}", *(fmt.seconds(v) for v in (k.mean_s, k.p50_s, k.p95_s, k.p99_s)))
        for label, k in kinds
        if k.count
    ]
    shown = [
        (f"{fmt.seconds(low)} to {fmt.seconds(high)}", f"{calls:,}", f"{reused:,}")
        for low, high, calls, reused in merge_bins(s.histogram, _TABLE_BINS)
    ]
    return (
        figure(chart, keys)
        + table(("", "n", "mean", "p50", "p95", "p99"), rows)
        + details("The histogram as a table", table(("latency", "calls", "reused"), shown))
    )


def _over_time(s: Summary, id_: str, axes: Axes | None) -> str:
    series = s.series
    chart = over_time_chart(
        series.step_s,
        series.in_flight,
        series.waiting,
        x_max_s=axes.time_s if axes else None,
        y_max=axes.requests if axes else None,
        id_=f"{id_}-t",
    )
    keys = [("a", "at the provider")] + (
        [("line", "waiting in our queue")] if max(series.waiting, default=0.0) >= QUEUE_SHOWN else []
    )
    every = max(1, -(-len(series.in_flight) // _TABLE_POINTS))
    rows = [
        (
            short_seconds(i * series.step_s),
            f"{_mean(series.in_flight[i : i + every]):.1f}",
            f"{_mean(series.waiting[i : i + every]):.1f}",
        )
        for i in range(0, len(series.in_flight), every)
    ]
    return figure(chart, keys) + details("As a table", table(("from", "at the provider", "waiting"), rows))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _money(s: Summary) -> str:
    cost = s.cost
    spent = (
        ("input", cost.input, f"{s.tokens.input - s.tokens.cached - s.tokens.cache_write:,} tokens"),
        ("input, cached by the provider", cost.cached, f"{s.tokens.cached:,} tokens"),
        ("input, written to its cache", cost.cache_write, f"{s.tokens.cache_write:,} tokens"),
        ("output", cost.output, f"{s.tokens.output:,} tokens"),
        ("tries that failed", cost.retries, ""),
    )
    prefix = cost.saved_prefix or 0.0
    saved = (
        ("not spent: cache hits", cost.saved_cache),
        ("not spent: joined calls", cost.saved_join),
        ("not spent: prompt caching, net", prefix if prefix > 0 else None),
    )
    rows = [
        (f"{label}\n{what}", value, fmt.dollars(value), "a")
        for label, value, what in spent
        if value or (value is not None and label in ("input", "output"))
    ]
    rows += [(label, value, fmt.dollars(value), "b") for label, value in saved if value]
    told = "The cost is unknown: the price list does not know this model." if cost.total is None else ""
    if prefix < 0:
        told = f"Prompt caching lost {fmt.dollars(-prefix)}: its writes cost more than its reads saved."
    if cost.total is not None and cost.input is None and cost.total > 0:
        rows.insert(0, ("spent", cost.total, fmt.dollars(cost.total), "a"))
    sums = f"{fmt.dollars(cost.total)} in all" if cost.total is not None else "unknown in all"
    return bar_table(rows, f"US dollars, {sums}") + (f'<p class="none">{text(told)}</p>' if told else "")
