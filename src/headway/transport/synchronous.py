"""The transport of a sync client: its requests through an engine on the process's background loop."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2

from headway.engine import Engine, SyncEngine
from headway.engine.registry import Plan, Shared, registry
from headway.errors import Closed, ConfigError, HeadwayError
from headway.transport.bodies import Bridge, SyncBody
from headway.transport.door import BODY_BYTES_MAX, Door
from headway.transport.family import FamilyName, family_of
from headway.types import Call, Handler, Reply
from headway.wire.base import Reader

__all__ = ["Transport"]

T = TypeVar("T")


class Transport(httpx2.BaseTransport):
    """As `AsyncTransport`, for sync clients: from any thread, and after a fork (the child gets an engine of its own).

    All sync clients of a process share one loop in a background thread; clients of equal settings share an engine on
    it. At exit what is still open is closed.

    Args:
        family: "httpx2", or "httpx" for a client of httpx 0.28.
        engine: One that is open already, and stays open. Instead of the following.
        handler: Takes the network's place; it runs on the background loop.
        config: A TOML file; by default `headway.toml` in the working directory, if there is one.
        settings: Any field of `headway.Settings` as a keyword.

    Raises:
        ConfigError: A setting is wrong, or the family's package is not installed.
    """

    def __init__(
        self,
        *,
        family: FamilyName = "httpx2",
        engine: SyncEngine | None = None,
        handler: Handler | None = None,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        if engine is not None and (handler is not None or config is not None or settings):
            raise ConfigError("give a transport either an engine or settings for one, not both")
        if engine is not None and not isinstance(engine, SyncEngine):
            raise ConfigError(f"a sync transport takes a headway.SyncEngine, not {type(engine).__name__}")
        self._door = Door(family_of(family))
        self._engine = engine
        self._handler = handler
        self._plan = Plan(handler, config, settings) if engine is None else None
        self._settings = self._plan.settings if self._plan is not None else cast("SyncEngine", engine).settings
        self._opened: dict[int, _Opened] = {}
        """By generation, of which only the newest is of use: in a child what was open belongs to its parent."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request; see `headway.transport`."""
        opened = self._opened.get(registry().generation) or self._open()
        reader = self._door.reader(request)
        if reader is None:
            return self._pass(request, opened)
        body = self._door.whole(request)
        if body is None:
            request, body = self._read(request)
        if body is None or len(body) > BODY_BYTES_MAX:
            return self._pass(request, opened)
        return self._answer(request, opened, reader, body)

    def close(self) -> None:
        """Let go of the engine; the last to do so closes it."""
        opened = self._opened.get(registry().generation)
        if opened is None:
            return
        _close_all(opened.passing)
        shared, opened.shared = opened.shared, None
        if shared is not None:
            try:
                registry().background().run(shared.release())
            except Closed:
                pass  # with everything on that loop

    def _open(self) -> _Opened:
        """By several threads at once, maybe: the first one's is everybody's. A lock would not survive a fork."""
        made = _Opened()
        opened = self._opened.setdefault(registry().generation, made)
        if opened is made:
            weakref.finalize(self, _close_all, made.passing)
        return opened

    def _answer(self, request: httpx2.Request, opened: _Opened, reader: Reader, body: bytes) -> httpx2.Response:
        door = self._door
        calls: list[Call] = []

        async def answer(engine: Engine) -> tuple[Reply, Bridge | None]:
            call = door.call(engine, request, reader, body)
            calls.append(call)
            door.recall(engine, call, request)
            reply = await engine.handle(call)
            return reply, None if reply.body is not None else Bridge(reply)

        try:
            reply, bridge = self._run(opened, answer)
        except HeadwayError as error:
            return door.failed(error, request, calls[0] if calls else None)
        return door.response(reply, calls[0], self._stream(bridge, request))

    def _read(self, request: httpx2.Request) -> tuple[httpx2.Request, bytes | None]:
        """The streamed body; the request anew and None where it is too large to be read."""
        parts, size = [], 0
        rest = iter(cast("Iterable[bytes]", request.stream))
        for part in rest:
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES_MAX:
                family = self._door.family
                return family.copy(request, request.headers.raw, family.sync_parts(parts, rest)), None
        return request, b"".join(parts)

    def _pass(self, request: httpx2.Request, opened: _Opened) -> httpx2.Response:
        """What no reader knows goes out as it is, over the family's own transport."""
        door, family = self._door, self._door.family
        handler = self._handler
        if handler is not None:
            call = door.unread(request, request.read())

            async def answer(_: Engine) -> tuple[Reply, Bridge | None]:
                reply = await handler(call)
                return reply, None if reply.body is not None else Bridge(reply)

            reply, bridge = self._run(opened, answer)
            return door.plain(reply, request, self._stream(bridge, request))
        proxy = family.proxy_for(request.url)
        transport = opened.passing.get(proxy)
        if transport is None:
            try:
                transport = opened.passing.setdefault(proxy, family.sync_transport(proxy))
            except ConfigError as error:
                return door.failed(error, request, None)
        return door.passed(transport.handle_request(door.outward(request, self._settings)), request)

    def _run(self, opened: _Opened, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """On the engine's loop."""
        if self._engine is not None:
            return self._engine.run(work)
        return registry().background().run(self._with_engine(opened, work))

    async def _with_engine(self, opened: _Opened, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        shared = opened.shared
        if shared is None or shared.closed:
            assert self._plan is not None
            shared = opened.shared = registry().open(self._plan)
        return await work(shared.engine)

    def _stream(self, bridge: Bridge | None, request: httpx2.Request) -> SyncBody | None:
        family = self._door.family
        return None if bridge is None else family.sync_body(bridge, partial(family.failure, request=request))


class _Opened:
    """What a transport has open in one process."""

    __slots__ = ("passing", "shared")

    def __init__(self) -> None:
        self.shared: Shared | None = None
        self.passing: dict[str | None, httpx2.HTTPTransport] = {}


def _close_all(transports: dict[str | None, httpx2.HTTPTransport]) -> None:
    while transports:
        transports.popitem()[1].close()
