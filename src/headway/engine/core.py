"""`Engine`: builds the stack in one place and sends calls through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from headway.attempt.route import target_of
from headway.caller.cache import key_of
from headway.config import load_settings
from headway.engine.arguments import PRIORITIES, check_arguments, own_headers
from headway.engine.fan import open_fan
from headway.engine.mapping import map_rows
from headway.engine.prefetch import Prefetcher
from headway.engine.stack import Stack, default_headers
from headway.errors import Closed, ConfigError, HeadwayError
from headway.policy.fingerprint import tenant_of
from headway.types import Call, Handler, Reply, RequestView, Result, Tags, TaskLike, Trace
from headway.wire import model_in_path, reader_for
from headway.wire.base import Reader

__all__ = ["Engine"]

REFRESHES_MAX = 64
"""Background refreshes under way at once; further ones are left for the next caller."""


class Engine:
    """The performance engine. One per event loop; open it there, close it there.

    ::

        async with headway.Engine(cache=True) as engine:
            reply = await engine.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "Hello"})
            print(await reply.read())

    Args:
        handler: Takes the network's place: a simulator or a fake. None: connections to `base_url`.
        config: A TOML file; by default `headway.toml` in the working directory, if there is one.
        wall_s: Calendar time in Unix seconds; by default the system's. Give a virtual loop's own under simulation.
        settings: Any field of `headway.Settings` as a keyword.

    Raises:
        ConfigError: A setting is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        handler: Handler | None = None,
        config: str | Path | None = None,
        wall_s: Callable[[], float] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = load_settings(settings, file=config)
        self._handler = handler
        self._wall_s = wall_s
        self._rng = Random(self.settings.seed)
        self._headers = default_headers(self.settings)
        self._tenant = tenant_of(self._headers)
        self._targets: dict[str, tuple[str, str, Reader | None]] = {}
        self._background: dict[bytes, asyncio.Task[Reply | None]] = {}
        self._stack: Stack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self.prefetch = Prefetcher(self.send, lambda: self._open().idle)

    # -- one call --------------------------------------------------------------------------------------------------

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        key_body: bytes | None = None,
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
        namespace: str = "",
    ) -> Reply:
        """Make one call, streamed when the body says ``"stream": true``.

        Args:
            path: E.g. "/v1/responses", relative to `base_url`.
            body: The request, as JSON bytes (sent as they are) or as a mapping.
            headers: More headers; they win over the engine's own, credential included.
            cache: "off" or "refresh" for this call; by default as the engine is set.
            key_body: A body that stands in for the sent one in the cache key (declared normalisation).
            deadline_s: Seconds from now; at most the engine's `timeout_s`.
            priority: Greater goes first; "low" is -1, "high" is 1.
            tags: Where the call belongs, for the call log.
            namespace: The named cache to use, a table ``[caches.NAME]``.

        Returns:
            The reply, whatever its status. Streams stay alive until they are closed.

        Raises:
            DeadlineExceeded, Overloaded, BudgetExceeded, Closed: Ours.
            ProviderError: There is no whole answer; see `headway.errors`.
            ConfigError: An argument is wrong (`headers` are sent as they are, so none may begin with "headway-"), or
                the engine belongs to another event loop.
        """
        stack = self._open()
        if cache is not None or deadline_s is not None or priority != 0:
            check_arguments(cache, deadline_s, priority)
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        mode = cache or ("on" if stack.cache is not None else "off")
        call = self._call(path, data, headers, mode=mode, deadline_s=deadline_s, priority=priority, tags=tags)
        if namespace:
            stack.caches.space(namespace)  # an unknown one is an error, the cache on or off
            call = replace(call, namespace=namespace)
        if key_body is not None and mode != "off" and stack.cache is not None:
            call = replace(call, key=key_of(call, key_body, route=stack.cache.route))
        return await stack.handle(call)

    async def handle(self, call: Call) -> Reply:
        """The engine as a `Handler`, for calls that are made elsewhere.

        Raises:
            Closed: The engine was closed.
            ConfigError: The engine belongs to another event loop.
        """
        return await self._open().handle(call)

    def map(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        task: TaskLike,
        *,
        order: Literal["input", "completed"] = "input",
        concurrency: int = 512,
        tags: Tags | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Run a task over many rows, bounded; every row gives one `Result`, failed ones included.

        Rows are pulled lazily, at most `concurrency` ahead of what has been yielded. Leave it early with ``aclose()``.

        Args:
            rows: Mappings, sync or async; held only while in flight.
            task: E.g. a `headway.Task`.
            order: "input" keeps the rows' order, "completed" yields each as soon as it is done.
            concurrency: Rows in flight at once, > 0. Pacing is the limits' business, so it may be generous.
            tags: For the call log.
        """
        fan = open_fan(self.settings, task, rows, concurrency)
        return map_rows(self, rows, task, order=order, concurrency=concurrency, tags=tags or Tags(), fan=fan)

    def book(self, call: Call, error: HeadwayError) -> None:
        """Write the row of a call that is answered with a failure known before, without an attempt."""
        self._open().book(call.trace, error)

    def new_trace(self) -> Trace:
        """The trace of a call that is made elsewhere for `handle`; it starts now. See `engine.inbound`."""
        return (self._stack or self._open()).new_trace()

    def snapshot(self) -> dict[str, Any]:
        """Live figures: in_flight, queued, throttled (429s so far), attempts, allowed_rpm, dollars, and the caches'."""
        return (self._stack or self._open()).snapshot()

    async def aclose(self) -> None:
        """End what is under way (its callers get `Closed`), write what is pending, close connections. Idempotent.

        Cancelled, it goes on in the background; called again, it waits for the end.
        """
        self._closed = True
        if self._closing is None or self._closing.cancelled():
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Engine:
        self._open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _open(self) -> Stack:
        """The stack, on the one loop that it was first used on."""
        loop = asyncio.get_running_loop()
        if self._stack is not None:
            if loop is not self._loop:
                raise ConfigError("this engine belongs to the event loop it was first used on; open one per loop")
            return self._stack
        if self._closed:
            raise Closed("this engine is closed; open a new one")
        self._stack = Stack(self.settings, self._handler, self._wall_s, self._rng, self._refresh)
        self._loop = loop
        return self._stack

    async def _close(self) -> None:
        tasks = list(self._background.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self.prefetch.aclose(), return_exceptions=True)
        if self._stack is not None:
            await self._stack.aclose()

    def _call(
        self,
        path: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        *,
        mode: Literal["on", "off", "refresh"],
        deadline_s: float | None,
        priority: int | Literal["low", "normal", "high"],
        tags: Tags | None,
    ) -> Call:
        stack = self._stack
        assert stack is not None
        origin, target, reader = self._target(path)
        sent, tenant = self._headers, self._tenant
        if headers:
            own = own_headers(headers)
            sent = (*(pair for pair in sent if pair[0] not in own), *own.items())
            tenant = tenant_of(sent)
        view = reader.read_request(data, sent) if reader is not None else RequestView()
        if not view.model and reader is not None:
            view = replace(view, model=model_in_path(target))
        trace = stack.new_trace()
        trace.path = target.partition("?")[0]  # logged: a query may hold a credential
        trace.format, trace.model, trace.stream = view.format, view.model, view.stream
        trace.output_tokens_max, trace.tenant, trace.body_bytes = view.output_tokens_max, tenant[:16], len(data)
        trace.cache = "off"
        trace.upstream = origin
        if tags is not None:
            if not isinstance(tags, Tags):
                raise ConfigError(f"tags must be a headway.Tags, such as Tags(run=...), not {type(tags).__name__}")
            trace.tags = tags
        return Call(
            origin=origin,
            path=target,
            headers=sent,
            body=data,
            view=view,
            trace=trace,
            tenant=tenant,
            cache_mode=mode,
            deadline_at_s=trace.started_at_s + min(inf if deadline_s is None else deadline_s, self.settings.timeout_s),
            priority=priority if isinstance(priority, int) else PRIORITIES[priority],
            attempts_max=self.settings.attempts_max,
            tags=trace.tags,
        )

    def _target(self, path: str) -> tuple[str, str, Reader | None]:
        known = self._targets.get(path)
        if known is None:
            if not path.startswith("/") or any(c <= " " for c in path):
                raise ConfigError(f"path {path!r} must start with a slash and hold no white space, e.g. /v1/responses")
            if len(self._targets) >= 256:
                self._targets.clear()  # paths with ids in them: start over rather than grow
            origin, target = target_of(self.settings.base_url, path)
            known = self._targets[path] = (origin, target, reader_for(target))
        return known

    def _refresh(self, call: Call) -> asyncio.Task[Reply | None] | None:
        """Fetch a cached answer anew in the background, once per key; a call in the log like any other."""
        stack, key = self._stack, call.key
        if stack is None or key is None:
            return None
        if key in self._background:
            return self._background[key]
        if len(self._background) >= REFRESHES_MAX:
            return None
        trace = stack.new_trace()
        for name in ("path", "format", "model", "stream", "output_tokens_max", "tenant", "upstream", "tags"):
            setattr(trace, name, getattr(call.trace, name))
        again = replace(call, trace=trace, cache_mode="refresh", deadline_at_s=inf)
        task = asyncio.get_running_loop().create_task(_fetched(stack.handle, again))
        self._background[key] = task
        task.add_done_callback(lambda _: self._background.pop(key, None))
        return task


async def _fetched(handle: Handler, call: Call) -> Reply | None:
    """The reply, read whole; None when there is none."""
    try:
        reply = await handle(call)
        await reply.read()
    except HeadwayError:
        return None  # its row in the call log says so
    return reply
