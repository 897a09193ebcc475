"""The Redis tier: answers that several machines share, each under a key that expires by itself.

Entries are msgpack, compressed with zstd from 1 KiB on, as on disk; nothing read from Redis is ever executed or
unpickled. Who may write to that Redis may put answers into this cache: keep it to yourself. How much it holds is the
server's business (``maxmemory`` with ``allkeys-lru`` or ``volatile-ttl``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headway.store.base import Entry, StoreStats
from headway.store.entries import EntryCodec
from headway.store.redis_link import RedisDown, RedisLink

__all__ = ["RedisStore"]

ENTRY_BYTES_MAX = 4 * 1024 * 1024
_QUEUE_BYTES_MAX = 32 * 1024 * 1024
_BATCH = 64
_INLINE_BYTES_MAX = 64 * 1024
"""More than this is packed on a thread: compressing it would hold up the loop for longer than a millisecond."""
_FLUSH_S = 2.0


class RedisStore:
    """A `RemoteStore` in Redis. Reads are awaited; writes are queued and sent in the background.

    Args:
        link: The way there, shared by all stores of an engine.
        prefix: What its keys begin with, e.g. ``hw:3:e:faq:``.
        wall_s: Calendar time in Unix seconds: what a key's time to live is counted from.
        entry_bytes_max: A larger body is not stored here.
    """

    name = "redis"

    def __init__(
        self,
        link: RedisLink,
        prefix: str,
        *,
        wall_s: Callable[[], float],
        entry_bytes_max: int = ENTRY_BYTES_MAX,
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._wall_s = wall_s
        self._entry_bytes_max = entry_bytes_max
        self._codec = EntryCodec(body_bytes_max=2 * entry_bytes_max)
        self._queue: asyncio.Queue[tuple[bytes, Entry]] = asyncio.Queue()  # bounded by `_queue_bytes`
        self._queue_bytes = 0
        """What is queued or being sent."""
        self._sender: asyncio.Task[None] | None = None
        self._hits = self._misses = self._puts = 0

    @property
    def down(self) -> bool:
        """Whether asking is pointless just now."""
        return self._link.down

    def key(self, key: bytes) -> str:
        """The key's name in Redis."""
        return self._prefix + key.hex()

    async def get(self, key: bytes) -> Entry | None:
        """The entry; None when it is absent, unreadable, or Redis is not there."""
        name = self.key(key)
        try:
            value = await self._link.ask(lambda client: client.get(name))
        except RedisDown:
            return None
        return self.unpack(value)

    def unpack(self, value: Any) -> Entry | None:
        """What a key holds, read; counted as a hit or a miss."""
        entry = self._codec.unpack(value[0], value[1:]) if isinstance(value, bytes) and value else None
        if entry is None:
            self._misses += 1
        else:
            self._hits += 1
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Queue the entry, at most 32 MiB of them; more, and what is too large, is left out. Never waits."""
        size_bytes = len(entry.body)
        if self._link.down or size_bytes > self._entry_bytes_max or self._queue_bytes + size_bytes > _QUEUE_BYTES_MAX:
            return
        self._queue.put_nowait((key, entry))
        self._queue_bytes += size_bytes
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send())

    async def flush(self) -> None:
        """Wait until what is queued is in Redis, or given up; at most 2 s."""
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._queue.join()
        except TimeoutError:
            return

    def stats(self) -> StoreStats:
        """Counters of this process; how full Redis is, is the server's to say."""
        return StoreStats(hits=self._hits, misses=self._misses, puts=self._puts)

    async def aclose(self) -> None:
        """Send what is queued and let go. Idempotent."""
        await self.flush()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait({self._sender})

    async def _send(self) -> None:
        queue = self._queue
        while True:
            batch = [await queue.get()]
            while len(batch) < _BATCH and not queue.empty():
                batch.append(queue.get_nowait())
            size_bytes = sum(len(entry.body) for _, entry in batch)
            try:
                self._puts += await self._sent(batch, aside=size_bytes > _INLINE_BYTES_MAX)
            except RedisDown:
                continue  # so will be the rest, at once
            finally:
                self._queue_bytes -= size_bytes
                for _ in batch:
                    queue.task_done()

    async def _sent(self, batch: list[tuple[bytes, Entry]], *, aside: bool) -> int:
        """How many of them are in Redis now; packed on a thread if `aside`."""
        if self._link.down:
            raise RedisDown
        entries = [entry for _, entry in batch]
        packed = await asyncio.to_thread(self._codec.pack, entries) if aside else self._codec.pack(entries)
        now_s = self._wall_s()
        values = [
            (self.key(key), bytes((codec,)) + answer, int((entry.stale_until_wall_s - now_s) * 1000))
            for (key, entry), (codec, answer) in zip(batch, packed, strict=True)
        ]
        return await self._link.ask(lambda client: _put(client, values))


async def _put(client: Any, values: list[tuple[str, bytes, int]]) -> int:
    """Store the ones that are not out of date already; how many."""
    pipeline = client.pipeline(transaction=False)
    live = [value for value in values if value[2] > 0]
    for name, value, ttl_ms in live:
        pipeline.set(name, value, px=ttl_ms)
    if live:
        await pipeline.execute()
    return len(live)
