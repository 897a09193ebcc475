"""The first view, put together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headway.insight.calls import NameOf
from headway.insight.cell import HITS, Cell
from headway.insight.documents import (
    CallLine,
    Choice,
    Choices,
    Filters,
    Layer,
    LimitUse,
    Live,
    Money,
    Overview,
    Series,
    Spent,
    Tier,
    Totals,
    UpstreamLine,
)
from headway.insight.fold import Rollup
from headway.insight.histogram import quantiles
from headway.insight.view import Figures, Slot, Spending, View

__all__ = ["Now", "NowUpstream", "overview_of"]

CHOICES_MAX, SPENT_MAX = 100, 20
LAST_MIN = 5
"""So many tries tell how an upstream does now."""
_CACHE_LAYERS = ("memory", "sqlite", "redis", "stale")
_TIERS = (*_CACHE_LAYERS[:3], "joined", "stale")


class NowUpstream(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway knows of an upstream at this moment."""

    name: str
    origin: str
    queued: int = 0
    limits: list[LimitUse] = []
    breaker: str = "none"


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway knows at this moment, over all workers."""

    version: str = ""
    live: Live = Live()
    upstreams: list[NowUpstream] = []


def overview_of(
    view: View,
    rollup: Rollup,
    now: Now,
    *,
    now_wall_s: float,
    name_of: NameOf,
    log: str,
    log_note: str = "",
    calls: list[CallLine],
) -> Overview:
    """The document.

    Args:
        view: Whose.
        rollup: What was counted.
        now: What the gateway knows.
        now_wall_s: Unix seconds.
        name_of: What keys are called.
        log: As in `Overview`.
        log_note: Likewise.
        calls: The last ones, the latest first.
    """
    slots, whole = view.figures(rollup, now_wall_s)
    first_s = view.first(now_wall_s) * view.width_s
    prompts_saved = _prompts_saved(whole, now)
    return Overview(
        now_wall_s=now_wall_s,
        version=now.version,
        filters=view.filters,
        choices=_choices(whole, name_of),
        log=log,
        log_note=log_note,
        live=now.live,
        totals=_totals(whole.sum, now_wall_s - first_s),
        series=_series(slots, first_s, view.width_s),
        tiers=_tiers(whole.sum, prompts_saved),
        upstreams=_upstreams(slots, whole, now, view.filters),
        money=Money(
            by_key=_spent(whole.by_key, name_of),
            by_model=_spent(whole.by_model, str),
            by_layer=_layers(whole.sum, prompts_saved),
        ),
        calls=calls,
    )


def _prompts_saved(whole: Figures, now: Now) -> float:
    if not whole.cached:
        return 0.0
    from headway.insight.prompt_cache import saved_dollars  # prices take a tenth of a second to import

    origins = {upstream.name: upstream.origin for upstream in now.upstreams}
    return saved_dollars({(model, origins.get(name, name)): both for (model, name), both in whole.cached.items()})


def _choices(whole: Figures, name_of: NameOf) -> Choices:
    lists = []
    for nth, seen in enumerate(whole.seen):
        ranked = sorted(((count, name) for name, count in seen.items() if name), reverse=True)[:CHOICES_MAX]
        lists.append([Choice(name, name_of(name) if nth == 0 else name) for _, name in ranked])
    return Choices(keys=lists[0], models=lists[1], routes=lists[2], upstreams=lists[3])


def _totals(cell: Cell, covered_s: float) -> Totals:
    return Totals(
        calls=cell.calls,
        requests_per_s=cell.calls / covered_s,
        failed=cell.failed,
        throttled=cell.throttled,
        input_tokens=cell.input_tokens,
        output_tokens=cell.output_tokens,
        dollars=cell.dollars,
        dollars_unknown=cell.unknown,
        saved_dollars=cell.saved_dollars,
        wasted_dollars=cell.wasted_dollars,
        ttft=quantiles(cell.ttft),
        total=quantiles(cell.total),
    )


def _series(slots: Sequence[Slot], first_s: float, width_s: float) -> Series:
    cells = [slot.figures.sum for slot in slots]
    return Series(
        bucket_s=width_s,
        at_wall_s=[first_s + nth * width_s for nth in range(len(slots))],
        calls=[cell.calls for cell in cells],
        failed=[cell.failed for cell in cells],
        throttled=[cell.throttled for cell in cells],
        hits=[cell.hits for cell in cells],
        ttft_p50_s=[slot.ttft.p50_s for slot in slots],
        ttft_p95_s=[slot.ttft.p95_s for slot in slots],
        ttft_p99_s=[slot.ttft.p99_s for slot in slots],
        total_p50_s=[slot.total.p50_s for slot in slots],
        total_p95_s=[slot.total.p95_s for slot in slots],
        total_p99_s=[slot.total.p99_s for slot in slots],
        dollars=[cell.dollars for cell in cells],
        saved_dollars=[cell.saved_dollars for cell in cells],
    )


def _tiers(cell: Cell, prompts_saved: float) -> list[Tier]:
    """Of calls that were answered, in a fixed order; the shares of all but the prompt cache's add up to 1."""
    answered = cell.answered
    calls = answered or 1
    found = [
        Tier(tier=word, count=int(count), share=count / calls, saved_dollars=saved)
        for word in _TIERS
        if (count := cell.caches.get(word, (0, 0.0))[0]) and (saved := cell.caches[word][1]) is not None
    ]
    missed = answered - cell.hits
    if missed > 0:
        found.append(Tier(tier="miss", count=missed, share=missed / calls))
    if cell.cached_tokens:
        share = cell.cached_tokens / max(1, cell.input_tokens)
        found.append(Tier(tier="prompt cache", count=cell.cached_tokens, share=share, saved_dollars=prompts_saved))
    return found


