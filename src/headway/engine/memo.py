"""`@headway.cached`: a user's own function, kept through the same caches as the answers of providers.

The key is made of the function's module and name and of its arguments, each with its type, so that ``f("1")`` and
``f(Decimal("1"))`` are two calls. What is kept is the result's msgpack, never a pickle.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import WRAPPER_ASSIGNMENTS
from random import Random
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, get_type_hints

import msgspec

from headway.caller.spaces import Space
from headway.engine.background import SyncEngine
from headway.engine.core import Engine
from headway.engine.memo_key import memo_key
from headway.errors import ConfigError
from headway.policy.freshness import Freshness
from headway.store.base import Entry
from headway.store.memory import MemoryStore

__all__ = ["CacheInfo", "CachedAsync", "CachedSync", "cached"]

P = ParamSpec("P")
R = TypeVar("R")

BYTES_MAX = 64 * 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode


class CacheInfo(NamedTuple):
    """What a cached function has seen in this process."""

    hits: int
    misses: int
    joined: int
    """Calls that waited for an equal one under way."""


def cached(
    *, ttl: float, namespace: str = "", engine: Engine | SyncEngine | None = None
) -> Callable[[Callable[P, R]], Any]:
    """Keep a function's results; equal calls under way at the same time run it once.

    Args:
        ttl: Seconds that a result is fresh, > 0, give or take 10 %.
        namespace: The engine's named cache that keeps them; without an engine, a part of the key.
        engine: Whose cache (memory, SQLite, Redis) keeps them: an `Engine` for an async function, a `SyncEngine` for a
            plain one. None: 64 MiB of memory of the function's own.

    Returns:
        A decorator. The function gains ``cache_info()``, ``cache_clear()`` and ``bypass(...)``, the function itself.

    Raises:
        ConfigError: `ttl` is not above 0, or the engine is not of the function's kind.
    """
    if not ttl > 0:
        raise ConfigError(f"cached: ttl must be a number of seconds above 0, not {ttl!r}")

    def decorate(function: Callable[P, R]) -> Any:
        if inspect.iscoroutinefunction(function):
            if isinstance(engine, SyncEngine):
                raise ConfigError(f"cached: {function.__qualname__} is async, so give it an Engine, not a SyncEngine")
            return CachedAsync(function, ttl, namespace, engine)
        if isinstance(engine, Engine):
            raise ConfigError(f"cached: {function.__qualname__} is not async, so give it a SyncEngine, not an Engine")
        return CachedSync(function, ttl, namespace, engine)

    return decorate


class _Memo:
    """What both kinds share: keys, entries and counts."""

    def __init__(self, function: Callable[..., Any], ttl_s: float, namespace: str) -> None:
        for name in WRAPPER_ASSIGNMENTS:
            setattr(self, name, getattr(function, name))
        self.__wrapped__ = function
        self.bypass = function
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._namespace = namespace
        self._signature = inspect.signature(function)
        returns = get_type_hints(function).get("return", Any)
        self._decode = msgspec.msgpack.Decoder(returns).decode
        self._freshness = Freshness(ttl_s=ttl_s, stale_if_error_s=0.0)
        self._rng = Random()
        self._hits = self._misses = self._joined = 0
        self._cleared_wall_s = 0.0
        self._own = Space(namespace, [MemoryStore(BYTES_MAX)], self._freshness)

    def cache_info(self) -> CacheInfo:
        """Hits, misses and joined calls so far."""
        return CacheInfo(self._hits, self._misses, self._joined)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return memo_key(self._name, self._namespace, self._signature.bind(*args, **kwargs))

    def _entry(self, result: Any) -> Entry:
        """The result, packed; it must come back as it is."""
        try:
            body = _encode(result)
            same = self._decode(body)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"the result of {self._name} cannot be kept ({error}); return plain data") from None
        if type(same) is not type(result) or same != result:
            raise TypeError(
                f"the result of {self._name}, a {type(result).__qualname__}, would come back as a "
                f"{type(same).__qualname__}; annotate what the function returns"
            )
        now_s = time.time()
        fresh_until_s, stale_until_s = self._freshness.lifetime(now_s, self._rng)
        return Entry(
            body=body,
            format="cached",
            model=self._name,
            stored_wall_s=now_s,
            fresh_until_wall_s=fresh_until_s,
            stale_until_wall_s=stale_until_s,
        )

    def _value(self, entry: Entry | None) -> tuple[bool, Any]:
        """Whether it serves, and what it holds."""
        if entry is None or entry.fresh_until_wall_s <= time.time() or entry.stored_wall_s <= self._cleared_wall_s:
            return False, None
        try:
            return True, self._decode(entry.body)
        except msgspec.MsgspecError:
            return False, None  # of an older version of the function


class CachedAsync(_Memo, Generic[P, R]):
    """An async function whose results are kept. Made by `cached`."""

    def __init__(
        self, function: Callable[P, Coroutine[Any, Any, R]], ttl_s: float, namespace: str, engine: Engine | None
    ) -> None:
        super().__init__(function, ttl_s, namespace)
        self._engine = engine
        self._tasks: dict[tuple[int, bytes], tuple[asyncio.Task[Any], list[None]]] = {}

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function, but kept. Raises TypeError for arguments and results that cannot be."""
        key, space = self._key(args, kwargs), self._space()
        serves, value = self._value(await _find(space, key))
        if serves:
            self._hits += 1
            return value  # type: ignore[no-any-return]
        place = id(asyncio.get_running_loop()), key
        known = self._tasks.get(place)
        if known is None:
            self._misses += 1
            task = asyncio.get_running_loop().create_task(self._run(space, key, args, kwargs))
            known = self._tasks[place] = task, []
            task.add_done_callback(lambda _: self._tasks.pop(place, None))
        else:
            self._joined += 1
        task, waiting = known
        waiting.append(None)
        try:
            return await asyncio.shield(task)
        finally:
            waiting.pop()
            if not waiting:
                task.cancel()  # the last one left; done tasks do not mind

    def cache_clear(self) -> None:
        """Forget every result kept in memory and on disk; what is in Redis is not used any more by this process."""
        self._cleared_wall_s = time.time()
        self._space().forget(self._name)

    async def _run(self, space: Space, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = await self.bypass(*args, **kwargs)
        space.keep(key, self._entry(result))
        return result

    def _space(self) -> Space:
        return self._own if self._engine is None else space_of(self._engine, self._namespace)


class CachedSync(_Memo, Generic[P, R]):
    """A plain function whose results are kept; for any thread. Made by `cached`."""

    def __init__(self, function: Callable[P, R], ttl_s: float, namespace: str, engine: SyncEngine | None) -> None:
        super().__init__(function, ttl_s, namespace)
        self._engine = engine
        self._lock = threading.Lock()
        self._running: dict[bytes, Future[Any]] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function, but kept. Raises TypeError for arguments and results that cannot be."""
        key = self._key(args, kwargs)
        serves, value = self._value(self._get(key))
        with self._lock:
            if serves:
                self._hits += 1
                return value  # type: ignore[no-any-return]
            running = self._running.get(key)
            if running is None:
                self._misses += 1
                mine = self._running[key] = Future()
            else:
                self._joined += 1
        if running is not None:
            return running.result()  # type: ignore[no-any-return]
        try:
            result = self.bypass(*args, **kwargs)
            self._put(key, self._entry(result))
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(result)
        finally:
            with self._lock:
                del self._running[key]
        return result  # type: ignore[no-any-return]

    def cache_clear(self) -> None:
        """Forget every result kept in memory and on disk; what is in Redis is not used any more by this process."""
        self._cleared_wall_s = time.time()
        if self._engine is None:
            with self._lock:
                self._own.forget(self._name)
        else:

            async def forget(engine: Engine) -> None:
                space_of(engine, self._namespace).forget(self._name)

            self._engine.run(forget)

    def _get(self, key: bytes) -> Entry | None:
        if self._engine is None:
            with self._lock:
                found = self._own.find(key)
            return found[0] if found is not None else None

        async def find(engine: Engine) -> Entry | None:
            return await _find(space_of(engine, self._namespace), key)

        return self._engine.run(find)

    def _put(self, key: bytes, entry: Entry) -> None:
        if self._engine is None:
            with self._lock:
                self._own.keep(key, entry)
            return

        async def keep(engine: Engine) -> None:
            space_of(engine, self._namespace).keep(key, entry)

        self._engine.run(keep)


def space_of(engine: Engine, namespace: str) -> Space:
    """One of an engine's caches, on its own loop. Raises `ConfigError` where there is none of that name."""
    return engine._open().caches.space(namespace)  # of the same package


async def _find(space: Space, key: bytes) -> Entry | None:
    found = space.find(key)
    if found is None and space.remote is not None:
        found = await space.fetch(key)
    return found[0] if found is not None else None
