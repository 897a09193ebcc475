"""The two HTTP client families, httpx2 and httpx 0.28: the same parts by the same names, in two packages.

What differs is only whose classes an answer and an error must be. For a type checker both are `httpx2`.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from headway.errors import BadReply, ConfigError, ConnectFailed, DeadlineExceeded, HeadwayError, ProviderTimeout
from headway.transport.bodies import AsyncBody, AsyncParts, SyncBody, SyncParts
from headway.upstream.proxies import through

if TYPE_CHECKING:
    import httpx2

__all__ = ["Family", "FamilyName", "family_of", "kind_of"]

FamilyName: TypeAlias = Literal["httpx2", "httpx"]


class Family:
    """One family's classes.

    Args:
        module: The package.
    """

    def __init__(self, module: Any) -> None:
        self.module: Any = module
        self.name: str = module.__name__
        self.bytes_of: type[httpx2.ByteStream] = module.ByteStream
        self._response: type[httpx2.Response] = module.Response
        # Its clients insist on bodies of their own base classes.
        self.async_parts: type[AsyncParts] = type("AsyncParts", (AsyncParts, module.AsyncByteStream), {})
        self.sync_parts: type[SyncParts] = type("SyncParts", (SyncParts, module.SyncByteStream), {})
        self.async_body: type[AsyncBody] = type("AsyncBody", (AsyncBody, module.AsyncByteStream), {})
        self.sync_body: type[SyncBody] = type("SyncBody", (SyncBody, module.SyncByteStream), {})

    def response(self, status: int, headers: Iterable[tuple[str, str]], stream: Any) -> httpx2.Response:
        """An answer, with its body still to be read."""
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        return self._response(status, headers=raw, stream=stream, extensions={"http_version": b"HTTP/1.1"})

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes, took_s: float) -> httpx2.Response:
        """An answer whose body is at hand."""
        made = self.response(status, headers, self.bytes_of(body))
        made.elapsed = timedelta(seconds=took_s)
        if all(name != "content-encoding" for name, _ in headers):
            # Read already, or the client would pull it through four generators; raw readers still find the stream.
            made._content = body
        return made

    def failure(self, error: HeadwayError, request: httpx2.Request | None) -> Exception:
        """The family's own exception for a failure without an answer; raise it from `error`."""
        return self.exception(kind_of(error), str(error), request)

    def exception(self, kind: str, message: str, request: httpx2.Request | None) -> Exception:
        """The family's exception of that name."""
        made: Exception = getattr(self.module, kind)(message, request=request)
        return made

    def copy(self, request: httpx2.Request, headers: list[tuple[bytes, bytes]], stream: Any) -> httpx2.Request:
        """The request with other headers and another body."""
        made: httpx2.Request = self.module.Request(
            request.method, request.url, headers=headers, stream=stream, extensions=request.extensions
        )
        return made

    def async_transport(self, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        """The family's own, for what passes through.

        Raises:
            ConfigError: There is no way through the proxy.
        """
        made: httpx2.AsyncHTTPTransport = through(self.module.AsyncHTTPTransport, self._limits(), proxy)
        return made

    def sync_transport(self, proxy: str | None) -> httpx2.HTTPTransport:
        """As `async_transport`."""
        made: httpx2.HTTPTransport = through(self.module.HTTPTransport, self._limits(), proxy)
        return made

    def _limits(self) -> Any:
        """As the official SDKs set them: these are their own calls."""
        return self.module.Limits(max_connections=1000, max_keepalive_connections=100)

    def proxy_for(self, url: httpx2.URL) -> str | None:
        """The proxy that the environment names for a URL: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY."""
        if urllib.request.proxy_bypass(url.netloc.decode("ascii")):
            return None
        proxies = urllib.request.getproxies()
        proxy = proxies.get(url.scheme) or proxies.get("all")
        return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def kind_of(error: HeadwayError) -> str:
    """What the families call a failure without an answer."""
    if isinstance(error, ConnectFailed):
        # Whoever made the connection says whether it was refused or not answered.
        late = isinstance(error.__cause__, TimeoutError) or "Timeout" in type(error.__cause__).__name__
        return "ConnectTimeout" if late else "ConnectError"
    if isinstance(error, ProviderTimeout | DeadlineExceeded):
        return "ReadTimeout"
    return "RemoteProtocolError" if isinstance(error, BadReply) else "ReadError"


@cache
def family_of(name: FamilyName) -> Family:
    """The family of that name.

    Raises:
        ConfigError: There is no such family, or its package is not installed.
    """
    if name not in ("httpx2", "httpx"):
        raise ConfigError(f'family must be "httpx2" or "httpx", not {name!r}')
    try:
        return Family(import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(f'family="{name}" needs the package {name}; install it, or leave family out') from None
