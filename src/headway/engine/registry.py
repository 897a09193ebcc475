"""One engine per event loop and configuration, for clients that nobody opens and nobody need close.

An official SDK's client is made anywhere, used on whatever loop runs, and often never closed. So clients of equal
settings share an engine per loop (one cache, one pace, one budget, one set of connections), opened when the first of
them makes its first call there and closed when the last of them is closed, or with the loop: an asynchronous generator
that waits inside the loop is what `asyncio.run` closes at its end. Sync clients of a process share one loop in the
background, which ends at exit; a fork starts with none.

`registry()` is the only state of this package that outlives its users.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from headway.config import load_settings
from headway.engine.background import BackgroundLoop
from headway.engine.core import Engine
from headway.types import Handler

__all__ = ["Plan", "Registry", "Shared", "registry"]

EXIT_S = 5.0
"""How long the end of the program waits for what is under way in the background."""


class Plan:
    """What an engine is opened with: the arguments of `Engine`, checked now, used on every loop that needs one.

    Two are equal when their engines would be.

    Raises:
        ConfigError: A setting is wrong.
    """

    __slots__ = ("_config", "_given", "handler", "settings")

    def __init__(self, handler: Handler | None, config: str | Path | None, given: Mapping[str, Any]) -> None:
        self.handler = handler
        self.settings = load_settings(given, file=config)
        self._config = config
        self._given = dict(given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and other.handler is self.handler and other.settings == self.settings

    __hash__ = None  # type: ignore[assignment]  # settings hold mappings

    def engine(self) -> Engine:
        """A new one."""
        return Engine(handler=self.handler, config=self._config, **self._given)


class _Closable(Protocol):
    async def aclose(self) -> None: ...


C = TypeVar("C", bound=_Closable)


class Shared:
    """An engine and what belongs beside it, open until its last user releases it or its loop ends.

    Args:
        engine: Made for the running loop.
        owned: Whether the engine is closed with this.
        forget: Called when it is closed.
    """

    __slots__ = ("_beside", "_forget", "_guard", "_owned", "closed", "engine", "users")

    def __init__(self, engine: Engine, *, owned: bool = True, forget: Callable[[], object] | None = None) -> None:
        self.engine = engine
        self.users = 1
        self.closed = False
        self._owned = owned
        self._forget = forget
        self._beside: dict[str, _Closable] = {}
        self._guard = self._until_the_loop_ends()
        try:
            self._guard.__anext__().send(None)  # to its yield, without a turn of the loop: from here the loop knows it
        except StopIteration:
            pass  # that is how a yield looks from outside

    def beside(self, name: str, make: Callable[[], C]) -> C:
        """What is kept under that name, made when it is first asked for; closed together with the engine."""
        kept = self._beside.get(name)
        if kept is None:
            kept = self._beside[name] = make()
        return kept  # type: ignore[return-value]  # the name stands for the type

    async def release(self) -> None:
        """One user less; the last one closes."""
        self.users -= 1
        if self.users <= 0 and not self.closed:
            await self._guard.aclose()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.closed = True
            if self._forget is not None:
                self._forget()
            for kept in self._beside.values():
                await kept.aclose()
            if self._owned:
                await self.engine.aclose()


class Registry:
    """See the module. Its methods may be called from any thread; `open` on the loop that the engine is for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: WeakKeyDictionary[asyncio.AbstractEventLoop, list[tuple[Plan, Shared]]] = WeakKeyDictionary()
        self._defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()
        self._background: BackgroundLoop | None = None
        self._left: list[Any] = []
        self.generation = 0
        """How many forks lie between the first process and this one: what was opened in another is not ours."""

    def open(self, plan: Plan) -> Shared:
        """The running loop's engine of that configuration, with one user more. Release it when done."""
        loop = asyncio.get_running_loop()
        with self._lock:
            table = self._tables.get(loop)
            if table is None:
                # A loop that was closed without its generators takes its engines with it here.
                for other in [other for other in self._tables if other.is_closed()]:
                    del self._tables[other]
                table = self._tables[loop] = []
        # From here on only this loop's thread touches the table, which has as many entries as there are settings.
        shared = next((shared for known, shared in table if known == plan), None)
        if shared is not None:
            shared.users += 1
            return shared
        shared = Shared(plan.engine(), forget=lambda: table.remove(entry))
        entry = (plan, shared)
        table.append(entry)
        return shared

    def default(self) -> Engine:
        """The running loop's engine of default settings, kept until the loop ends.

        Raises:
            ConfigError: A setting of the environment or of `headway.toml` is wrong.
        """
        loop = asyncio.get_running_loop()
        shared = self._defaults.get(loop)
        if shared is None or shared.closed:
            shared = self.open(Plan(None, None, {}))
            with self._lock:
                for other in [other for other in self._defaults if other.is_closed()]:
                    del self._defaults[other]
                self._defaults[loop] = shared
        return shared.engine

    def default_open(self) -> Engine | None:
        """The running loop's engine of default settings, if something has opened it."""
        shared = self._defaults.get(asyncio.get_running_loop())
        return None if shared is None or shared.closed else shared.engine

    def background(self) -> BackgroundLoop:
        """The loop that this process's sync clients share."""
        with self._lock:
            if self._background is None:
                self._background = BackgroundLoop()
            return self._background

    def close(self) -> None:
        """At exit: end the background loop, and with it its engines."""
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            background.close(patience_s=EXIT_S)

    def forked(self) -> None:
        """In a child: nothing of the parent's may be used, and nothing of it closed either."""
        # The descriptors behind the parent's loops are shared with it: kept, so that nobody finalises them here.
        self._left.append((self._tables, self._defaults, self._background, list(self._tables.values())))
        self._lock = threading.Lock()  # a thread that is not here may have held the old one
        self._tables = WeakKeyDictionary()
        self._defaults = WeakKeyDictionary()
        self._background = None
        self.generation += 1


@cache
def registry() -> Registry:
    """The process's registry."""
    made = Registry()
    atexit.register(made.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.forked)
    return made
