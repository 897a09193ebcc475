"""What a cache tier is: an `Entry` by its 32-byte key."""

from __future__ import annotations

from typing import Protocol

import msgspec

from headway.types import Headers, Usage

__all__ = ["Entry", "Store", "StoreStats"]


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

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep the entry, evicting others to stay under the byte bound; one larger than the bound is refused."""
        ...

    def delete(self, key: bytes) -> None:
        """Forget the entry, if it is there."""
        ...

    def stats(self) -> StoreStats:
        """Counters and size."""
        ...

    def close(self) -> None:
        """Write what is pending and let go. Idempotent."""
        ...
