"""`/v1/realtime`: a WebSocket of the Realtime API, relayed to the upstream that has it.

The address comes from the configuration alone and the key is the gateway's; of what the client says, the model, its
frames and what names nobody (betas, tracing) go along. Both sides are read at the other's pace. Each response is a call
in the log (`responses`).
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from headway.attempt.route import target_of
from headway.attempt.upstreams import Upstream
from headway.errors import ConnectFailed, HeadwayError, ProviderError, ProviderTimeout
from headway.gateway.app.doors.responses import Responses, is_bound
from headway.gateway.app.doors.sockets import GOING_AWAY, INTERNAL, POLICY, Sockets, deny, ending_of, goodbye
from headway.gateway.app.doors.visitor import Visitor
from headway.gateway.data.answers import failed
from headway.gateway.data.calls import Calls
from headway.gateway.data.homes import Home
from headway.gateway.keys import Admitted
from headway.gateway.request import Refused
from headway.gateway.serving import Serving
from headway.types import Call, RequestView
from headway.wire.realtime import FORMAT, read_asked, read_event, said_once

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Realtime"]

PATH: Final = "/v1/realtime"
_ENDPOINT: Final = "/realtime"
_QUERY: Final = ("model", "intent")
"""What the provider sees of the query. A `call_id` would be somebody's call, whoever asks."""
_NOT_SENT: Final = frozenset(("accept", "content-type"))


class Realtime:
    """The endpoint.

    Args:
        serving: Where the upstreams are.
        sockets: Counts them.
    """

    def __init__(self, serving: Serving, sockets: Sockets) -> None:
        self._serving = serving
        self._sockets = sockets

    async def serve(self, socket: WebSocket) -> None:
        """Relay one connection."""
        try:
            visitor, agreed = self._sockets.visitor(socket, PATH)
            with self._sockets.one():
                call, admitted = self._call(visitor, socket.scope.get("query_string", b""))
                upstream = await self._connected(call)
                try:
                    await socket.accept(agreed or None)
                    priced = _entry(self._serving, call)
                    responses = Responses(
                        self._serving, call, admitted, lambda: self._judge(visitor, call.view), priced
                    )
                    await _Relay(socket, upstream, responses).run()
                except (OSError, WebSocketDisconnect):
                    pass  # the client has gone
                finally:
                    await upstream.close()
        except Refused as refused:
            self._serving.refused(refused)
            await deny(socket, refused)
        except HeadwayError as error:
            await deny(socket, Refused(failed(PATH, error).status, str(error), error.code))

    def _call(self, visitor: Visitor, query: bytes) -> tuple[Call, Admitted | None]:
        """The connection as a call, with the provider's address and the gateway's own key.

        Raises:
            Refused: It may not be made, or nobody has the model.
            ConfigError: A header is malformed.
        """
        serving, said = self._serving, _query(query)
        model = said.get("model", "")
        request = visitor.request("GET", PATH)
        serving.check(request)
        calls = Calls(serving.engine)
        found = calls.sort(request)
        home = serving.homes.for_rest(PATH, found.upstream, messages=False) if found.upstream else _home(serving, model)
        view = RequestView(format=FORMAT, model=model, stream=True)
        admitted = serving.gate.admit(request, view)
        if "intent" in said and is_bound(admitted):
            raise Refused(403, "a session that only writes speech down cannot be charged to this key", "cost_unknown")
        known = _entry(serving, home)
        if known is not None and (theirs := known.model_for(model)):
            said["model"] = theirs
        target = target_of(home.base_url, PATH if home.base_url.rstrip("/").endswith("/v1") else _ENDPOINT)[1]
        call = calls.make(request, PATH, home, found, view, target=f"{target}?{urlencode(said)}" if said else target)
        return (call if admitted is None else admitted.applied(call)), admitted

    def _judge(self, visitor: Visitor, view: RequestView) -> None:
        """Whether he may still ask: a key may have ended since. Raises `Refused`."""
        self._serving.gate.admit(visitor.request("GET", PATH), view)

    async def _connected(self, call: Call) -> ClientConnection:
        """The provider's side.

        Raises:
            Refused: The provider's own refusal.
            HeadwayError: It cannot be reached.
        """
        from websockets.exceptions import InvalidHandshake, InvalidStatus

        settings, error = self._serving.engine.settings, None
        try:
            return await _dial(call, settings.connect_timeout_s * 2, self._serving.settings.doors)
        except InvalidStatus as refused:
            status = refused.response.status_code
            said = f"{call.origin} answered {status} to the WebSocket; check its key, and whether it has {PATH}"
            error = ProviderError(said)
            self._serving.engine.book(call, error)
            raise Refused(status if 400 <= status < 600 else 502, said, "provider_refused") from None
        except TimeoutError:
            error = ProviderTimeout(f"{call.origin} did not answer in time")
        except (InvalidHandshake, OSError) as problem:
            error = ConnectFailed(f"{call.origin} cannot be reached: {problem}")
        self._serving.engine.book(call, error)
        raise error


