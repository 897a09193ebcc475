"""The engine of what runs now, for code that is not handed one: `headway.ask`, steps of a pipeline, map-reduce."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec

from headway.engine.core import Engine
from headway.engine.registry import registry
from headway.errors import ConfigError

__all__ = ["current_engine", "engine_in_use", "on_this_loop", "using"]

P = ParamSpec("P")

_ENGINE: ContextVar[Engine | None] = ContextVar("headway_engine", default=None)


def current_engine() -> Engine:
    """The engine set by `using`, else this loop's own of default settings (environment, `headway.toml`).

    The latter is shared with the clients of equal settings and closed with the loop; nobody need close it.

    Raises:
        ConfigError: No event loop runs here, or a default setting is wrong.
    """
    engine = _ENGINE.get()
    if engine is not None:
        return engine
    try:
        return registry().default()
    except RuntimeError as problem:
        raise ConfigError("there is no running event loop here; call it inside of asyncio.run(...)") from problem


def engine_in_use() -> Engine | None:
    """As `current_engine`, but None where that would have to be opened first."""
    return _ENGINE.get() or registry().default_open()


@contextmanager
def using(engine: Engine) -> Iterator[Engine]:
    """Make `engine` the current one for the block and the tasks that are started in it. It stays its owner's to close.

    Raises:
        ConfigError: It is no `Engine`.
    """
    if not isinstance(engine, Engine):
        raise ConfigError(f"using needs a headway.Engine, not {type(engine).__name__}")
    token = _ENGINE.set(engine)
    try:
        yield engine
    finally:
        _ENGINE.reset(token)


def on_this_loop(told: Callable[P, object]) -> Callable[P, None]:
    """`told`, to be called from any thread: it runs on the loop that runs now; at once where that is the caller's own.

    What ends on another loop, such as the call of a sync client, is told in time: before whoever waits here for the
    thread that made the call goes on.
    """
    loop, thread = asyncio.get_running_loop(), threading.get_ident()

    def anywhere(*args: P.args, **named: P.kwargs) -> None:
        if threading.get_ident() == thread:
            told(*args, **named)
        elif not loop.is_closed():
            with suppress(RuntimeError):  # closed just now
                loop.call_soon_threadsafe(partial(told, *args, **named))

    return anywhere
