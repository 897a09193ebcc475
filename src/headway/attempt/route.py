"""Where a try goes: the request's own origin and credential, or the configured upstream's. One upstream for now."""

from __future__ import annotations

from urllib.parse import urlsplit

from headway.types import Call, Handler, Reply

__all__ = ["Route", "target_of"]


def target_of(base_url: str, path: str) -> tuple[str, str]:
    """Join an SDK-style base URL and a path into (origin, path).

    ("https://host/v1", "/v1/responses") and ("https://host/v1", "/responses") both give "/v1/responses": the SDKs'
    base URLs end in the version, while people write paths with it.
    """
    parts = urlsplit(base_url)
    prefix = parts.path.rstrip("/")
    last = prefix.rpartition("/")[2]
    if last and path.startswith(f"/{last}/"):
        path = path[len(last) + 1 :]
    return f"{parts.scheme}://{parts.netloc}", prefix + path


class Route:
    """Names the upstream in the trace. Routing between several comes with `[[upstream]]`."""

    __slots__ = ("_next",)

    def __init__(self, next_: Handler) -> None:
        self._next = next_

    async def __call__(self, call: Call) -> Reply:
        call.trace.upstream = call.origin
        return await self._next(call)