class _Relay:
    """Two sides, and what goes between them."""

    def __init__(self, socket: WebSocket, upstream: ClientConnection, responses: Responses) -> None:
        self._socket = socket
        self._upstream = upstream
        self._responses = responses
        self._ending = ending_of(socket)

    async def run(self) -> None:
        """Until one of them goes, or the server ends and nothing is being answered any more."""
        up = asyncio.ensure_future(self._up())
        down = asyncio.ensure_future(self._down())
        end = asyncio.ensure_future(self._end())
        tasks = (up, down, end)
        code, reason, lost = INTERNAL, "", False
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            lost = down.done() and not up.done() and down.exception() is None  # else it is the client who has gone
            if down.done():
                code, reason = down.result()
            elif up.done():
                theirs = up.result()
                await self._upstream.close(theirs if _may_be_sent(theirs) else 1000)
            else:
                code, reason = GOING_AWAY, "the gateway ends"
        finally:
            self._responses.close("connection_lost" if lost else "abandoned")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await goodbye(self._socket, GOING_AWAY if self._ending.is_set() and not reason else code, reason)

    async def _end(self) -> None:
        await self._ending.wait()
        await self._responses.idle.wait()

    async def _up(self) -> int:
        """From the client; its close code."""
        from websockets.exceptions import ConnectionClosed

        while True:
            message = await self._socket.receive()
            if message["type"] != "websocket.receive":
                return int(message.get("code") or 1000)
            text: str | None = message.get("text")
            if text is not None and self._responses.is_bound:
                text = said_once(text) or text  # what is none is refused below
            data = message["bytes"] if text is None else text
            asked = read_asked(text) if text is not None else None
            try:
                await self._responses.asked(asked)
            except (Refused, HeadwayError) as refused:
                await self._socket.send_text(_error(refused, asked.event_id if asked is not None else None))
                continue
            try:
                await self._upstream.send(data)
            except ConnectionClosed:
                await asyncio.Event().wait()  # the other direction knows how, and ends both

    async def _down(self) -> tuple[int, str]:
        """From the provider; its close code and reason."""
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                message = await self._upstream.recv()
            except ConnectionClosed as closed:
                if closed.rcvd is None or not _may_be_sent(closed.rcvd.code):
                    return INTERNAL, "the provider's connection was lost"
                return closed.rcvd.code, closed.rcvd.reason
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
                continue
            event = read_event(message)
            try:
                if event is not None:
                    await self._responses.said(event)
            except (Refused, HeadwayError) as refused:
                await self._socket.send_text(_error(refused, None))
                return POLICY, str(refused)
            await self._socket.send_text(message)


async def _dial(call: Call, open_s: float, limits: Any) -> ClientConnection:
    """Open a WebSocket at the call's origin, and nowhere else."""
    from websockets.asyncio.client import connect

    class Straight(connect):
        """Follows no redirect, for the key would go along."""

        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    headers = [pair for pair in call.headers if pair[0] not in _NOT_SENT]
    return await Straight(
        call.origin.replace("http", "ws", 1) + call.path,
        additional_headers=headers,
        user_agent_header=None,
        compression=None,
        open_timeout=open_s,
        close_timeout=2.0,
        max_size=limits.realtime_frame_bytes_max,
        max_queue=limits.realtime_frames_max,
    )


def _query(query: bytes) -> dict[str, str]:
    """What the address says. Raises `Refused`."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        raise Refused(400, "the query is not well formed") from None
    said = dict(pairs)
    if len(said) < len(pairs) or not set(said) <= set(_QUERY):
        raise Refused(400, f"{PATH} takes {' and '.join(_QUERY)}, each once")
    return said


def _home(serving: Serving, model: str) -> Home:
    return serving.homes.for_model(_ENDPOINT, model)


def _entry(serving: Serving, at: Home | Call) -> Upstream | None:
    """The `[[upstream]]` entry of that address; None where it is the base URL."""
    return next((one for one in serving.engine.settings.upstreams if one.origin == at.origin), None)


def _may_be_sent(code: int) -> bool:
    """Whether an endpoint may send that close code. Source: RFC 6455, section 7.4."""
    return code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014) or 3000 <= code < 5000


def _error(refused: Refused | HeadwayError, event_id: str | None) -> str:
    """A refusal of ours as the API's own event."""
    message = refused.message if isinstance(refused, Refused) else str(refused)
    error = {"type": "invalid_request_error", "code": refused.code, "message": message, "param": None}
    event = {"type": "error", "event_id": f"event_{uuid.uuid4().hex[:20]}", "error": error | {"event_id": event_id}}
    return msgspec.json.encode(event).decode()
