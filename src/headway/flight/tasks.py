"""How a flight's task is started."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ["start"]


def start(loop: asyncio.AbstractEventLoop, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task; it has run up to its first wait, where Python can (3.12): one turn of the loop less for every call."""
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return asyncio.Task(run, loop=loop, eager_start=True)
    return loop.create_task(run)
