"""The engine for programs without an event loop: the same engine on one loop in the background."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from headway.engine.core import Engine
from headway.errors import Closed
from headway.types import Handler, Reply, Result, Tags, TaskLike

__all__ = ["SyncEngine"]

T = TypeVar("T")


class SyncEngine:
    """`Engine`, called from ordinary code and from any thread.

    ::

        with headway.SyncEngine(cache=True) as engine:
            for result in engine.map(rows, task):
                print(result.value)

    The loop runs in a daemon thread of its own; closing the engine ends it. Arguments as for `Engine`.
    """

    def __init__(self, *, handler: Handler | None = None, config: str | Path | None = None, **settings: Any) -> None:
        self._engine = Engine(handler=handler, config=config, **settings)  # a wrong setting raises here, not later
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headway", daemon=True)
        self._thread.start()
        self._closed = False

    def send(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
    ) -> Reply:
        """As `Engine.send`; the reply is read whole before it is returned, so `reply.body` is there."""

        async def whole() -> Reply:
            reply = await self._engine.send(
                path, body, headers=headers, cache=cache, deadline_s=deadline_s, priority=priority, tags=tags
            )
            await reply.read()
            return reply

        return self._run(whole())

    def map(
        self,
        rows: Iterable[Mapping[str, Any]],
        task: TaskLike,
        *,
        order: Literal["input", "completed"] = "input",
        concurrency: int = 512,
        tags: Tags | None = None,
    ) -> Iterator[Result]:
        """As `Engine.map`. `rows` is iterated on the background thread; leaving the loop early ends the rest."""
        results = self._engine.map(rows, task, order=order, concurrency=concurrency, tags=tags)
        try:
            while (result := self._run(_next(results))) is not None:
                yield result
        finally:
            self._run(results.aclose())

    def snapshot(self) -> dict[str, Any]:
        """As `Engine.snapshot`."""

        async def look() -> dict[str, Any]:
            return self._engine.snapshot()

        return self._run(look())

    def close(self) -> None:
        """Close the engine and end its thread. Idempotent."""
        if not self._closed:
            self._run(self._engine.aclose())
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> SyncEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise Closed("this engine is closed; open a new one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C in the waiting thread: the work must not go on behind the program's back.
            future.cancel()
            raise


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(results, None)
