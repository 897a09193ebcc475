"""`@headway.cached`: a user's own function, kept through the same caches as the answers of providers.

The key is made of the function's name and of its arguments, see `engine.memo_key`. What is kept is the result's
msgpack, never a pickle.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, ParamSpec, TypeVar

from headway.caller.spaces import Space
from headway.engine.background import SyncEngine
from headway.engine.core import Engine
from headway.engine.memo_base import CacheInfo, Memo
from headway.errors import ConfigError
from headway.store.base import Entry

__all__ = ["CacheInfo", "CachedAsync", "CachedSync", "cached", "space_of"]

P = ParamSpec("P")
R = TypeVar("R")


def cached(
    *, ttl: float, namespace: str = "", engine: Engine | SyncEngine | None = None, name: str = ""
) -> Callable[[Callable[P, R]], Any]:
    """Keep a function's results; equal calls under way at the same time run it once.

    Args:
        ttl: Seconds that a result is fresh, > 0, give or take 10 %.
        namespace: The engine's named cache that keeps them; without an engine, a part of the key.
        engine: Whose cache (memory, SQLite, Redis) keeps them: an `Engine` for an async function, a `SyncEngine` for a
            plain one. None: 64 MiB of memory of the function's own.
        name: What the function is called in the engine's cache. "": made of its module, name, file and code, so that a
            changed function starts anew.

    Returns:
        A decorator. The function gains ``cache_info()``, ``cache_clear()`` and ``bypass(...)``, the function itself.

    Raises:
        ConfigError: `ttl` is not above 0, the engine is not of the function's kind, or the function needs a name.
    """
    if not ttl > 0:
        raise ConfigError(f"cached: ttl must be a number of seconds above 0, not {ttl!r}")

    def decorate(function: Callable[P, R]) -> Any:
        if inspect.iscoroutinefunction(function):
            if isinstance(engine, SyncEngine):
                raise ConfigError(f"cached: {function.__qualname__} is async, so give it an Engine, not a SyncEngine")
            return CachedAsync(function, ttl, namespace, engine, name)
        if isinstance(engine, Engine):
            raise ConfigError(f"cached: {function.__qualname__} is not async, so give it a SyncEngine, not an Engine")
        return CachedSync(function, ttl, namespace, engine, name)

    return decorate


class _Run:
    """An async call under way, and how many wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.waiting = 0


class CachedAsync(Memo[Engine], Generic[P, R]):
    """An async function whose results are kept. Made by `cached`."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function, but kept. Raises TypeError for arguments and results that cannot be."""
        key, space = self.key(args, kwargs), self._space()
        serves, value = await self.find(space, key)
        if serves:
            return value  # type: ignore[no-any-return]
        loop = asyncio.get_running_loop()
        place = loop, key
        run, _ = self._enter(place, _Run)
        if run.task is None:

            async def work() -> Any:
                result = await self.bypass(*args, **kwargs)
                self._keep(space, key, self._entry(result), place, run)
                return result

            run.task = loop.create_task(work())
            run.task.add_done_callback(lambda _: self._leave(place, run))
        run.waiting += 1
        try:
            return await asyncio.shield(run.task)
        finally:
            run.waiting -= 1
            if not run.waiting:  # the last one left: it ends, and whoever comes now begins anew
                self._leave(place, run)
                run.task.cancel()

    def cache_clear(self) -> None:
        """Forget every result kept in memory and on disk; what is in Redis is not used any more by this process.

        Calls under way go on for those who wait, and are not kept.
        """
        self._forget(self._space())

    def _space(self) -> Space:
        return self.own if self._engine is None else space_of(self._engine, self._namespace)


class CachedSync(Memo[SyncEngine], Generic[P, R]):
    """A plain function whose results are kept; for any thread. Made by `cached`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function, but kept. Raises TypeError for arguments and results that cannot be."""
        key = self.key(args, kwargs)
        while True:
            serves, value = self._value(self._found(key))
            if serves:
                return value  # type: ignore[no-any-return]
            run: Future[Any]
            run, is_mine = self._enter(key, Future)
            if is_mine:
                return self._run(key, run, args, kwargs)
            try:
                return run.result()  # type: ignore[no-any-return]
            except CancelledError:
                if not run.cancelled():
                    raise  # by the function itself

    def cache_clear(self) -> None:
        """As `CachedAsync.cache_clear`."""
        self._there(self._forget)

    def _run(self, key: bytes, run: Future[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        try:
            try:
                result: R = self.bypass(*args, **kwargs)
                entry = self._entry(result)
                self._there(lambda space: self._keep(space, key, entry, key, run))
            finally:
                self._leave(key, run)
        except Exception as error:
            run.set_exception(error)
            raise
        except BaseException:
            run.cancel()  # Ctrl-C is this thread's alone: one of those who wait begins anew
            raise
        run.set_result(result)
        return result

    def _found(self, key: bytes) -> Entry | None:
        if self._engine is None:
            return self._look(self.own, key)

        async def find(engine: Engine) -> Entry | None:
            return await self._find(space_of(engine, self._namespace), key)

        return self._engine.run(find)

    def _there(self, work: Callable[[Space], None]) -> None:
        """Work on the space, on its own loop."""
        if self._engine is None:
            return work(self.own)

        async def there(engine: Engine) -> None:
            work(space_of(engine, self._namespace))

        return self._engine.run(there)


def space_of(engine: Engine, namespace: str) -> Space:
    """One of an engine's caches, on its own loop. Raises `ConfigError` where there is none of that name."""
    return engine._open().caches.space(namespace)  # of the same package
