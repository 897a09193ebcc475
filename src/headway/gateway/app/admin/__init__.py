"""The admin API below `/api`: what the dashboard shows, as JSON and as live events. It changes nothing."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from headway.gateway.app.admin.api import Api
from headway.gateway.serving import Serving

__all__ = ["routes"]


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""
    api = Api(serving)
    return [Route("/api", api), Route("/api/{rest:path}", api)]
