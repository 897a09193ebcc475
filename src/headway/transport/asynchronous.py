"""The transport of an async client: its requests through the engine of the loop they are made on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2

from headway.engine import Engine
from headway.engine.registry import Plan, Shared, registry
from headway.errors import ConfigError, HeadwayError
from headway.transport.bodies import AsyncBody
from headway.transport.door import BODY_BYTES_MAX, Door
from headway.transport.family import FamilyName, family_of
from headway.types import Handler, Reply
from headway.wire.base import Reader

__all__ = ["AsyncTransport"]


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Headway in the place of an async client's network, for people who build the client themselves.

    ::

        httpx2.AsyncClient(transport=headway.AsyncTransport(cache=True), timeout=None)

    It may be made before a loop runs and used on several, one after the other or at once; each has an engine of its
    own, shared by all transports of equal settings, closed with the last of them or with the loop.

    Args:
        family: "httpx2", or "httpx" for a client of httpx 0.28.
        engine: One that is open already; it is used on its loop, and stays open. Instead of the following.
        handler: Takes the network's place: a simulator or a fake.
        config: A TOML file; by default `headway.toml` in the working directory, if there is one.
        settings: Any field of `headway.Settings` as a keyword.

    Raises:
        ConfigError: A setting is wrong, or the family's package is not installed.
    """

    def __init__(
        self,
        *,
        family: FamilyName = "httpx2",
        engine: Engine | None = None,
        handler: Handler | None = None,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        if engine is not None and (handler is not None or config is not None or settings):
            raise ConfigError("give a transport either an engine or settings for one, not both")
        if engine is not None and not isinstance(engine, Engine):
            raise ConfigError(f"an async transport takes a headway.Engine, not {type(engine).__name__}")
        self._door = Door(family_of(family))
        self._engine = engine
        self._handler = handler
        self._plan = Plan(handler, config, settings) if engine is None else None
        self._opened: dict[asyncio.AbstractEventLoop, Shared] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request; see `headway.transport`."""
        shared = self._opened.get(asyncio.get_running_loop())
        if shared is None or shared.closed:
            shared = self._open()
        reader = self._door.reader(request)
        if reader is None:
            return await self._pass(request, shared)
        body = self._door.whole(request)
        if body is None:
            request, body = await self._read(request)
        if body is None or len(body) > BODY_BYTES_MAX:
            return await self._pass(request, shared)
        return await self._answer(request, shared.engine, reader, body)

    async def aclose(self) -> None:
        """Let go of the engines; the last to do so closes them."""
        here = asyncio.get_running_loop()
        opened, self._opened = self._opened, {}
        for loop, shared in opened.items():
            if loop is here:
                await shared.release()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(shared.release(), loop)

    async def _answer(self, request: httpx2.Request, engine: Engine, reader: Reader, body: bytes) -> httpx2.Response:
        door, call = self._door, None
        try:
            call = door.call(engine, request, reader, body)
            door.recall(engine, call, request)
            reply = await engine.handle(call)
        except HeadwayError as error:
            return door.failed(error, request, call)
        return door.response(reply, call, self._stream(reply, request))

    async def _read(self, request: httpx2.Request) -> tuple[httpx2.Request, bytes | None]:
        """The streamed body; the request anew and None where it is too large to be read."""
        parts, size = [], 0
        rest = aiter(cast("AsyncIterable[bytes]", request.stream))
        async for part in rest:
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES_MAX:
                family = self._door.family
                return family.copy(request, request.headers.raw, family.async_parts(parts, rest)), None
        return request, b"".join(parts)

    async def _pass(self, request: httpx2.Request, shared: Shared) -> httpx2.Response:
        """What no reader knows goes out as it is, over the family's own transport."""
        door, family = self._door, self._door.family
        if self._handler is not None:
            reply = await self._handler(door.unread(request, await request.aread()))
            return door.plain(reply, request, self._stream(reply, request))
        proxy = family.proxy_for(request.url)
        try:
            transport = shared.beside(f"{family.name} {proxy}", partial(family.async_transport, proxy))
        except ConfigError as error:
            return door.failed(error, request, None)
        response = await transport.handle_async_request(door.outward(request, shared.engine.settings))
        return door.passed(response, request)

    def _stream(self, reply: Reply, request: httpx2.Request) -> AsyncBody | None:
        """The body of a reply that is not whole."""
        family = self._door.family
        return None if reply.body is not None else family.async_body(reply, partial(family.failure, request=request))

    def _open(self) -> Shared:
        loop = asyncio.get_running_loop()
        for other in [other for other in self._opened if other.is_closed()]:
            del self._opened[other]
        if self._plan is not None:
            shared = registry().open(self._plan)
        else:
            assert self._engine is not None
            shared = Shared(self._engine, owned=False)
        self._opened[loop] = shared
        return shared
