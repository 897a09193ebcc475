"""A named cache: its tiers, its times and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from headway.policy.freshness import Freshness, Verdict
from headway.store.base import Entry, Parts, RemoteStore, Store
from headway.store.purging import Selection

__all__ = ["Space"]

_TALLY_EVERY = 1024


class Space:
    """One cache of an engine, nearest tier first: memory, SQLite, then Redis. "" is the default one's name.

    Args:
        name: As `Call.namespace` has it.
        stores: The local tiers; their reads run inline.
        freshness: The policy for times.
        remote: The tier behind the network, asked when the local ones have nothing.
    """

    __slots__ = ("_stores", "_tallied", "freshness", "hits", "misses", "name", "remote", "saved_dollars")

    def __init__(
        self, name: str, stores: Sequence[Store], freshness: Freshness, *, remote: RemoteStore | None = None
    ) -> None:
        self.name = name
        self.freshness = freshness
        self.remote = remote
        self.hits = 0
        """Callers served from here, whatever the tier."""
        self.misses = 0
        self.saved_dollars = 0.0
        self._stores = tuple(stores)
        self._tallied = (0, 0, 0.0)

    def find(self, key: bytes) -> tuple[Entry, str] | None:
        """The entry and its tier's name, found in the local tiers; kept in the nearer ones from then on."""
        for depth, store in enumerate(self._stores):
            entry = store.get(key)
            if entry is not None:
                for nearer in self._stores[:depth]:
                    nearer.put(key, entry)
                return entry, store.name
        return None

    async def fetch(self, key: bytes) -> tuple[Entry, str] | None:
        """Likewise from the tier behind the network."""
        remote = self.remote
        entry = await remote.get(key) if remote is not None and not remote.down else None
        if entry is None or remote is None:
            return None
        self.promote(key, entry)
        return entry, remote.name

    def promote(self, key: bytes, entry: Entry) -> None:
        """Keep what came from afar in the local tiers."""
        for store in self._stores:
            store.put(key, entry)

    def keep(self, key: bytes, entry: Entry, parts: Parts | None = None) -> None:
        """Keep a new answer in every tier."""
        for store in self._stores:
            store.put(key, entry, parts)
        if self.remote is not None:
            self.remote.put(key, entry)

    def judge(self, entry: Entry, now_wall_s: float, rng: Random) -> Verdict:
        """What to do with an entry of that age."""
        return self.freshness.judge(
            fresh_until_wall_s=entry.fresh_until_wall_s,
            stale_until_wall_s=entry.stale_until_wall_s,
            fetch_s=entry.fetch_s,
            now_wall_s=now_wall_s,
            rng=rng,
        )

    def hit(self, entry: Entry) -> None:
        """Somebody was served."""
        self.hits += 1
        if entry.dollars is not None:
            self.saved_dollars += entry.dollars
        if not self.hits % _TALLY_EVERY:
            self._tally()

    def forget(self, model: str) -> None:
        """Forget one model's answers in the local tiers."""
        for store in self._stores:
            store.purge(Selection(model=model))

    def stats(self) -> dict[str, Any]:
        """Hits, misses and dollars saved by this engine, then each tier's own figures by its name."""
        tiers = {store.name: msgspec.to_builtins(store.stats()) for store in self._stores}
        if self.remote is not None:
            tiers[self.remote.name] = msgspec.to_builtins(self.remote.stats())
        return {"hits": self.hits, "misses": self.misses, "saved_dollars": self.saved_dollars, **tiers}

    def close(self) -> None:
        """Write what is pending in the local tiers and let go. Idempotent."""
        self._tally()
        for store in self._stores:
            store.close()

    def _tally(self) -> None:
        """Add to the counts that the file keeps over all processes."""
        now = self.hits, self.misses, self.saved_dollars
        before, self._tallied = self._tallied, now
        for store in self._stores:
            store.tally(now[0] - before[0], now[1] - before[1], now[2] - before[2])
