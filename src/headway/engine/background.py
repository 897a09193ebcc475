"""The engine for programs without an event loop: the same engine on one loop in the background."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

from headway.config import Settings
from headway.engine.core import Engine
from headway.errors import Closed, ConfigError, HeadwayError
from headway.flight.tasks import start
from headway.types import Handler, Reply, Result, Tags, TaskLike

__all__ = ["BackgroundLoop", "SyncEngine"]

T = TypeVar("T")


class BackgroundLoop:
    """An event loop in a daemon thread of its own, for work that other threads wait for.

    Work is handed over once and waited for with one lock: futures between threads cost three times as much.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._pid = os.getpid()
        self._lock = threading.RLock()  # held while work is handed over, so that a loop about to end gets none
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="headway", daemon=True)
        self._thread.start()

    @property
    def here(self) -> bool:
        """Whether this process is the one that the thread is in; a fork leaves it behind."""
        return self._pid == os.getpid()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop and wait. Ctrl-C in the waiting thread cancels it.

        Raises:
            Closed: The loop is, or was closed meanwhile; or this process was forked off the loop's.
            ConfigError: This is the loop's own thread, which would wait for itself.
        """
        waiting = _Waiting(work)
        try:
            self._submit(waiting)
            waiting.over.acquire()
        except HeadwayError:
            raise  # refused: nothing was handed over
        except BaseException:
            # Ctrl-C in the waiting thread: the work must not go on behind the program's back.
            with self._lock:
                if not self._closed:
                    self._loop.call_soon_threadsafe(waiting.cancel)
            raise
        try:
            return waiting.result()
        except asyncio.CancelledError:
            if self._closed:
                raise Closed("the engine was closed while this call was under way; open a new one") from None
            raise

    def close(
        self, last: Callable[[], Coroutine[Any, Any, None]] | None = None, *, patience_s: float | None = None
    ) -> None:
        """End it: `last` is run first, what is left is cancelled. Idempotent; from any thread but its own.

        Args:
            last: Makes the work that is waited for before anything is cancelled.
            patience_s: How long to wait for the thread; None: until it has ended.

        Raises:
            ConfigError: This is the loop's own thread.
        """
        if not self.here:
            self._closed = True  # a copy: the thread, the loop and its connections are the other process's
            return
        refusal = self.refusal()
        if isinstance(refusal, ConfigError):
            raise refusal
        waiting = None
        with self._lock:
            if last is not None and not self._closed:
                waiting = _Waiting(last())
                self._submit(waiting)
            first, self._closed = not self._closed, True  # who comes from here on is told so
        try:
            if waiting is not None:
                waiting.over.acquire()
                waiting.result()
        finally:
            if first:
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(patience_s)

    def refusal(self) -> HeadwayError | None:
        """Why nothing can be handed to the loop from here; None when it can."""
        if not self.here:
            return Closed("this process was forked after the engine was opened; open the engine after forking")
        if threading.current_thread() is self._thread:
            return ConfigError(
                "a SyncEngine or sync client cannot be called by what it runs itself (rows, a task, a handler); "
                "use Engine there"
            )
        if self._closed:
            return Closed("this engine is closed; open a new one")
        return None

    def _submit(self, waiting: _Waiting[Any]) -> None:
        refusal = self.refusal()
        if refusal is None:
            with self._lock:
                if not self._closed:
                    self._loop.call_soon_threadsafe(waiting.start)
                    return
            refusal = self.refusal()
        waiting.drop()
        assert refusal is not None  # closed since it was asked first
        raise refusal

    def _serve(self) -> None:
        loop = self._loop
        try:
            loop.run_until_complete(self._over.wait())
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            # Its executor is not waited for: that takes a thread, and at exit none can be started any more.
            loop.close()


class _Waiting(Generic[T]):
    """Work on its way to another thread and back."""

    __slots__ = ("_good", "_task", "_value", "_work", "over")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._value: T | None = None
        self._good = False
        self.over = threading.Lock()
        self.over.acquire()

    def start(self) -> None:
        """On the loop."""
        task = start(asyncio.get_running_loop(), self._run())
        if not self._good:
            self._task = task
            task.add_done_callback(self._failed)

    def cancel(self) -> None:
        """On the loop."""
        if self._task is not None:
            self._task.cancel()

    def drop(self) -> None:
        """It will not be started."""
        self._work.close()

    async def _run(self) -> None:
        self._value = await self._work
        self._good = True
        if self._task is not None:
            self._task.remove_done_callback(self._failed)
        self.over.release()  # here, not in a callback: that would take one turn of the loop more

    def _failed(self, task: asyncio.Task[None]) -> None:
        self._work.close()  # it was not begun if its task was cancelled before its first step
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits any more
        self.over.release()

    def result(self) -> T:
        """What came of it, once `over` can be had. The task is let go of: its error's traceback leads back to here."""
        task, self._task = self._task, None
        if not self._good:
            assert task is not None
            task.result()  # raises
        return cast("T", self._value)


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
        self._background = BackgroundLoop()

    @property
    def settings(self) -> Settings:
        """What the engine was told."""
        return self._engine.settings

    def run(self, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Run something with the async engine, on its loop, and wait for it."""
        return self._background.run(work(self._engine))

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
        namespace: str = "",
    ) -> Reply:
        """As `Engine.send`; the reply is read whole before it is returned, so `reply.body` is there."""

        async def whole() -> Reply:
            reply = await self._engine.send(
                path,
                body,
                headers=headers,
                cache=cache,
                deadline_s=deadline_s,
                priority=priority,
                tags=tags,
                namespace=namespace,
            )
            await reply.read()
            return reply

        return self._background.run(whole())

    def map(
        self,
        rows: Iterable[Mapping[str, Any]],
        task: TaskLike,
        *,
        order: Literal["input", "completed"] = "input",
        concurrency: int = 512,
        tags: Tags | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        adapt: bool | None = None,
    ) -> Iterator[Result]:
        """As `Engine.map`. `rows` is iterated on the background thread; leaving the loop early ends the rest."""
        results = self._engine.map(
            rows, task, order=order, concurrency=concurrency, tags=tags, priority=priority, adapt=adapt
        )
        while (result := self._background.run(_next(results))) is not None:
            try:
                yield result
            except BaseException:
                self._leave(results)  # a failure underneath has ended it already; here it is left half-way
                raise

    def snapshot(self) -> dict[str, Any]:
        """As `Engine.snapshot`."""

        async def look() -> dict[str, Any]:
            return self._engine.snapshot()

        return self._background.run(look())

    def close(self) -> None:
        """Close the engine and end its thread. Idempotent; from any thread."""
        self._background.close(self._engine.aclose)

    def __enter__(self) -> SyncEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _leave(self, results: AsyncGenerator[Result, None]) -> None:
        """End the rest of a map, unless its loop does so by itself: closed, forked, or collected on its thread."""
        if self._background.refusal() is None:
            try:
                self._background.run(results.aclose())
            except Closed:
                pass  # just now


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(results, None)
