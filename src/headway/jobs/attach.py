"""Batches that are at the provider although nobody wrote down their id: after a crash, or a reply that was lost.

With metadata a batch is told by it. Without, every batch that is not known and no older than the part could be it,
and which it is stands in its rows' ids, which nobody sees before it has ended: until then the part's rows are held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from headway.errors import HeadwayError
from headway.jobs.index import Index
from headway.jobs.lane_batch_calls import BROKEN_MAX, REFUSED_MAX, BatchCalls
from headway.jobs.parcel import Kept, Parcel
from headway.jobs.parcel_events import OpenPart, open_parts, taken
from headway.policy.parcels import patience_s, poll_delay_s
from headway.wire.batch import BatchView, result_lines

__all__ = ["Attached", "find_batch", "open_batches", "rows_open"]

SKEW_S: Final = 900.0
"""How far a provider's clock may be behind ours: older batches than that are no part's."""
LOOKS_S: Final = (2.0, 10.0, 30.0)
"""Waits before looking for a batch whose creation was not answered: lists lag behind."""
_LOOKS_LATER_S: Final = (0.0, 2.0, 10.0)
"""The same in a new process, where starting took some time already."""
_SURE_S: Final = 3_600.0
"""A part that is older was created long ago, if it was: one look tells."""
_PAGES_MAX: Final = 100


def rows_open(events: Iterable[bytes]) -> int:
    """How many rows earlier runs left at the provider, or may have: then the batch lane is opened at once."""
    return sum(len(part.keys) for part in open_parts(events)[0])


def open_batches(events: Iterable[bytes]) -> list[str]:
    """The ids of the batches that earlier runs left at the provider, as far as they were written down."""
    return [part.batch_id for part in open_parts(events)[0] if part.batch_id]


class Attached:
    """The parts that earlier runs left open, and which of their rows is where.

    Args:
        events: The journal's.
        done: Whether the journal has that row's answer.
        told: Whether it has any line of that row.
        folder: Where to spool.
    """

    def __init__(
        self, events: Iterable[bytes], done: Callable[[str], bool], told: Callable[[str], bool], folder: Path | None
    ) -> None:
        parts, self.following, known = open_parts(events)
        self.known = set(known)
        self._took = {key: took for key, took in taken(events).items() if not told(key)}
        self.parcels: dict[int, Parcel] = {}
        self._rows = Index(self._same) if parts else None
        for part in parts:
            self._open(part, done, folder)

    def find(self, key: str) -> tuple[Parcel, int] | None:
        """The parcel and the place of a row that is at the provider, not brought yet."""
        value = self._rows.get(key) if self._rows is not None and self.parcels else -1
        if value < 0:
            return None
        parcel, n = self.parcels[value >> 32], value & 0xFFFFFFFF
        return None if parcel.brought(n) else (parcel, n)

    def took(self, kept: Kept, parcel: Parcel | None = None, n: int = 0) -> Kept:
        """The row with what an earlier run paid for bad answers to it; `parcel`, `n`: where it is at the provider."""
        took = self._took.pop(kept.key, None)
        if parcel is not None and n in parcel.repairs:
            kept = msgspec.structs.replace(kept, repairs=1 if took is None else took.repairs + 1)
            took = None if took is None else msgspec.structs.replace(took, repairs=0)  # they are in that count
        return kept if took is None else msgspec.structs.replace(kept, took=took)

    def age(self, now_s: float, now_wall_s: float) -> None:
        """Set when they were sent, on the loop's clock."""
        for parcel in self.parcels.values():
            parcel.sent_at_s = now_s - max(0.0, now_wall_s - parcel.at_wall_s)

    def drop(self, parcel: Parcel) -> None:
        """What of it was not brought is owed like any other row."""
        self.parcels.pop(parcel.part, None)

    def _open(self, part: OpenPart, done: Callable[[str], bool], folder: Path | None) -> None:
        parcel = Parcel(part.part, folder=folder, keys=part.keys)
        parcel.repairs, parcel.at_wall_s, parcel.dollars = part.repairs, part.at_wall_s, part.dollars
        parcel.file_id, parcel.batch_id, parcel.refused = part.file_id, part.batch_id, part.refused
        self.parcels[part.part] = parcel
        for n in range(len(part.keys)):
            key = part.keys[n]
            if done(key):
                parcel.settle(n)
            elif self._rows is not None:
                self._rows.put(key, part.part << 32 | n)

    def _same(self, value: int, key: str) -> bool:
        parcel = self.parcels.get(value >> 32)
        return parcel is not None and parcel.keys is not None and parcel.keys[value & 0xFFFFFFFF] == key


