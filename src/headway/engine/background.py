"""The engine for programs without an event loop: the same engine on one loop in the background."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Literal, TypeVar

from headway.engine.core import Engine
from headway.errors import Closed, ConfigError, HeadwayError
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
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._over = asyncio.Event()
        self._pid = os.getpid()
        self._lock = threading.RLock()  # held while work is handed over, so that a loop about to end gets none
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="headway", daemon=True)
        self._thread.start()

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
        while (result := self._run(_next(results))) is not None:
            try:
                yield result
            except BaseException:
                self._leave(results)  # a failure underneath has ended it already; here it is left half-way
                raise

    def snapshot(self) -> dict[str, Any]:
        """As `Engine.snapshot`."""

        async def look() -> dict[str, Any]:
            return self._engine.snapshot()

        return self._run(look())

    def close(self) -> None:
        """Close the engine and end its thread. Idempotent; from any thread."""
        if self._pid != os.getpid():
            self._closed = True  # a copy: the thread, the loop and its connections are the other process's
            return
        refusal = self._refusal()
        if isinstance(refusal, ConfigError):
            raise refusal
        with self._lock:
            first, self._closed = not self._closed, True  # who comes from here on is told so
            ended = asyncio.run_coroutine_threadsafe(self._engine.aclose(), self._loop) if first else None
        try:
            if ended is not None:
                ended.result()
        finally:
            if first:
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    def __enter__(self) -> SyncEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _serve(self) -> None:
        with self._runner as runner:  # its end cancels what is left, closes generators, then the loop
            runner.run(self._over.wait())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._submit(work)
        try:
            return future.result()
        except CancelledError:
            if self._closed:
                raise Closed("the engine was closed while this call was under way; open a new one") from None
            raise
        except BaseException:
            # Ctrl-C in the waiting thread: the work must not go on behind the program's back.
            future.cancel()
            raise

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        refusal = self._refusal()
        if refusal is None:
            with self._lock:
                if not self._closed:
                    return asyncio.run_coroutine_threadsafe(work, self._loop)
            refusal = self._refusal()
        work.close()
        assert refusal is not None  # closed since it was asked first
        raise refusal

    def _refusal(self) -> HeadwayError | None:
        """Why nothing can be handed to the loop from here."""
        if self._pid != os.getpid():
            return Closed("this process was forked after the engine was opened; open the engine after forking")
        if threading.current_thread() is self._thread:
            return ConfigError("a SyncEngine cannot be called by what it runs itself (rows, a task); use Engine there")
        if self._closed:
            return Closed("this engine is closed; open a new one")
        return None

    def _leave(self, results: AsyncGenerator[Result, None]) -> None:
        """End the rest of a map, unless its loop does so by itself: closed, forked, or collected on its thread."""
        if self._refusal() is None:
            try:
                self._run(results.aclose())
            except Closed:
                pass  # just now


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(results, None)
