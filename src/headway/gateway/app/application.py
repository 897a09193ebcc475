"""All that is not the data plane's fast way: health, readiness, the page, and the data plane over ASGI."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from headway.gateway.app import admin, doors, metrics, pages
from headway.gateway.app.plane import Plane
from headway.gateway.serving import Serving

__all__ = ["application"]

_NOTE = """This is a Headway gateway. Point an OpenAI or Anthropic client at it:

  base_url = {base}/v1      (Anthropic's SDK: {base})

It answers /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, /v1/models, files and batches.
"""


def application(serving: Serving) -> Starlette:
    """The application."""

    async def healthz(request: AppRequest) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(request: AppRequest) -> Response:
        """It takes requests; 503 from the moment on that it was told to end."""
        if serving.draining:
            return JSONResponse({"ready": False}, 503, headers={"connection": "close"})
        found = serving.snapshot()
        return JSONResponse({"ready": True, "in_flight": found["in_flight"], "queued": found["queued"]})

    async def note(request: AppRequest) -> Response:
        """What this is."""
        return PlainTextResponse(_NOTE.format(base=str(request.base_url).rstrip("/")))

    return Starlette(
        routes=[
            *pages.routes(serving),
            Route("/", note),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *metrics.routes(serving),
            *admin.routes(serving),
            *doors.routes(serving),
            Mount("/v1", app=Plane(serving.handle, serving.settings.limits, check=serving.check)),
        ]
    )
