"""The dashboard: pages, styles and scripts that come with the package, and nothing from elsewhere.

Everything but the page itself lies below a path that holds the digest of all of it, so a browser may keep it for ever,
and modules may import each other by relative names. Nothing here tells anything: the figures come from the admin API.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request as AppRequest
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from headway.gateway.serving import Serving

__all__ = ["PAGE_HEADERS", "Kept", "kept", "routes"]

PAGE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""No inline script or style, no other origin, no frame, and (trusted types) no text that becomes markup."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PACK_BYTES_MIN: Final = 512
_VIEWS: Final = ("overview", "calls", "pipelines", "runs", "keys")


class _File(msgspec.Struct, frozen=True):
    """One file, as it is and packed ("": it is not worth it)."""

    type: str
    body: bytes
    packed: bytes


class Kept(msgspec.Struct, frozen=True):
    """All files below `static/`, by their paths, and the digest of all of them."""

    version: str
    files: dict[str, _File]

    def page(self, name: str) -> bytes:
        """A page with its links in place: `{static}` leads to this version, `{modules}` fetches all scripts at once."""
        base = f"/static/{self.version}"
        folder = name.rpartition("/")[0]
        scripts = f"{folder}/js/" if folder else "js/"
        links = [
            f'<link rel="modulepreload" href="{base}/{path}">'
            for path in sorted(self.files)
            if path.startswith(scripts) and path.endswith(".js") and not path.endswith("early.js")
        ]
        text = self.files[name].body.decode()
        return text.replace("{modules}", "\n".join(links)).replace("{static}", base).encode()


@cache
def kept() -> Kept:
    """The package's files; read once, and small."""
    found: dict[str, _File] = {}
    _read(files("headway.gateway.app") / "static", "", found)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.encode() + b"\0" + found[path].body + b"\0")
    return Kept(digest.hexdigest()[:12], found)


def _read(folder: Traversable, prefix: str, found: dict[str, _File]) -> None:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            _read(entry, f"{path}/", found)
            continue
        kind = _TYPES.get(path[path.rfind(".") :])
        if kind is None:
            continue
        body = entry.read_bytes()
        packed = gzip.compress(body, mtime=0) if len(body) >= _PACK_BYTES_MIN else b""
        found[path] = _File(kind, body, packed)


class _ForBrowsers(Route):
    """A route for those who ask for a page; others (curl) get what comes after it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.NONE or _wants_page(scope) else (Match.NONE, {})


def _wants_page(scope: Scope) -> bool:
    """Whether `Accept` names HTML, and likes plain text no better."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1").lower()
    likes: dict[str, float] = {}
    for part in accepted.split(","):
        kind, *options = (piece.strip() for piece in part.split(";"))
        like = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    like = float(option[2:])
                except ValueError:
                    like = 0.0
        likes[kind] = like
    html = likes.get("text/html", 0.0)
    return html > 0 and html >= likes.get("text/plain", 0.0)


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""

    async def page(request: AppRequest) -> Response:
        """The dashboard."""
        found = await asyncio.to_thread(kept)
        headers = {"cache-control": "no-cache", "vary": "Accept", "etag": f'"{found.version}"'}
        if _is_current(request, found.version):
            return Response(status_code=304, headers=PAGE_HEADERS | headers)
        return Response(found.page("index.html"), headers=PAGE_HEADERS | headers, media_type="text/html")

    async def static(request: AppRequest) -> Response:
        """A style, a script, a picture."""
        found = await asyncio.to_thread(kept)
        version, path = request.path_params["version"], request.path_params["path"]
        file = found.files.get(path) if version == found.version else None
        if file is None:
            return PlainTextResponse("there is no such file; load the page again\n", 404, _plain())
        headers = _plain() | {"cache-control": _FOR_EVER, "etag": f'"{version}"', "vary": "Accept-Encoding"}
        if _is_current(request, version):
            return Response(status_code=304, headers=headers)
        body = file.body
        if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["content-encoding"] = file.packed, "gzip"
        return Response(body, headers=headers | {"content-type": file.type})

    async def view(request: AppRequest) -> Response:
        """An address that was typed by hand: views are behind the page's `#`."""
        return RedirectResponse(
            "/#" + quote(request.scope["path"]), headers=PAGE_HEADERS | {"cache-control": "no-cache"}
        )

    return [
        _ForBrowsers("/", page),
        *(_ForBrowsers(f"/{name}{rest}", view) for name in _VIEWS for rest in ("", "/{id}")),
        Route("/static/{version}/{path:path}", static),
    ]


def _plain() -> dict[str, str]:
    return {name: PAGE_HEADERS[name] for name in ("x-content-type-options", "cross-origin-resource-policy")}


def _is_current(request: AppRequest, version: str) -> bool:
    return f'"{version}"' in request.headers.get("if-none-match", "")
