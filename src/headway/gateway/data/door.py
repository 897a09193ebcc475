"""The one door of the data plane: a request in, a reply for its client out, whichever way it came.

1. the raw path is a plain one below /v1, and the gate lets the request in: by its head, then by what its body asks;
2. its headers are sorted: for the provider, for us, for nobody. The client's credential is for us alone;
3. what a reader knows becomes a call of the engine, at the home of its endpoint and model, through every layer;
4. lists, files and batches are utility calls of the engine: recorded and, where that is harmless, tried again;
5. all else below /v1 passes through to its one upstream as it is, body and answer, if there is only one it can mean;
   it is recorded, and that is all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headway.attempt.route import target_of
from headway.engine import Engine
from headway.engine.ways import utility_call
from headway.errors import HeadwayError
from headway.gateway.data.answers import answered, failed, key_refused, refused, stated
from headway.gateway.data.calls import Calls, Sorted
from headway.gateway.data.gate import Gate
from headway.gateway.data.guard import check_path
from headway.gateway.data.homes import Home, Homes
from headway.gateway.data.models import Models
from headway.gateway.data.passed import Passed
from headway.gateway.keys.text import looks_like_key
from headway.gateway.request import Refused, Request, uncounted
from headway.types import Call, Handler, Reply, RequestView
from headway.wire import reader_for
from headway.wire.base import Reader
from headway.wire.endpoints import endpoint_of

__all__ = ["Door"]

_WAYS_MAX: Final = 1024
_MODEL_CHARS_MAX: Final = 256
"""It is written into logs, and what is found out for it is kept."""
_OBJECTS_MAX: Final = 50_000
"""JSON objects in a body: reading a million small ones would hold everybody else for half a second."""
_COUNTED_BYTES_MIN: Final = 2 * _OBJECTS_MAX
_MODELS: Final = "/v1/models"
_UTILITY: Final = ("/v1/files", "/v1/batches", "/v1/messages/batches", _MODELS)
_DOWNLOADS: Final = ("/content", "/results")
"""Whose answers are files: they pass through as they come."""
_PASSED: Final = RequestView(stream=True)


class _Way:
    """What follows from a path alone."""

    __slots__ = ("endpoint", "path", "reader", "targets")

    def __init__(self, path: str) -> None:
        self.path = path
        self.reader: Reader | None = reader_for(path)
        self.endpoint = endpoint_of(path)
        self.targets: dict[str, str] = {}


class Door:
    """See the module.

    Args:
        engine: Open on the running loop.
        homes: Where requests may go.
        gate: Who may come in.
        passing: Sends what the engine has no part in.
    """

    def __init__(self, engine: Engine, homes: Homes, gate: Gate, passing: Handler) -> None:
        self._engine = engine
        self._homes = homes
        self._gate = gate
        self._passing = Passed(engine, passing)
        self._calls = Calls(engine)
        self._models = Models(homes, self._list_models)
        self._ways: dict[str, _Way] = {}
        self.refused: Callable[[Refused], None] = uncounted
        """Told of what is turned away."""

    def check(self, request: Request) -> None:
        """Look at a request whose body has not come yet.

        Raises:
            Refused: It need not come.
        """
        check_path(request.target.partition("?")[0])
        self._gate.guard(request)

    async def __call__(self, request: Request) -> Reply:
        """Answer a request; refusals and failures are answers, too."""
        path = request.target.partition("?")[0]
        try:
            way = self._ways.get(path) or self._way(path)
            self._gate.guard(request)
            found = self._calls.sort(request)
            if way.reader is not None and request.method == "POST":
                call = self._call(request, way, way.reader, found)
                reply = await self._engine.handle(call, here=True)
                if reply.status < 400:
                    return answered(reply, call)
                return await key_refused(path, reply, call) or answered(reply, call)
            return await self._rest(request, way, found)
        except Refused as refusal:
            self.refused(refusal)
            return refused(path, refusal)
        except HeadwayError as error:
            return failed(path, error)

    async def kept(self, request: Request) -> Reply | None:
        """What the cache holds for a call of a model; None where nothing is fresh. Nothing is asked, spent or logged.

        Raises:
            Refused: The request may not be made.
            ConfigError: A header of it is malformed.
        """
        path = request.target.partition("?")[0]
        way = self._ways.get(path) or self._way(path)
        self._gate.guard(request)
        if way.reader is None:
            return None
        call = self._call(request, way, way.reader, self._calls.sort(request))
        return await self._engine.kept(call) if call.cache_mode == "on" else None

    def _call(self, request: Request, way: _Way, reader: Reader, found: Sorted) -> Call:
        """A call of a model."""
        body = request.body
        if len(body) > _COUNTED_BYTES_MIN and _objects(body) > _OBJECTS_MAX:
            raise Refused(400, f"the request's body holds more than {_OBJECTS_MAX:,} objects", "request_too_complex")
        view = reader.read_request(body, found.carried)
        if len(view.model) > _MODEL_CHARS_MAX:
            raise Refused(400, f"the model's name is longer than {_MODEL_CHARS_MAX} characters", "invalid_model")
        if looks_like_key(view.model):
            raise Refused(400, "what came as the model's name looks like a key; name a model there", "invalid_model")
        admitted = self._gate.admit(request, view)
        if found.upstream:
            home = self._homes.for_rest(way.path, found.upstream, messages=False)
        else:
            home = self._homes.for_model(way.endpoint, view.model)
        call = self._calls.make(request, way.path, home, found, view, target=_target(request, way, home))
        return call if admitted is None else admitted.applied(call)

    async def _rest(self, request: Request, way: _Way, found: Sorted) -> Reply:
        """Anything else."""
        admitted = self._gate.admit(request, RequestView())
        path, upstream = way.path, found.upstream
        messages = found.messages or path.startswith("/v1/messages")
        if path == _MODELS and request.method == "GET" and not upstream:
            return await self._models.reply(messages=messages, allowed=admitted.may_ask if admitted else None)
        if path.startswith(f"{_MODELS}/") and request.method == "GET" and not upstream and len(self._homes.all) > 1:
            upstream = await self._models.home_of(path[len(_MODELS) + 1 :].replace("%3A", ":").replace("%3a", ":"))
        home = self._homes.for_rest(path, upstream, messages=messages)
        utility = path.startswith(_UTILITY) and not path.endswith(_DOWNLOADS)
        view = RequestView() if utility else _PASSED
        call = self._calls.make(request, path, home, found, view, target=_target(request, way, home))
        if admitted is not None:
            call = await admitted.counted(call)
        if utility:
            reply = await self._utility(call)
            return await key_refused(path, reply, call) or answered(reply, call)
        reply = await self._passing(call)
        return await key_refused(path, reply, call) or stated(reply)

    async def _utility(self, call: Call) -> Reply:
        return await self._engine.handle(utility_call(call, call.method, None, None, stream=False))

    async def _list_models(self, home: Home) -> Reply:
        request = Request("GET", _MODELS, (("accept", "application/json"),))
        found = self._calls.sort(request)
        way = self._ways.get(_MODELS) or self._way(_MODELS)
        call = self._calls.make(request, _MODELS, home, found, RequestView(), target=_target(request, way, home))
        return await self._utility(call)

    def _way(self, path: str) -> _Way:
        check_path(path)
        if len(self._ways) >= _WAYS_MAX:
            self._ways.clear()  # paths with ids in them: start over rather than grow
        way = self._ways[path] = _Way(path)
        return way


def _objects(body: bytes) -> int:
    """How many JSON objects it may hold. What has a backslash after it is within a text."""
    braces = body.count(b"{")
    return braces - body.count(b"{\\") if braces > _OBJECTS_MAX else braces


def _target(request: Request, way: _Way, home: Home) -> str:
    """Path and query at a home, whose base URL may end in another version or in none."""
    target = way.targets.get(home.base_url)
    if target is None:
        prefix = target_of(home.base_url, "")[1]
        below = way.path if prefix.endswith("/v1") or not prefix else way.path.removeprefix("/v1")
        target = way.targets[home.base_url] = target_of(home.base_url, below)[1]
    query = request.target[len(way.path) :]
    return target + query if query else target
