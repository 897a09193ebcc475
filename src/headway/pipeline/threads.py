"""Where plain functions run: one set of threads for all runs of the process."""

from __future__ import annotations

import asyncio
import contextvars
import os
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.pipeline.node import Node

__all__ = ["RUN_THREADS_MAX", "in_thread"]

RUN_THREADS_MAX = 64
"""Plain functions of one run at work at a time."""
THREADS_MAX = 256
"""Of the process, in all runs."""


@lru_cache(maxsize=1)
def _threads(pid: int) -> ThreadPoolExecutor:
    """Those of this process; a fork has none of its parent's."""
    return ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="headway-step")


async def in_thread(node: Node, call: Callable[[], Any]) -> Any:
    """Run it in a thread, with the context that it is called in.

    A thread cannot be cancelled. One that goes on keeps its place among those of the run until it has ended.
    """
    context = contextvars.copy_context()
    future = _threads(os.getpid()).submit(context.run, call)
    try:
        return await asyncio.wrap_future(future)
    finally:
        if not (future.done() or future.cancel()):
            _leave(node, future)


def _leave(node: Node, future: Future[Any]) -> None:
    run = node.run
    node.threads += 1

    def ended() -> None:
        node.threads -= 1
        if node.done:
            node.give_places()

    def tell(_: object) -> None:
        try:
            run.loop.call_soon_threadsafe(ended)
        except RuntimeError:
            pass  # the loop is closed, and the run with it

    future.add_done_callback(tell)
    if node.cause == "timeout":
        warnings.warn(
            f"step {node.spec.name!r} took longer than its timeout, and its thread goes on, for threads cannot be "
            f"cancelled: it keeps one of {RUN_THREADS_MAX} places of the run, and the program from ending, until its "
            "function returns; give what waits in there a timeout of its own, or make it `async def`",
            RuntimeWarning,
            stacklevel=2,
        )
