"""Anthropic's prompt cache: prefixes that end at a `cache_control` breakpoint, for five minutes or an hour.

A breakpoint writes the prefix up to its block, where that is long enough for the model. It reads the longest prefix
that is there, looking back over the 20 blocks before it. What one request writes can be read once its answer has
begun: requests sent side by side all write. Source: Anthropic, "Prompt caching"; FACTS section 6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final

import msgspec

from headway.sim.ask import Block

__all__ = ["BreakpointCache", "Found"]

_LOOKBACK: Final = 20
_ENTRIES_MAX: Final = 200_000
_HOUR_S: Final = 3_600


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt reads from the cache and writes to it, in tokens."""

    read: int = 0
    written: int = 0
    hour: int = 0
    """Of the written, those to be kept for an hour."""
    used: bytes = b""
    entries: tuple[tuple[bytes, int], ...] = ()
    """What is to be written: digest and seconds to live."""


class _Entry(msgspec.Struct):
    ready_s: float
    ends_s: float
    ttl_s: int


class BreakpointCache:
    """The prefixes that were written; the 200,000 used last."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def look(self, scope: bytes, blocks: Sequence[Block], tokens: Sequence[int], least: int, now_s: float) -> Found:
        """What would be read and written; nothing changes.

        Args:
            scope: Digest of who may share: credential and model.
            blocks: The prompt.
            tokens: Of each block.
            least: Tokens of the shortest prefix that the model caches.
            now_s: Loop time.
        """
        marks = [place for place, block in enumerate(blocks) if block.ttl_s]
        if not marks:
            return Found()
        digests = _digests(scope, blocks[: marks[-1] + 1])
        total = list(accumulate(tokens))
        hit = self._hit(digests, marks, now_s)
        read = total[hit] if hit >= 0 else 0
        start, hour = read, 0
        entries = []
        for mark in marks:
            if mark > hit and total[mark] >= least:
                ttl_s = blocks[mark].ttl_s
                hour += total[mark] - start if ttl_s == _HOUR_S else 0
                start = total[mark]
                entries.append((digests[mark], ttl_s))
        used = digests[hit] if hit >= 0 else b""
        return Found(read=read, written=start - read, hour=hour, used=used, entries=tuple(entries))

    def keep(self, found: Found, now_s: float, ready_s: float) -> None:
        """Do what `look` found: `ready_s` is when the answer begins, in loop time."""
        if (entry := self._entries.get(found.used)) is not None:
            entry.ends_s = max(entry.ends_s, now_s + entry.ttl_s)
            self._entries.move_to_end(found.used)
        for key, ttl_s in found.entries:
            old = self._entries.get(key)
            if old is not None and old.ends_s >= now_s:
                ready_s = min(ready_s, old.ready_s)
            self._entries[key] = _Entry(ready_s, ready_s + ttl_s, ttl_s)
            self._entries.move_to_end(key)
        while len(self._entries) > _ENTRIES_MAX:
            self._entries.popitem(last=False)

    def _hit(self, digests: list[bytes], marks: list[int], now_s: float) -> int:
        """The block at which the longest prefix ends that can be read; -1 for none."""
        for mark in reversed(marks):
            for place in range(mark, max(-1, mark - _LOOKBACK - 1), -1):
                entry = self._entries.get(digests[place])
                if entry is not None and entry.ready_s <= now_s <= entry.ends_s:
                    return place
        return -1


def _digests(scope: bytes, blocks: Sequence[Block]) -> list[bytes]:
    """One for every block; each stands for everything up to it."""
    chained = blake2b(scope, digest_size=16)
    found = []
    for block in blocks:
        raw = block.key.encode("utf-8", "surrogatepass")
        chained.update(len(raw).to_bytes(8, "little") + raw)
        found.append(chained.digest())
    return found
