"""What async and plain cached functions share: keys, entries, counts, and which calls are under way."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, cached_property
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

import msgspec

from headway.caller.spaces import Space
from headway.engine.memo_key import memo_key, shared_name
from headway.policy.freshness import Freshness
from headway.store.base import Entry
from headway.store.memory import MemoryStore

__all__ = ["CacheInfo", "Memo"]

E = TypeVar("E")
T = TypeVar("T")

BYTES_MAX = 64 * 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode


class CacheInfo(NamedTuple):
    """What a cached function has seen in this process."""

    hits: int
    misses: int
    joined: int
    """Calls that waited for an equal one under way."""


class Memo(Generic[E]):
    """A function and what is kept of it. `E` is the kind of engine whose cache keeps it; see `engine.memo.cached`.

    `key`, `find` and `keep` are for those who decide themselves when to run it, and where its results are kept.

    Args:
        function: What is kept.
        ttl_s: Seconds, > 0, that a result is fresh, give or take 10 %.
        namespace: Of the engine's caches; a part of the key.
        engine: Whose caches keep it; None: `own`.
        name: What it is called there; "": made of the function.
        label: What it is called in messages; "": its name.

    Raises:
        ConfigError: The function needs a name of its own.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        ttl_s: float,
        namespace: str,
        engine: E | None,
        name: str,
        *,
        label: str = "",
    ) -> None:
        for attribute in WRAPPER_ASSIGNMENTS:
            setattr(self, attribute, getattr(function, attribute))
        self.__wrapped__ = function
        self.bypass = function
        self._label = label or name or f"{function.__module__}.{function.__qualname__}"
        self._name = name or (self._label if engine is None else shared_name(function, self._label))
        self._namespace = namespace
        self._engine = engine
        self._signature = inspect.signature(function)
        self._freshness = Freshness(ttl_s=ttl_s, stale_if_error_s=0.0)
        self._rng = Random()
        self._hits = self._misses = self._joined = 0
        self._cleared_wall_s = 0.0
        self.own = Space(namespace, [MemoryStore(BYTES_MAX)], self._freshness)
        """64 MiB of memory, for results that no engine keeps."""
        self._lock = threading.Lock()
        self._running: dict[Any, Any] = {}
        """By place: what equal calls join. A run that is not in it any more is outdated; its result is not kept."""

    def cache_info(self) -> CacheInfo:
        """Hits, misses and joined calls so far."""
        return CacheInfo(self._hits, self._misses, self._joined)

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        """Read when it is first needed, and alone: other annotations may not be there at run time."""

        def only() -> None: ...

        function = inspect.unwrap(self.bypass)
        only.__annotations__ = {"return": getattr(function, "__annotations__", {}).get("return", Any)}
        try:
            returns = get_type_hints(only, globalns=getattr(function, "__globals__", {}))["return"]
        except NameError as error:
            raise TypeError(
                f"what {self._label} returns cannot be told ({error}); import the type that it is annotated with"
            ) from None
        return msgspec.msgpack.Decoder(returns).decode

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """What the result for these arguments is kept under. Raises TypeError: one of them is no plain data."""
        return memo_key(self._label, self._name, self._namespace, self._signature.bind(*args, **kwargs))

    def _entry(self, result: Any) -> Entry:
        """The result, packed; it must come back as it is."""
        try:
            body = _encode(result)
            same = self._decode(body)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"the result of {self._label} cannot be kept ({error}); return plain data") from None
        if type(same) is not type(result) or same != result:
            raise TypeError(
                f"the result of {self._label}, a {type(result).__qualname__}, would come back as a "
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
        """Whether it serves (a hit then), and what it holds."""
        decode = self._decode
        if entry is None or entry.fresh_until_wall_s <= time.time() or entry.stored_wall_s <= self._cleared_wall_s:
            return False, None
        try:
            value = decode(entry.body)
        except msgspec.MsgspecError:
            return False, None  # of an older version of the function
        with self._lock:
            self._hits += 1
        return True, value

    def _enter(self, place: Any, begin: Callable[[], T]) -> tuple[T, bool]:
        """The run under way at that place, or else a new one; and whether it is new."""
        with self._lock:
            run: T | None = self._running.get(place)
            if run is not None:
                self._joined += 1
                return run, False
            self._misses += 1
            run = self._running[place] = begin()
            return run, True

    def _leave(self, place: Any, run: Any) -> None:
        """Nobody joins it from here on."""
        with self._lock:
            if self._running.get(place) is run:
                del self._running[place]

    async def find(self, space: Space, key: bytes) -> tuple[bool, Any]:
        """Whether there is a fresh result, and the result; every tier is asked."""
        return self._value(await self._find(space, key))

    def keep(self, space: Space, key: bytes, result: Any) -> None:
        """Keep it. Raises TypeError: it would not come back as it is."""
        entry = self._entry(result)
        with self._lock:
            space.keep(key, entry)

    async def _find(self, space: Space, key: bytes) -> Entry | None:
        found = self._look(space, key)
        if found is None and space.remote is not None:
            fetched = await space.fetch(key)
            found = fetched[0] if fetched is not None else None
        return found

    def _look(self, space: Space, key: bytes) -> Entry | None:
        with self._lock:
            found = space.find(key)
        return found[0] if found is not None else None

    def _keep(self, space: Space, key: bytes, entry: Entry, place: Any, run: Any) -> None:
        with self._lock:
            if self._running.get(place) is run:
                space.keep(key, entry)

    def _forget(self, space: Space) -> None:
        with self._lock:
            self._cleared_wall_s = time.time()
            self._running.clear()
            space.forget(self._name)
