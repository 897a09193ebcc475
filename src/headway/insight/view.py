"""What pages with equal filters see of the rollup. What was worked out of a stretch of time holds until it changes."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from math import ceil
from typing import Final, TypeAlias

from msgspec.structs import replace

from headway.insight.cell import Cell
from headway.insight.documents import Filters
from headway.insight.fold import TIERS_S, Bucket, Names, Rollup, tier_for
from headway.insight.histogram import Histogram, merge, quantiles

__all__ = ["Figures", "Slot", "Spending", "View", "matches", "rounded"]

_BLOCK: Final = 16
"""So many places are summed up together, and kept until one of them changes."""

Mark: TypeAlias = tuple[int, int, int]
"""Tier, number and version: which stretch of time, as it was at a moment. Another rollup needs another view."""
Marks: TypeAlias = tuple[Mark, ...]

Spending: TypeAlias = dict[str, list[float]]
"""By id: [calls, dollars, saved, wasted]."""


class Upstreams:
    """What was counted of one upstream's tries."""

    __slots__ = ("attempts", "failed", "throttled", "tries")

    def __init__(self) -> None:
        self.attempts = self.failed = self.throttled = 0
        self.tries: Histogram = {}


class Figures:
    """Sums over some cells."""

    __slots__ = ("by_key", "by_model", "cached", "seen", "sum", "upstreams")

    def __init__(self) -> None:
        self.sum = Cell()
        self.by_key: Spending = {}
        self.by_model: Spending = {}
        self.upstreams: dict[str, Upstreams] = {}
        self.cached: dict[tuple[str, str], list[int]] = {}
        """By model and upstream: input tokens that the provider's prompt cache had, and that were written to it."""
        self.seen: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        """How often each key, model, route and upstream occurs, whatever the filters."""

    def see(self, names: Names, cell: Cell) -> None:
        """Count a cell's names."""
        count = cell.calls + cell.attempts
        for seen, name in zip(self.seen, names, strict=True):
            seen[name] = seen.get(name, 0) + count

    def take(self, names: Names, cell: Cell) -> None:
        """Count a cell that the filters let through."""
        self.sum.add(cell)
        key, model, _, upstream = names
        wasted = cell.wasted_dollars
        for table, name in ((self.by_key, key), (self.by_model, model)):
            spent = table.setdefault(name, [0, 0.0, 0.0, 0.0])
            spent[0] += cell.calls
            spent[1] += cell.dollars
            spent[2] += cell.saved_dollars
            spent[3] += wasted
        if cell.attempts:
            line = self.upstreams.setdefault(upstream, Upstreams())
            line.attempts += cell.attempts
            line.failed += cell.attempts_failed
            line.throttled += cell.throttled
            merge(line.tries, cell.tries)
        if cell.cached_tokens or cell.written_tokens:
            tokens = self.cached.setdefault((model, upstream), [0, 0])
            tokens[0] += cell.cached_tokens
            tokens[1] += cell.written_tokens

    @property
    def weight(self) -> int:
        """How many things it holds."""
        tables: tuple[Sized, ...] = (self.by_key, self.by_model, self.upstreams, self.cached, *self.seen)
        return 1 + sum(map(len, tables))

    def add(self, other: Figures) -> None:
        """Count what another one has counted."""
        self.sum.add(other.sum)
        for mine, others in ((self.by_key, other.by_key), (self.by_model, other.by_model)):
            for name, values in others.items():
                spent = mine.get(name)
                if spent is None:
                    mine[name] = list(values)
                else:
                    for nth, value in enumerate(values):
                        spent[nth] += value
        for name, line in other.upstreams.items():
            mine_of = self.upstreams.setdefault(name, Upstreams())
            mine_of.attempts += line.attempts
            mine_of.failed += line.failed
            mine_of.throttled += line.throttled
            merge(mine_of.tries, line.tries)
        for pair, tokens in other.cached.items():
            both = self.cached.setdefault(pair, [0, 0])
            both[0] += tokens[0]
            both[1] += tokens[1]
        for seen, seen_there in zip(self.seen, other.seen, strict=True):
            for name, count in seen_there.items():
                seen[name] = seen.get(name, 0) + count


