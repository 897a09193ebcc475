"""Rows of the call log, folded into sums: by stretch of time, and by key, model, route and upstream together.

A call counts when it ended, so what is past stays as it is. Memory is bounded whatever the traffic: a stretch
(`Bucket`) has a cell for each combination that occurred, at most `COMBINATIONS_MAX`, and what is beyond them goes to
one cell of others; stretches become coarser with age (`TIERS_S`), and all of them together keep at most `CELLS_MAX`
cells, about a kilobyte each: the fullest stretches are thinned to their busiest combinations first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from headway.insight.cell import Cell, Hedges
from headway.insight.histogram import bin_of
from headway.store.rows import Taken

__all__ = ["OTHERS", "TIERS_S", "Bucket", "Names", "Rollup", "Tier", "tier_for"]

COMBINATIONS_MAX: Final = 256
CELLS_MAX: Final = 50_000
NAME_CHARS_MAX: Final = 120
OTHERS: Final = "(others)"
_QUIET: Final = frozenset(("ok", "abandoned"))

Names: TypeAlias = tuple[str, str, str, str]
"""Key, model, route, upstream."""


TIERS_S: Final = (0.5, 2.0, 6.0, 24.0, 120.0, 600.0, 3600.0)
"""How long stretches are, in seconds: 120 to 180 of them are a window of 1, 5 or 15 minutes, 1, 6 or 24 hours, or a
week. Each is a multiple of the one before."""
_POINTS_MAX: Final = 180


class Bucket:
    """One stretch of time."""

    __slots__ = ("cells", "version")

    def __init__(self) -> None:
        self.cells: dict[Names, Cell] = {}
        self.version = 0
        """Grows with every change."""

    def change(self) -> None:
        """Its cells have changed."""
        self.version += 1


class Tier:
    """All stretches of one length, by their number: start over length."""

    __slots__ = ("buckets", "keep_s", "since_s", "width_s")

    def __init__(self, width_s: float, next_width_s: float) -> None:
        self.width_s = width_s
        self.keep_s = width_s * _POINTS_MAX + next_width_s
        self.since_s = 0.0
        """What is older belongs to a coarser one."""
        self.buckets: dict[int, Bucket] = {}


def tier_for(window_s: float) -> int:
    """The finest tier that shows a window in at most 180 points."""
    return next((nth for nth, width_s in enumerate(TIERS_S) if width_s * _POINTS_MAX >= window_s), len(TIERS_S) - 1)


class Rollup:
    """All of it. Every row is in one tier: the finest that goes back so far."""

    def __init__(self, now_wall_s: float) -> None:
        self.tiers = [Tier(*widths_s) for widths_s in zip(TIERS_S, (*TIERS_S[1:], TIERS_S[-1]), strict=True)]
        self.cells = 0
        self._hedges = Hedges()
        self._latest = 0.0, 0.0, Bucket()  # rows of one time come together
        self.age(now_wall_s)

    @property
    def since_wall_s(self) -> float:
        """What ended before that is not counted any more."""
        return self.tiers[-1].since_s

    def call(self, row: Taken, now_wall_s: float) -> float:
        """Count a caller; when it ended."""
        took_s = 0.0 if row.ended_at_s is None else row.ended_at_s - row.started_at_s
        at_s = row.start_wall_s + took_s
        cell = self._cell(row, at_s, now_wall_s)
        if cell is None:
            return at_s
        cell.calls += 1
        if row.outcome not in _QUIET:
            cell.failed += 1
        if row.dollars is None:
            cell.unknown += 1
        else:
            cell.dollars += row.dollars
        if (usage := row.usage) is not None:
            cell.input_tokens += usage.input_tokens
            cell.output_tokens += usage.output_tokens
            if row.attempts:  # who got another's answer read nothing of a prompt's cache
                cell.cached_tokens += usage.cached_tokens
                cell.written_tokens += usage.cache_write_tokens
        if row.outcome == "ok" and (word := row.cache):
            pair = cell.caches.get(word)
            if pair is None:
                pair = cell.caches[word] = [0, 0.0]
            pair[0] += 1
            if row.saved_dollars is not None:
                pair[1] += row.saved_dollars
                cell.saved_dollars += row.saved_dollars
        if row.outcome == "ok":
            place = bin_of(took_s)
            cell.total[place] = cell.total.get(place, 0) + 1
            if row.stream and row.first_content_at_s is not None:
                place = bin_of(row.first_content_at_s - row.started_at_s)
            cell.ttft[place] = cell.ttft.get(place, 0) + 1
        if (tried := row.tried) is not None:
            cell.tried(row, tried.ended_at_s)
        elif row.attempts > 1 and row.outcome == "ok":
            self._hedges.answered(row.flight_id)
        return at_s

    def attempt(self, row: Taken, now_wall_s: float) -> float:
        """Count a try that has a row of its own; when it ended."""
        at_s = row.start_wall_s + (0.0 if row.ended_at_s is None else row.ended_at_s - row.started_at_s)
        cell = self._cell(row, at_s, now_wall_s)
        if cell is not None:
            word = self._hedges.word(row, cell, self._latest[2].change) if row.outcome == "abandoned" else ""
            cell.tried(row, row.ended_at_s, word)
        return at_s

    def age(self, now_wall_s: float) -> None:
        """Move what has become old to coarser stretches, and forget what is older than all of them."""
        self._latest = 0.0, 0.0, Bucket()
        for nth, tier in enumerate(self.tiers):
            coarser = self.tiers[nth + 1] if nth + 1 < len(self.tiers) else None
            width_s = coarser.width_s if coarser is not None else tier.width_s
            tier.since_s = (now_wall_s - tier.keep_s) // width_s * width_s
            for number in [one for one in tier.buckets if one * tier.width_s < tier.since_s]:
                bucket = tier.buckets.pop(number)
                self.cells -= len(bucket.cells)
                if coarser is not None:
                    into = self._bucket(coarser, int(number * tier.width_s // coarser.width_s))
                    for names, cell in bucket.cells.items():
                        self._in(into, names).add(cell)
        if self.cells > CELLS_MAX:
            self._thin()

    def _cell(self, row: Taken, at_s: float, now_wall_s: float) -> Cell | None:
        from_s, to_s, bucket = self._latest
        if not from_s <= at_s < to_s:
            at_s = min(at_s, now_wall_s)  # another process's clock may be ahead
            tier = next((tier for tier in self.tiers if at_s >= tier.since_s), None)
            if tier is None:
                return None
            number = int(at_s // tier.width_s)
            bucket = self._bucket(tier, number)
            self._latest = number * tier.width_s, (number + 1) * tier.width_s, bucket
        bucket.version += 1
        names = row.tenant, row.model, row.path, row.upstream
        cell = bucket.cells.get(names)
        return cell if cell is not None else self._in(bucket, names)

    def _bucket(self, tier: Tier, number: int) -> Bucket:
        bucket = tier.buckets.get(number)
        if bucket is None:
            bucket = tier.buckets[number] = Bucket()
        bucket.version += 1
        return bucket

    def _in(self, bucket: Bucket, names: Names) -> Cell:
        cell = bucket.cells.get(names)
        if cell is None:
            # Models and paths are the client's own words.
            names = tuple(name[:NAME_CHARS_MAX] for name in names)  # type: ignore[assignment]
            if names not in bucket.cells and len(bucket.cells) >= COMBINATIONS_MAX:
                names = _OTHER_NAMES
            cell = bucket.cells.get(names)
            if cell is None:
                cell = bucket.cells[names] = Cell()
                self.cells += 1
        return cell

    def _thin(self) -> None:
        """Merge the least busy half of the fullest stretches' combinations into one, until a quarter is free."""
        while self.cells > CELLS_MAX * 3 // 4:
            fullest = sorted(self._buckets(), key=lambda bucket: len(bucket.cells), reverse=True)
            for bucket in fullest[: len(fullest) // 4 + 1]:
                if len(bucket.cells) < 3:
                    return
                ranked = sorted(bucket.cells.items(), key=lambda item: item[1].calls + item[1].attempts, reverse=True)
                keep = len(ranked) // 2
                bucket.cells = dict(ranked[:keep])
                self.cells += keep - len(ranked)
                others = self._in(bucket, _OTHER_NAMES)
                for _, cell in ranked[keep:]:
                    if cell is not others:
                        others.add(cell)
                bucket.change()

    def _buckets(self) -> Iterator[Bucket]:
        for tier in self.tiers:
            yield from tier.buckets.values()


_OTHER_NAMES: Final[Names] = (OTHERS, OTHERS, OTHERS, OTHERS)
