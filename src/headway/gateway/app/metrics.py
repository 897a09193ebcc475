"""`/metrics`: the figures of all workers, for Prometheus.

Whoever reads it learns what is asked of which model and what it costs, so it is for this machine where there are no
keys, and for an operator's key where there are; the setting `metrics` may let this machine in without one.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from importlib import import_module
from typing import Final

import msgspec
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from headway.errors import ConfigError
from headway.gateway.data.guard import is_loopback
from headway.gateway.peers import WorkerState
from headway.gateway.request import Refused, Request
from headway.gateway.serving import Serving
from headway.telemetry.gauges import gauges
from headway.telemetry.states import State, kept, merged, unpacked
from headway.types import Headers

__all__ = ["routes"]

_FORWARDED: Final = frozenset(("forwarded", "via", "x-forwarded-for", "x-real-ip"))
_END: Final = b"# EOF\n"
_COMMENT: Final = re.compile(rb"^#.*\n", re.MULTILINE)
"""What a family is; said once."""
_NO_VERSION: Final = re.compile(r";\s*version=(?!\d+(\.\d+)*\s*([;,]|$))[^;,]*")
"""What the library fails over."""
_LINES_AT_ONCE: Final = 10
"""Of a histogram that is some 200 lines of text."""
_GZIP_BYTES_MIN: Final = 4096
_ASKED_AGAIN: Final = 4
"""Where the workers' figures are late: half a second each time."""


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""

    async def metrics(request: AppRequest) -> Response:
        """Prometheus' text, or OpenMetrics where that is asked for."""
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        try:
            _let_in(serving, headers, request.client.host if request.client is not None else "")
        except Refused as refused:
            serving.refused(refused)
            told = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
            said = {"error": {"message": refused.message, "code": refused.code}}
            return JSONResponse(said, refused.status, headers=told)
        try:
            # The library takes a tenth of a second to import: not on the loop, between two requests.
            await asyncio.to_thread(import_module, "headway.telemetry.collector")
        except ConfigError as error:
            return JSONResponse({"error": {"message": str(error), "code": "not_installed"}}, 501)
        states = await serving.peers.states()
        for _ in range(_ASKED_AGAIN):
            if not any(one.late for one in states):
                break
            states = await serving.peers.states()
        else:  # a page is missed, which no rate minds; a counter that fell would be one that began anew
            late = {"error": {"message": "the other workers' figures did not come in time", "code": "overloaded"}}
            return JSONResponse(late, 503, headers={"retry-after": "5"})
        state = _whole(states)
        body, kind = await _page(state, request.headers.get("accept", ""))
        told = {"content-type": kind, "cache-control": "no-store", "vary": "accept, accept-encoding"}
        if len(body) >= _GZIP_BYTES_MIN and "gzip" in request.headers.get("accept-encoding", ""):
            body, told["content-encoding"] = await asyncio.to_thread(gzip.compress, body, 1), "gzip"
        return Response(body, headers=told)

    return [Route("/metrics", metrics)]


def _let_in(serving: Serving, headers: Headers, peer: str) -> None:
    """Raises `Refused` where it may not be read."""
    if not serving.gate.keyed:
        serving.gate.guard(Request("GET", "/metrics", headers))
    elif not (serving.engine.settings.metrics == "loopback" and _from_here(headers, peer)):
        serving.keys.admin(headers)


def _from_here(headers: Headers, peer: str) -> bool:
    """Whether a program of this machine asks by itself: no proxy of this machine for somebody, and no web page."""
    names = dict(headers)
    return is_loopback(_bracketed(peer)) and is_loopback(names.get("host", "")) and not (
        "origin" in names or not _FORWARDED.isdisjoint(names)
    )  # fmt: skip


def _bracketed(peer: str) -> str:
    return f"[{peer}]" if ":" in peer else peer


def _whole(states: list[WorkerState]) -> State:
    """All workers' counters and gauges as one."""
    counted = []
    for worker in states:
        try:
            # One without a state has gone, or does not answer: what it counted stays.
            counted.append(unpacked(worker.meters if worker.state else kept([worker.meters])))
        except msgspec.MsgspecError:
            continue  # of another version, while workers are being replaced
    return merged((*counted, gauges([worker.state for worker in states if worker.state])))


async def _page(state: State, accept: str) -> tuple[bytes, str]:
    """The page and its content type, written in pieces of a millisecond: requests get their turn in between."""
    from prometheus_client.exposition import choose_encoder

    from headway.telemetry.collector import OneFamily, exposed

    encode: Callable[[OneFamily], bytes]
    encode, kind = choose_encoder(_NO_VERSION.sub("", accept))
    parts, is_open, name = [], "openmetrics" in kind, ""
    for metric in exposed(state, at_once=_LINES_AT_ONCE):
        part = encode(OneFamily(metric))
        if is_open:
            part = part.removesuffix(_END)
        parts.append(part if metric.name != name else _COMMENT.sub(b"", part))
        name = metric.name
        await asyncio.sleep(0)
    if is_open:
        parts.append(_END)
    return b"".join(parts), kind
