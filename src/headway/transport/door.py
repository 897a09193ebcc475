"""What the async and the sync transport share: a family's request becomes a call, a reply becomes its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import msgspec

from headway.config import Settings
from headway.engine import Engine
from headway.engine.inbound import CONTROL_PREFIX, HOP_BY_HOP, NO_CONTROL, inbound, read_control
from headway.errors import BudgetExceeded, Closed, ConfigError, HeadwayError, Overloaded
from headway.transport.family import Family, kind_of
from headway.transport.memo import FailureMemo
from headway.types import Call, Headers, Reply, RequestView, Timeouts, Trace
from headway.wire import reader_for
from headway.wire.base import Reader

if TYPE_CHECKING:
    import httpx2

__all__ = ["BODY_BYTES_MAX", "Door"]

BODY_BYTES_MAX = 32 * 1024 * 1024
"""The largest request that is read; larger ones pass through. Source: FACTS section 9 (limits)."""

_STATUS: dict[type[HeadwayError], int] = {Overloaded: 429, BudgetExceeded: 402, ConfigError: 400}
"""Failures of ours that an SDK had better see as final answers: it would try again after an exception."""


class Door:
    """Between one client and its engines.

    Args:
        family: Whose classes go in and out.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self._memo = FailureMemo()
        self._names: dict[bytes, str] = {}
        self._timeouts: dict[tuple[float | None, float | None], Timeouts] = {}

    # -- requests --------------------------------------------------------------------------------------------------

    def reader(self, request: httpx2.Request) -> Reader | None:
        """The reader of the request; None where it passes through."""
        return reader_for(_path(request)) if request.method == "POST" else None

    def whole(self, request: httpx2.Request) -> bytes | None:
        """The request's body if it is at hand, b"" included; None if it is a stream."""
        return request.read() if isinstance(request.stream, self.family.bytes_of) else None

    def call(self, engine: Engine, request: httpx2.Request, reader: Reader, body: bytes) -> Call:
        """The request as a call of the engine.

        Raises:
            ConfigError: A control header is malformed.
        """
        headers, control = self._headers(request)
        return inbound(
            engine,
            method=request.method,
            origin=_origin(request),
            path=_path(request),
            headers=headers,
            body=body,
            reader=reader,
            control=read_control(control) if control else NO_CONTROL,
            timeouts=self._timeouts_of(engine, request),
        )

    def unread(self, request: httpx2.Request, body: bytes) -> Call:
        """A request that no reader knows, for a handler that stands in for the network."""
        path = _path(request)
        return Call(
            method=request.method,
            origin=_origin(request),
            path=path,
            headers=self._headers(request)[0],
            body=body,
            view=RequestView(),
            trace=Trace("call", "", 0.0, 0.0),
        )

    def outward(self, request: httpx2.Request, settings: Settings) -> httpx2.Request:
        """The request as it passes through: without control headers, and with the engine's timeouts if it has none."""
        raw = request.headers.raw
        asked = request.extensions.get("timeout") or {}
        if asked.get("connect") is None and asked.get("read") is None:
            silence_s = settings.first_byte_timeout_s
            limits_s = {"connect": settings.connect_timeout_s, "read": silence_s, "write": silence_s, "pool": None}
            request.extensions = {**request.extensions, "timeout": limits_s}
        kept = [pair for pair in raw if not pair[0].lower().startswith(_CONTROL)]
        return request if len(kept) == len(raw) else self.family.copy(request, kept, request.stream)

    def _headers(self, request: httpx2.Request) -> tuple[Headers, list[tuple[str, str]]]:
        """The headers to send, and the control headers."""
        sent, control, names = [], [], self._names
        for raw, value in request.headers.raw:
            name = names.get(raw)
            if name is None:
                name = raw.lower().decode("latin-1")
                if name.startswith(CONTROL_PREFIX):
                    control.append((name, value.decode("latin-1")))
                    continue
                if len(names) >= 1024:
                    names.clear()
                name = names[raw] = "" if name in HOP_BY_HOP else name
            if name:
                sent.append((name, value.decode("latin-1")))
        return tuple(sent), control

    def _timeouts_of(self, engine: Engine, request: httpx2.Request) -> Timeouts | None:
        """The caller's: its read timeout bounds the first byte and every silence after it, never the whole."""
        asked: dict[str, float | None] = request.extensions.get("timeout") or {}
        pair = asked.get("connect"), asked.get("read")
        if pair == (None, None):
            return None
        timeouts = self._timeouts.get(pair)
        if timeouts is None:
            settings, (connect_s, read_s) = engine.settings, pair
            if len(self._timeouts) >= 64:
                self._timeouts.clear()
            timeouts = self._timeouts[pair] = Timeouts(
                connect_s=settings.connect_timeout_s if connect_s is None else connect_s,
                first_byte_s=settings.first_byte_timeout_s if read_s is None else read_s,
                first_event_s=settings.first_event_timeout_s if read_s is None else read_s,
                idle_s=settings.idle_timeout_s if read_s is None else read_s,
            )
        return timeouts

    # -- answers ---------------------------------------------------------------------------------------------------

    def recall(self, engine: Engine, call: Call, request: httpx2.Request) -> None:
        """An SDK's own next try of a call that has just failed gets that failure again instead of an attempt.

        It has its row in the call log all the same.

        Raises:
            Exception: The family's own, as before.
        """
        found = self._memo.find(call, call.trace.started_at_s)
        if found is not None:
            error, kind = found
            engine.book(call, error)
            raise self.family.exception(kind, str(error), request) from error

    def response(self, reply: Reply, call: Call, stream: Any = None) -> httpx2.Response:
        """The reply as the family has it, and what happened in `headway-*` headers.

        Args:
            reply: From the engine.
            call: What it answers.
            stream: The body of a reply that is not whole.
        """
        trace, body, status = call.trace, reply.body, reply.status
        headers = [pair for pair in reply.headers if pair[0] != "content-length"]
        if 300 <= status < 400:
            headers = [pair for pair in headers if pair[0] != "location" or _stays(pair[1], call.origin)]
        headers.append(("headway-id", trace.id))
        headers.append(("headway-cache", trace.cache or "off"))
        if body is not None or trace.attempts:
            headers.append(("headway-attempts", str(trace.attempts)))
            headers.append(("headway-wait-ms", str(round(trace.wait_s * 1000))))
        if body is None:
            return self.family.response(status, headers, stream)
        if trace.dollars is not None:
            headers.append(("headway-cost", f"{trace.dollars:.9f}".rstrip("0").rstrip(".")))
        headers.append(("content-length", str(len(body))))
        took_s = (trace.ended_at_s or trace.started_at_s) - trace.started_at_s
        return self.family.whole(status, headers, body, took_s)

    def plain(self, reply: Reply, request: httpx2.Request, stream: Any = None) -> httpx2.Response:
        """A reply as it came, of a request that passed through."""
        body = stream if reply.body is None else self.family.bytes_of(reply.body)
        return self.passed(self.family.response(reply.status, reply.headers, body), request)

    def passed(self, response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
        """The answer of a request that passed through: as it came, but for a redirect to another origin."""
        if 300 <= response.status_code < 400:
            location = response.headers.get("location")
            if location is not None and not _stays(location, _origin(request)):
                del response.headers["location"]
        return response

    def failed(self, error: HeadwayError, request: httpx2.Request, call: Call | None) -> httpx2.Response:
        """A final answer for a failure of ours; an exception where there is none.

        Args:
            error: What the engine raised.
            request: What it was raised for.
            call: The same as a call, if it became one.

        Raises:
            Exception: The family's own, from `error`.
        """
        status = _STATUS.get(type(error))
        if status is None:
            kind = kind_of(error)
            if call is not None and not isinstance(error, Closed):
                trace = call.trace
                self._memo.note(call, error, kind, trace.ended_at_s or trace.started_at_s)
            raise self.family.exception(kind, str(error), request) from error
        what = {"message": str(error), "type": "headway_error", "param": None, "code": error.code}
        body = msgspec.json.encode({"error": what})
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        headers.append(("x-should-retry", "false"))
        if call is not None:
            headers.append(("headway-id", call.trace.id))
        return self.family.response(status, headers, self.family.bytes_of(body))


_CONTROL = CONTROL_PREFIX.encode()


def _stays(location: str, origin: str) -> bool:
    """A credential belongs to the origin it was given for; only a redirect within it may be followed.

    Clients would take `Authorization` out of a request to another origin, but not `x-api-key` or `api-key`.
    """
    parts = urlsplit(urljoin(origin + "/", location))
    return f"{parts.scheme}://{parts.netloc}".lower() == origin


def _path(request: httpx2.Request) -> str:
    return request.url.raw_path.decode("ascii")


def _origin(request: httpx2.Request) -> str:
    url = request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
