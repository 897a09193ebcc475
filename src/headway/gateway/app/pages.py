"""The dashboard: pages, styles and scripts that come with the package, and nothing from elsewhere."""

from __future__ import annotations

from starlette.routing import BaseRoute

from headway.gateway.serving import Serving

__all__ = ["routes"]


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""
    return []
