"""A request's path as a label: of few values, whatever clients ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from headway.telemetry.families import OTHER
from headway.wire.endpoints import endpoint_of

__all__ = ["route_of"]

_RESOURCES: Final = ("files", "batches", "models", "uploads", "images", "audio", "moderations", "completions")


@lru_cache(maxsize=1024)
def route_of(path: str, format_: str) -> str:
    """The endpoint of a path: itself where it is known, without ids ("/v1/files/{id}") where it is a resource's.

    Args:
        path: Without a query.
        format_: What reader knows the path; "" for none.
    """
    endpoint = endpoint_of(path)
    if endpoint:
        return endpoint if endpoint.startswith("/v1/") else f"/v1{endpoint}"
    if format_:
        return format_  # its paths have the model in them
    parts = [part for part in path.split("/") if part]
    if "messages" in parts and "batches" in parts:
        return "/v1/messages/batches"
    found = next((part for part in parts if part in _RESOURCES), "")
    return f"/v1/{found}" if found else OTHER