def _upstreams(slots: Sequence[Slot], whole: Figures, now: Now, filters: Filters) -> list[UpstreamLine]:
    """Those that are configured, and those that were asked; the busiest first."""
    known = {upstream.name: upstream for upstream in now.upstreams}
    lines = []
    for name in {*known, *whole.upstreams}:
        if filters.upstream and name != filters.upstream:
            continue
        there, counted = known.get(name), whole.upstreams.get(name)
        last, last_failed = _last(slots, name) if counted is not None else (0, 0)
        lines.append(
            UpstreamLine(
                name=name,
                origin=there.origin if there is not None else "",
                attempts=counted.attempts if counted is not None else 0,
                failed=counted.failed if counted is not None else 0,
                throttled=counted.throttled if counted is not None else 0,
                ttft=quantiles(counted.tries if counted is not None else {}),
                queued=there.queued if there is not None else 0,
                limits=there.limits if there is not None else [],
                breaker=there.breaker if there is not None else "none",
                last=last,
                last_failed=last_failed,
            )
        )
    return sorted(lines, key=lambda line: (-line.attempts, line.name))[:CHOICES_MAX]


def _last(slots: Sequence[Slot], name: str) -> tuple[int, int]:
    """How many tries there were of an upstream in the youngest stretches that hold enough of them; and failures."""
    tries = failures = 0
    for slot in reversed(slots):
        if (line := slot.figures.upstreams.get(name)) is not None:
            tries += line.attempts
            failures += line.failed
            if tries >= LAST_MIN:
                break
    return tries, failures


def _spent(table: Spending, name_of: NameOf) -> list[Spent]:
    ranked = sorted(table.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))[:SPENT_MAX]
    return [
        Spent(
            id=id_, name=name_of(id_), calls=int(calls), dollars=dollars, saved_dollars=saved,
            wasted_dollars=wasted,
        )
        for id_, (calls, dollars, saved, wasted) in ranked
    ]  # fmt: skip


def _layers(cell: Cell, prompts_saved: float) -> list[Layer]:
    kept = [cell.caches[word] for word in _CACHE_LAYERS if word in cell.caches]
    joined = cell.caches.get("joined", [0, 0.0])
    found = [
        Layer(layer="cache", count=int(sum(count for count, _ in kept)), saved_dollars=sum(saved for _, saved in kept)),
        Layer(layer="join", count=int(joined[0]), saved_dollars=joined[1]),
        Layer(layer="prompt cache", count=cell.cached_tokens, saved_dollars=prompts_saved),
        *(
            Layer(layer=word, count=int(count), wasted_dollars=dollars)
            for word, (count, dollars) in sorted(cell.wasted.items())
        ),
    ]
    return [layer for layer in found if layer.count]


assert set(_TIERS) == HITS