async def find_batch(calls: BatchCalls, parcel: Parcel, now_wall_s: float) -> BatchView | None:
    """Look for a part's batch until it is found, or known not to be there; or until rows are wanted back.

    Raises:
        HeadwayError: The list is refused.
    """
    looks: tuple[float, ...] = LOOKS_S
    if parcel.keys is not None:
        looks = _LOOKS_LATER_S if now_wall_s - parcel.at_wall_s < _SURE_S else (0.0,)
    parcel.state = "looking for it"
    for delay_s in looks:
        await asyncio.sleep(delay_s)
        views = await _since(calls, parcel.at_wall_s - SKEW_S)
        if calls.format.has_metadata:
            for view in views:
                if _is(calls, parcel, view):
                    return view
        elif views and (found := await _told_by_rows(calls, parcel, views)) is not None:
            return found
    return None


def _is(calls: BatchCalls, parcel: Parcel, view: BatchView) -> bool:
    run, _, part = calls.name(parcel.part).rpartition("-")
    told = view.metadata.get("headway_run"), view.metadata.get("headway_part")
    return told == (run, part) and view.id not in parcel.refused


async def _since(calls: BatchCalls, since_wall_s: float) -> list[BatchView]:
    """The provider's batches that are no older and not known."""
    views: list[BatchView] = []
    cursor, tries, broken, pages = "", 0, 0, 0
    while pages < _PAGES_MAX:
        got = await calls.call(calls.format.list(after=cursor))
        if not got.status or got.status >= 300:
            tries += 1
            broken = broken + 1 if got.status >= 500 else 0
            if broken >= BROKEN_MAX or (not got.trouble and tries >= REFUSED_MAX):
                raise HeadwayError(f"the provider's list of batches is refused: {got.said}; mend that, then run again")
            await asyncio.sleep(patience_s(tries))
            continue
        page, cursor = calls.format.read_list(got.data)
        pages += 1
        views += [view for view in page if (view.created_wall_s or since_wall_s) >= since_wall_s]
        old = bool(page) and (page[-1].created_wall_s or since_wall_s) < since_wall_s
        if not cursor or old:
            break
    return [view for view in views if view.id not in calls.known]


async def _told_by_rows(calls: BatchCalls, parcel: Parcel, views: list[BatchView]) -> BatchView | None:
    """Wait for each to end, whichever does first, and read whose it is."""
    started_s = asyncio.get_running_loop().time()
    left = {view.id: view for view in views}
    while left:
        for id_ in list(left):
            whose = "" if id_ in calls.known else await _whose(calls, left, id_)  # a known one is another part's
            if whose is None:
                continue  # it has not ended: again a little later
            if whose.rpartition("-")[0] == calls.name(parcel.part):
                return left[id_]
            del left[id_]
        if calls.back.is_set():
            return _only(calls, parcel, left)
        if left:
            parcel.state = "held until it is told"
            await calls.pause(poll_delay_s(asyncio.get_running_loop().time() - started_s))
    return None


def _only(calls: BatchCalls, parcel: Parcel, left: dict[str, BatchView]) -> BatchView | None:
    """The one that can be a part's, whose rows are wanted back before any has ended: it is cancelled and read.

    Without exactly one that has as many rows nothing is touched, for it may be a stranger's.
    """
    maybe = [view for id_, view in left.items() if id_ not in calls.known and not view.ended]
    parcel.may_run = bool(maybe)
    alike = [view for view in maybe if sum(view.counts.values()) == len(parcel)]
    return alike[0] if len(alike) == 1 else None


async def _whose(calls: BatchCalls, left: dict[str, BatchView], id_: str) -> str | None:
    """The first row's id in a batch's results; "" where there is none, None while it cannot be told."""
    if not left[id_].ended:
        got = await calls.call(calls.format.status(id_))
        if not got.trouble and got.status >= 300:
            return ""
        left[id_] = calls.format.read_batch(got.data) or left[id_]
        if not left[id_].ended:
            return None
    for request in calls.format.results(left[id_]):
        try:
            async with await calls.stream(request) as reply:
                if reply.status >= 300:
                    return None if reply.status >= 500 or reply.status == 429 else ""
                found = await _first_id(calls, reply)
        except HeadwayError:
            return None
        if found:
            return found
    return ""


async def _first_id(calls: BatchCalls, chunks: AsyncIterator[bytes]) -> str:
    rest = b""
    async for chunk in chunks:
        lines, rest = result_lines(rest, chunk)
        for line in lines:
            row = calls.format.read_line(line)
            if row is not None:
                return row.custom_id
    row = calls.format.read_line(rest)
    return "" if row is None else row.custom_id
