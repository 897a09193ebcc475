"""`/try`: a page that asks at `/stream` and `/chat`, and shows what an answer took; it holds nothing."""

from __future__ import annotations

import asyncio

from starlette.requests import Request as AppRequest
from starlette.responses import Response

from headway.gateway.app.pages import PAGE_HEADERS, kept

__all__ = ["page"]


async def page(request: AppRequest) -> Response:
    """The page; its scripts and styles are the package's, as the dashboard's are."""
    found = await asyncio.to_thread(kept)
    headers = PAGE_HEADERS | {"cache-control": "no-cache", "etag": f'"{found.version}"'}
    if f'"{found.version}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.page("try/index.html"), headers=headers, media_type="text/html")
