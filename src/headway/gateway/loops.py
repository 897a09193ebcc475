"""The loop that a process of the gateway runs on: uvloop's where it is installed, else asyncio's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from math import ceil, floor
from typing import Any, Final, Literal, TypeAlias, TypeVarTuple

from headway.errors import ConfigError

__all__ = ["LoopKind", "loop_factory", "loop_name", "run_on"]

LoopKind: TypeAlias = Literal["auto", "asyncio", "uvloop"]

Ts = TypeVarTuple("Ts")
_FAR_S: Final = 1e8
"""Three years: uvloop counts in whole milliseconds, and infinity has none."""


def loop_factory(kind: LoopKind) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop.

    Args:
        kind: "auto" is uvloop where it can be imported, else asyncio.

    Raises:
        ConfigError: It is to be uvloop, and that is not installed.
    """
    if kind == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if kind == "auto":
            return asyncio.new_event_loop
        raise ConfigError("--loop uvloop: it is not installed; run `pip install uvloop`, or leave --loop out") from None

    class Loop(uvloop.Loop):
        """uvloop's tells the time in whole milliseconds, and its timers come up to one and a half too early.

        An own share of 0.3 ms would be told as 0 or 1, and whoever looks at the clock when woken would look again at
        once, and again, until it is time. Both are asyncio's here.
        """

        time = staticmethod(time.monotonic)

        def call_later(  # `call_at` comes here as well
            self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
        ) -> asyncio.TimerHandle:
            if delay > 0.0:
                now_ms = self.time() * 1e3  # uvloop counts from the last whole one
                delay = (ceil(now_ms + min(delay, _FAR_S) * 1e3) - floor(now_ms)) * 1e-3
            return super().call_later(delay, callback, *args, context=context)

    return Loop


def loop_name(kind: LoopKind) -> str:
    """Whose loop that is: "asyncio" or "uvloop". Raises `ConfigError` like `loop_factory`."""
    return "asyncio" if loop_factory(kind) is asyncio.new_event_loop else "uvloop"


def run_on(kind: LoopKind, main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, on a loop of that kind. Raises `ConfigError` like `loop_factory`, and what `main` raises."""
    with asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(main)
