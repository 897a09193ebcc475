"""What a cache tier is: an `Entry` by its 32-byte key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from headway.store.purging import Selection
from headway.types import Headers, Usage

__all__ = ["Entry", "Parts", "RemoteStore", "Store", "StoreStats"]

Parts: TypeAlias = Callable[[], bytes]
"""Makes the digests of what a key was made of, for `headway cache explain-miss`; asked off the event loop."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One stored answer. Calendar times are Unix seconds."""

    status: int = 200
    headers: Headers = ()
    """End-to-end headers worth replaying (content-type, request id); never credentials or cookies."""
    body: bytes
    """The verbatim body: JSON, or the whole SSE text when `streamed`, without the extra usage event."""
    usage_event: bytes = b""
    """That event, verbatim, if the stream had one: replayed only to callers who asked for it."""
    streamed: bool = False
    format: str = ""
    model: str = ""
    finish: str = ""
    usage: Usage | None = None
    dollars: float | None = None
    """What the answer cost when it was fetched; None when unknown."""
    fetch_s: float = 0.0
    """How long fetching took; XFetch's delta."""
    stored_wall_s: float
    fresh_until_wall_s: float
    stale_until_wall_s: float
    """Past this the entry is gone; between fresh and stale it may be served when the provider fails."""
    pace: bytes = b""
    """When each event of a stream came, where that was asked for; see `caller.replay`."""


class StoreStats(msgspec.Struct, kw_only=True):
    """Counters since the store was opened, and its size now."""

    hits: int = 0
    misses: int = 0
    puts: int = 0
    evictions: int = 0
    entries: int = 0
    bytes_used: int = 0


class Store(Protocol):
    """A cache tier. Reads run inline on the event loop (microseconds); writes never block it."""

    name: str

    def get(self, key: bytes) -> Entry | None:
        """The entry, or None when absent. Does not judge freshness."""
        ...

    def put(self, key: bytes, entry: Entry, parts: Parts | None = None) -> None:
        """Keep the entry, evicting others to stay under the byte bound; one larger than the bound is refused."""
        ...

    def delete(self, key: bytes) -> None:
        """Forget the entry, if it is there."""
        ...

    def purge(self, selection: Selection) -> bool:
        """Forget what is selected; False when that could not be done."""
        ...

    def tally(self, hits: int, misses: int, saved_dollars: float) -> None:
        """Add to the counts that are kept over all processes, where there are any."""
        ...

    def stats(self) -> StoreStats:
        """Counters and size."""
        ...

    def close(self) -> None:
        """Write what is pending and let go. Idempotent."""
        ...


class RemoteStore(Protocol):
    """A cache tier behind a network: asked only when the local ones have nothing. Never raises for want of a server."""

    name: str

    @property
    def down(self) -> bool:
        """Whether asking is pointless just now."""
        ...

    async def get(self, key: bytes) -> Entry | None:
        """The entry, or None when absent or out of reach. Does not judge freshness."""
        ...

    def key(self, key: bytes) -> str:
        """What it is called there."""
        ...

    def unpack(self, value: bytes) -> Entry | None:
        """What is kept there under a key, read; None when it cannot be. Counted as a hit or a miss."""
        ...

    def put(self, key: bytes, entry: Entry) -> None:
        """Queue the entry, bounded in bytes; never waits."""
        ...

    async def flush(self) -> None:
        """Wait, for a bounded time, until what is queued is there."""
        ...

    def stats(self) -> StoreStats:
        """Counters of this process."""
        ...

    async def aclose(self) -> None:
        """Write what is pending and let go. Idempotent."""
        ...
