"""The admin API below `/api`: what the dashboard shows, as JSON and as live events."""

from __future__ import annotations

from starlette.routing import BaseRoute

from headway.gateway.serving import Serving

__all__ = ["routes"]


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""
    return []
