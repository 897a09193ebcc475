"""`/metrics`: the figures of all workers, for Prometheus."""

from __future__ import annotations

from starlette.routing import BaseRoute

from headway.gateway.serving import Serving

__all__ = ["routes"]


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""
    return []
