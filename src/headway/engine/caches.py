"""The caches of one engine: the default one, the named ones, and the Redis that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from headway.caller.cache import KEY_SCHEMA, Cache, unknown_namespace
from headway.caller.join import Join
from headway.caller.spaces import Space
from headway.config import CacheSettings, Settings
from headway.engine.company import same
from headway.engine.routing import route_digest
from headway.errors import ConfigError
from headway.policy.freshness import Freshness
from headway.policy.limits import Limits
from headway.store.base import RemoteStore, Store
from headway.store.memory import MemoryStore
from headway.types import Call, Handler, Reply

if TYPE_CHECKING:
    from headway.attempt.shared_pace import SharedPace
    from headway.caller.shared import Shared
    from headway.engine.stack import Stack
    from headway.policy.shared_limits import LimitsShared
    from headway.store.redis_link import RedisLink

__all__ = ["Caches", "cache_file"]

_REDIS = "redis://127.0.0.1:6379/0"


class Caches:
    """Opens what the settings ask for. Without a cache there are no spaces, and nothing is opened.

    Args:
        settings: The engine's.
        path: The default cache's SQLite file.
        wall_s: Calendar time.
        inline: Time is virtual: SQLite is written without threads.
        handover_s: See `WriterSettings`.
        before: Whose place the engine takes: what is set as it was there is taken over, and closed here.

    Raises:
        ConfigError: A file cannot be written, the redis package is missing, or time is virtual with Redis on.
    """

    def __init__(
        self,
        settings: Settings,
        path: Path,
        wall_s: Callable[[], float],
        *,
        inline: bool,
        handover_s: float,
        before: Stack | None = None,
    ) -> None:
        self.spaces: dict[str, Space] = {}
        self.redis: RedisLink | None = None
        """The way to Redis, where it is on; for shared limits, too."""
        self._settings = settings
        self._path = path
        self._wall_s = wall_s
        self._inline = inline
        self._handover_s = handover_s
        self._shared: Shared | None = None
        self.handed_on = False
        """Whether they are another engine's by now."""
        if settings.cache == "off":
            return
        if before is not None and same(before._settings, settings, "cache", "redis"):
            self.spaces, self.redis = before.caches.spaces, before.caches.redis
            return
        if settings.cache in ("redis", "disk+redis"):
            self.redis = _redis(settings, virtual=inline)
        for name in ("", *(one.name for one in settings.caches)):
            own = settings.cache_named(name)
            assert own is not None  # it is one of those that there are
            self.spaces[name] = Space(name, self._stores(own), freshness_of(own), remote=self._remote(name))

    def layer(
        self,
        join: Join,
        *,
        rng: Random,
        refresh: Callable[[Call], asyncio.Task[Reply | None] | None],
        tries: Callable[[Call], int],
    ) -> Cache:
        """The cache layer over a join layer, sharing flights with other processes where Redis is on."""
        next_: Handler = join
        if self.redis is not None and self._settings.redis_flights:
            from headway.caller.shared import Shared
            from headway.store.redis_flights import RedisFlights

            next_ = self._shared = Shared(join, RedisFlights(self.redis, self._prefix()), self.spaces)
        paced = self._settings.cache_replay == "paced"
        route = route_digest(self._settings)
        cache = Cache(
            next_, self.spaces, wall_s=self._wall_s, rng=rng, refresh=refresh, paced=paced, route=route, tries=tries
        )
        if self._shared is not None:
            self._shared.arrived = cache.arrived
        return cache

    def shared_pace(
        self, upstream: Handler, limits: Callable[[Call], Limits], others: LimitsShared | None = None
    ) -> SharedPace | None:
        """The layer that shares limits with other processes; None where there are none, or nothing is to be shared.

        Args:
            upstream: What it stands in front of.
            limits: Those that are known here.
            others: What is shared with the processes of this machine, where Redis does not know of more.
        """
        shared = others if self._settings.limit_settings().paced else None
        if self.redis is not None and self._settings.redis_limits:
            from headway.store.redis_limits import SharedLimits

            shared = SharedLimits(self.redis, self._prefix())
        if shared is None:
            return None
        from headway.attempt.shared_pace import SharedPace

        return SharedPace(upstream, shared, limits, queue_max=self._settings.queue_max)

    def space(self, namespace: str) -> Space:
        """A cache by its name.

        Raises:
            ConfigError: There is none.
        """
        found = self.spaces.get(namespace)
        if found is None:
            if not self.spaces:
                raise ConfigError('this engine has no cache; set cache = "memory", "disk" or "redis"')
            raise unknown_namespace(namespace, self.spaces)
        return found

    def stats(self) -> dict[str, Any]:
        """The default cache's figures and tiers, and under "namespaces" those of each named one."""
        if not self.spaces:
            return {}
        named = {name: space.stats() for name, space in self.spaces.items() if name}
        return self.spaces[""].stats() | ({"namespaces": named} if named else {})

    async def aclose(self) -> None:
        """Write what is pending and let go; after the flights have ended. Idempotent."""
        if self._shared is not None:
            await self._shared.aclose()
        if self.handed_on:
            return
        for space in self.spaces.values():
            if space.remote is not None:
                await space.remote.aclose()
            space.close()
        if self.redis is not None:
            await self.redis.aclose()

    def _stores(self, own: CacheSettings) -> list[Store]:
        assert own.memory_bytes_max is not None  # resolved
        assert own.disk_bytes_max is not None
        stores: list[Store] = [MemoryStore(own.memory_bytes_max)]
        if self._settings.cache in ("disk", "disk+redis"):
            from headway.store.sqlite import SqliteStore
            from headway.store.writer import WriterSettings

            writer = WriterSettings(inline=self._inline, handover_s=self._handover_s)
            path = cache_file(self._path, own.name)
            stores.append(SqliteStore(path, own.disk_bytes_max, writer=writer, wall_s=self._wall_s))
        return stores

    def _remote(self, name: str) -> RemoteStore | None:
        if self.redis is None:
            return None
        from headway.store.redis_store import RedisStore

        return RedisStore(self.redis, f"{self._prefix()}e:{name}:", wall_s=self._wall_s)

    def _prefix(self) -> str:
        return f"hw:{KEY_SCHEMA}:"


def cache_file(path: Path, namespace: str) -> Path:
    """Where a named cache lives: beside the default one, ``cache.sqlite`` -> ``cache@faq.sqlite``."""
    return path.with_name(f"{path.stem}@{namespace}{path.suffix}") if namespace else path


def freshness_of(own: CacheSettings) -> Freshness:
    """A cache's times."""
    assert own.ttl_s is not None  # resolved
    assert own.stale_if_error_s is not None
    assert own.stale_while_revalidate_s is not None
    return Freshness(
        ttl_s=own.ttl_s,
        stale_if_error_s=own.stale_if_error_s,
        stale_while_revalidate_s=own.stale_while_revalidate_s,
    )


def _redis(settings: Settings, *, virtual: bool) -> RedisLink:
    from headway.store.redis_link import RedisLink

    if virtual:
        raise ConfigError('cache = "redis" needs real time and real sockets; use "memory" or "disk" under simulation')
    url = settings.redis_url.reveal() if settings.redis_url is not None else _REDIS
    return RedisLink(url, timeout_s=settings.redis_timeout_s)
