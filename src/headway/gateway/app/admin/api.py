"""Requests below `/api`: a table of paths, each with its parameters and its handler; errors are JSON like the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from headway.errors import HeadwayError
from headway.gateway.app.admin import keys
from headway.gateway.app.admin.access import COOKIE, SESSION_S, Access
from headway.gateway.app.admin.office import Office
from headway.gateway.app.admin.openapi import openapi
from headway.gateway.app.admin.queries import FILTERS, ID, NAME, PAGED, Query, read
from headway.gateway.app.admin.said import Answer, NoMethod, Session, SignIn, answered, began, refused
from headway.gateway.app.plane import Message, Receive, Send, while_there, whole_body
from headway.gateway.limits import Limits
from headway.gateway.request import Refused, Request
from headway.gateway.serving import Serving
from headway.insight.desk import Ask
from headway.types import Headers

__all__ = ["Api"]

BODY: Final = Limits(body_bytes_max=4_096, body_s=10.0)
WRITE_S: Final = 60.0
"""A page that takes nothing for so long has gone."""
Handler: TypeAlias = Callable[[Request, Query, str], Awaitable[Answer]]


class Api:
    """An ASGI application.

    Args:
        serving: What the process runs on.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._access = Access(serving)
        self._office = Office(serving)
        table: tuple[tuple[str, dict[str, tuple[Handler, tuple[str, ...]]]], ...] = (
            ("/session", {
                "GET": (self._session, ()), "POST": (self._sign_in, ()), "DELETE": (self._sign_out, ()),
            }),
            ("/overview", {"GET": (self._overview, FILTERS)}),
            ("/live", {"GET": (self._live, FILTERS)}),
            ("/calls", {"GET": (self._asks("calls"), PAGED)}),
            (f"/calls/({ID})", {"GET": (self._asks("call"), ())}),
            ("/pipelines", {"GET": (self._asks("pipelines"), ("window_s",))}),
            (f"/pipelines/({NAME})/runs", {"GET": (self._asks("runs"), ())}),
            ("/runs", {"GET": (self._runs, ("pipeline",))}),
            (f"/runs/({NAME})", {"GET": (self._asks("run"), ())}),
            ("/keys", {"GET": (self._keys, ())}),
            (r"/keys/spend\.csv", {"GET": (self._spend, ("month",))}),
            (r"/openapi\.json", {"GET": (self._openapi, ())}),
        )  # fmt: skip
        self._table = [(re.compile("/api" + path), methods) for path, methods in table]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; nothing but an answer comes of it."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "there is no WebSocket at this path"})
            return
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        request = Request(scope["method"], scope["path"], headers)
        try:
            handler, query, found = self._route(request, scope.get("query_string", b""))
            if handler not in self._open:
                self._access.who(request)
            if handler == self._live:
                await self._events(request, query, scope, receive, send)
                return
            if request.method == "POST":
                request.body = await self._body(receive)
            await answered(send, await handler(request, query, found or _address(scope)))
        except Refused as refusal:
            await answered(send, refused(refusal))
        except HeadwayError as error:
            await answered(send, refused(Refused(503, str(error), error.code)))
        except TimeoutError:
            await answered(send, refused(Refused(408, "the request's body did not come in time", "request_timeout")))

    def _route(self, request: Request, raw_query: bytes) -> tuple[Handler, Query, str]:
        """Who answers, what is asked, and what the path names."""
        for pattern, methods in self._table:
            if match := pattern.fullmatch(request.target):
                method = "GET" if request.method == "HEAD" else request.method
                if method not in methods:
                    raise NoMethod(", ".join([*methods, *(["HEAD"] if "GET" in methods else [])]))
                handler, parameters = methods[method]
                return handler, read(raw_query, parameters), match[1] if match.lastindex else ""
        raise Refused(404, "there is nothing at this path; see /api/openapi.json", "not_found")

    @property
    def _open(self) -> tuple[Handler, ...]:
        """What whoever is not signed in may ask for."""
        return self._session, self._sign_in, self._sign_out

    async def _body(self, receive: Receive) -> bytes:
        body = await whole_body(receive, BODY)
        if body is None or len(body) > BODY.body_bytes_max:
            raise Refused(413, f"the request's body is larger than {BODY.body_bytes_max} bytes", "request_too_large")
        return body

    # -- sessions --------------------------------------------------------------------------------------------------

    async def _session(self, request: Request, query: Query, address: str) -> Answer:
        needs_key, name, signed_in = self._access.needs_key(), "", True
        try:
            name = self._access.who(request)
            self._office.warm()
        except Refused as refusal:
            if refusal.status != 401:
                raise
            signed_in = False
        return _json(Session(needs_key=needs_key, signed_in=signed_in, name=name))

    async def _sign_in(self, request: Request, query: Query, address: str) -> Answer:
        if request.header("content-type").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "send JSON (content-type: application/json)", "unsupported_media_type")
        try:
            given = msgspec.json.decode(request.body, type=SignIn)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Refused(422, 'send {"key": "hw-..."}', "invalid_body") from None
        name, cookie = self._access.sign_in(request, given.key, address)
        session = Session(needs_key=self._access.needs_key(), signed_in=True, name=name)
        return _json(session, headers=(_cookie(request, cookie, round(SESSION_S)),) if cookie else ())

    async def _sign_out(self, request: Request, query: Query, address: str) -> Answer:
        self._access.sign_out(request)
        needs_key = self._access.needs_key()
        return _json(Session(needs_key=needs_key, signed_in=not needs_key), headers=(_cookie(request, "", 0),))

    # -- documents -------------------------------------------------------------------------------------------------

    async def _overview(self, request: Request, query: Query, found: str) -> Answer:
        status, document = await self._office.overview(query.filters)
        return Answer(document, status)

    def _asks(self, what: str) -> Handler:
        async def ask(request: Request, query: Query, found: str) -> Answer:
            asked = Ask(
                what=what,
                filters=query.filters,
                id=found,
                outcome=query.text("outcome"),
                before=query.text("before"),
                limit=query.limit,
            )
            status, document = await self._office.ask(asked)
            return Answer(document, status)

        return ask

    async def _runs(self, request: Request, query: Query, found: str) -> Answer:
        if not query.text("pipeline"):
            raise Refused(422, "name a pipeline: ?pipeline=...", "invalid_parameter")
        status, document = await self._office.ask(Ask(what="runs", id=query.text("pipeline")))
        return Answer(document, status)

    async def _keys(self, request: Request, query: Query, found: str) -> Answer:
        return _json(await asyncio.to_thread(keys.keys_of, self._serving.keys.path))

    async def _spend(self, request: Request, query: Query, found: str) -> Answer:
        month = query.text("month")
        table = await asyncio.to_thread(keys.spend_csv, self._serving.keys.path, month)
        name = f"headway-spend-{month}.csv" if month else "headway-spend.csv"
        disposition = ("content-disposition", f'attachment; filename="{name}"')
        return Answer(table.encode(), type="text/csv; charset=utf-8", headers=(disposition,))

    async def _openapi(self, request: Request, query: Query, found: str) -> Answer:
        return Answer(openapi(needs_key=self._access.needs_key()))

    # -- live ------------------------------------------------------------------------------------------------------

    async def _live(self, request: Request, query: Query, found: str) -> Answer:
        raise AssertionError("answered by events")

    def _may(self, request: Request) -> bool:
        try:
            self._access.who(request)
        except Refused:
            return False
        return True

    async def _events(self, request: Request, query: Query, scope: Message, receive: Receive, send: Send) -> None:
        filters = query.filters
        events = await self._office.live(filters)

        async def tell() -> None:
            await began(send, 200, (("content-type", "text/event-stream"), ("x-accel-buffering", "no")))
            if scope["method"] != "HEAD":
                async for event in events:
                    if not self._may(request):
                        break  # a session that has ended, a key that was revoked
                    async with asyncio.timeout(WRITE_S):
                        await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await while_there(receive, tell())
        except TimeoutError:
            connection = scope.get("extensions", {}).get("headway.connection")
            if connection is not None:
                connection["break_off"](abort=True)
        finally:
            self._office.leave(filters)


def _address(scope: Message) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _cookie(request: Request, value: str, age_s: int) -> tuple[str, str]:
    secure = request.header("origin").startswith("https:") or request.header("x-forwarded-proto") == "https"
    text = f"{COOKIE}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict"
    return "set-cookie", text + ("; Secure" if secure else "")


def _json(document: Any, *, headers: Headers = ()) -> Answer:
    return Answer(msgspec.json.encode(document), headers=headers)
