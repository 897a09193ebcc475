"""All that is not the data plane's fast way: health, readiness, the page, and the data plane over ASGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from headway.gateway.app.plane import Plane
from headway.gateway.limits import LIMITS, Limits
from headway.gateway.protocol import Handle
from headway.gateway.request import Request

__all__ = ["application"]

_NOTE = """This is a Headway gateway. Point an OpenAI or Anthropic client at it:

  base_url = {base}/v1      (Anthropic's SDK: {base})

It answers /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, /v1/models, files and batches.
"""


def application(
    handle: Handle,
    snapshot: Callable[[], dict[str, Any]],
    *,
    limits: Limits = LIMITS,
    check: Callable[[Request], None] | None = None,
) -> Starlette:
    """The application.

    Args:
        handle: The data plane.
        snapshot: The engine's live figures; raises where it is closed.
        limits: See `Limits`.
        check: See `Plane`.
    """

    async def healthz(request: AppRequest) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(request: AppRequest) -> Response:
        """It takes requests."""
        found = snapshot()
        return JSONResponse({"ready": True, "in_flight": found["in_flight"], "queued": found["queued"]})

    async def note(request: AppRequest) -> Response:
        """What this is."""
        return PlainTextResponse(_NOTE.format(base=str(request.base_url).rstrip("/")))

    return Starlette(
        routes=[
            Route("/", note),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Mount("/v1", app=Plane(handle, limits, check=check)),
        ]
    )