def matches(filters: Filters, names: Names) -> bool:
    """Whether the filters let a key, model, route and upstream through."""
    key, model, route, upstream = names
    return (
        (not filters.key or filters.key == key)
        and (not filters.model or filters.model == model)
        and (not filters.route or filters.route == route)
        and (not filters.upstream or filters.upstream == upstream)
    )


def rounded(filters: Filters) -> Filters:
    """The same with a window of whole stretches: views that show the same are one."""
    width_s = TIERS_S[tier_for(filters.window_s)]
    return replace(filters, window_s=ceil(filters.window_s / width_s) * width_s)


class Slot:
    """What a chart shows at one place."""

    __slots__ = ("figures", "marks", "total", "ttft")

    def __init__(self, marks: Marks, figures: Figures) -> None:
        self.marks = marks
        self.figures = figures
        self.ttft = quantiles(figures.sum.ttft)
        self.total = quantiles(figures.sum.total)


class View:
    """A window over one rollup, with one set of filters.

    Args:
        filters: Which calls count.
    """

    def __init__(self, filters: Filters) -> None:
        self.filters = filters
        self.tier = tier_for(filters.window_s)
        self.width_s = TIERS_S[self.tier]
        self.points = max(1, ceil(filters.window_s / self.width_s))
        # What was worked out before: of stretches, of places, and of several places together.
        self.weight = 0
        """How many things it holds, about: what it takes of memory."""
        self._parts: dict[tuple[int, int], tuple[Mark, Figures]] = {}
        self._slots: dict[int, Slot] = {}
        self._blocks: dict[int, tuple[tuple[Marks, ...], Figures]] = {}

    def first(self, now_wall_s: float) -> int:
        """The number of the window's first stretch; its last one is still being filled."""
        return int(now_wall_s // self.width_s) - self.points + 1

    def figures(self, rollup: Rollup, now_wall_s: float) -> tuple[list[Slot], Figures]:
        """The window's places, the oldest first, and all of it together."""
        first = self.first(now_wall_s)
        found: list[list[tuple[Mark, Figures]]] = [[] for _ in range(self.points)]
        parts = {}
        for nth, tier in enumerate(rollup.tiers[: self.tier + 1]):
            for number, bucket in tier.buckets.items():
                place = int(number * tier.width_s // self.width_s) - first
                if 0 <= place < self.points:
                    part = self._parts.get((nth, number))
                    mark = (nth, number, bucket.version)
                    if part is None or part[0] != mark:
                        part = mark, self._of(bucket)
                    parts[nth, number] = part
                    found[place].append(part)
        self._parts = parts
        slots = {first + place: self._slot(first + place, made_of) for place, made_of in enumerate(found)}
        self._slots = slots
        self.weight = sum(part.weight for _, part in parts.values())
        return list(slots.values()), self._whole(slots)

    def _slot(self, number: int, made_of: list[tuple[Mark, Figures]]) -> Slot:
        marks = tuple(sorted(mark for mark, _ in made_of))
        known = self._slots.get(number)
        if known is not None and known.marks == marks:
            return known
        return Slot(marks, made_of[0][1] if len(made_of) == 1 else _sum([figures for _, figures in made_of]))

    def _whole(self, slots: dict[int, Slot]) -> Figures:
        by_block: dict[int, list[Slot]] = {}
        for number, slot in slots.items():
            by_block.setdefault(number // _BLOCK, []).append(slot)
        blocks = {}
        for number, within in by_block.items():
            marks = tuple(slot.marks for slot in within)
            known = self._blocks.get(number)
            if known is None or known[0] != marks:
                known = marks, _sum([slot.figures for slot in within if slot.marks])
            blocks[number] = known
        self._blocks = blocks
        return _sum([figures for _, figures in blocks.values()])

    def _of(self, bucket: Bucket) -> Figures:
        found = Figures()
        for names, cell in bucket.cells.items():
            found.see(names, cell)
            if matches(self.filters, names):
                found.take(names, cell)
        return found


def _sum(several: Sequence[Figures]) -> Figures:
    found = Figures()
    for figures in several:
        found.add(figures)
    return found
