"""The engine for programs without an event loop: the same engine on one loop in the background."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from headway.engine.core import Engine
from headway.errors import Closed, ConfigError
from headway.types import Handler, Reply, Result, Tags, TaskLike

__all__ = ["SyncEngine"]

T = TypeVar("T")


class SyncEngine:
    """`Engine`, called from ordinary code and from any thread.

    ::

        with headway.SyncEngine(cache=True) as engine:
            for result in engine.map(rows, task):
                print(result.value)

    The loop runs in a daemon thread of its own; closing the engine ends it, and calls that still wait in other threads
    get `Closed`. A process that forks opens its engines after forking. Arguments as for `Engine`.
    """

    def __init__(self, *, handler: Handler | None = None, config: str | Path | None = None, **settings: Any) -> None:
        self._engine = Engine(handler=handler, config=config, **settings)  # a wrong setting raises here, not later
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headway", daemon=True)
        self._thread.start()
        self._pid = os.getpid()
        self._lock = threading.Lock()
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
            if not self._closed:
                self._run(results.aclose())

    def snapshot(self) -> dict[str, Any]:
        """As `Engine.snapshot`."""

        async def look() -> dict[str, Any]:
            return self._engine.snapshot()

        return self._run(look())

    def close(self) -> None:
        """Close the engine and end its thread. Idempotent; from any thread."""
        with self._lock:
            if self._closed or self._pid != os.getpid():
                self._closed = True
                return
            self._closed = True  # before anything ends: who comes now is told, and who waits is cancelled below
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> SyncEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def _end(self) -> None:
        await self._engine.aclose()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        refusal: Exception | None = None
        if self._closed:
            refusal = Closed("this engine is closed; open a new one")
        elif self._pid != os.getpid():
            refusal = Closed("this process was forked after the engine was opened; open the engine after forking")
        elif threading.current_thread() is self._thread:
            refusal = ConfigError(
                "a SyncEngine cannot be called by what it runs itself (rows, a task); use Engine there"
            )
        if refusal is not None:
            work.close()
            raise refusal
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException as error:
            # Ctrl-C in the waiting thread: the work must not go on behind the program's back.
            future.cancel()
            if self._closed and isinstance(error, asyncio.CancelledError | TimeoutError):
                raise Closed("the engine was closed while this call was under way; open a new one") from None
            raise


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(results, None)
