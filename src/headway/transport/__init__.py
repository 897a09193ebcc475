"""One line under an official SDK: an HTTP client whose network is Headway.

    client = openai.AsyncOpenAI(http_client=headway.async_client(cache=True))
    client = openai.OpenAI(http_client=headway.client(cache=True))

A request goes to its own origin with its own credential, as the SDK wrote it. Requests that a wire reader knows go
through the engine: cache, join, retries, pace, budget, the call log. All others (models, files, batches) pass through
untouched, over the client family's own transport. `headway-*` request headers steer one call and are not sent (see
`engine.inbound`); `headway-*` and `Cache-Status` response headers say what happened.

What a caller gets when a call fails:

    an HTTP answer, after our own tries    that answer, with `x-should-retry: false`
    queue full; budget spent               429; 402, in the providers' JSON error shape
    a malformed control header             400, nothing sent
    no answer                              the family's ConnectError, ConnectTimeout, ReadTimeout, ReadError or
                                           RemoteProtocolError, its `__cause__` ours; an SDK's own next try of the
                                           same request within 20 s gets the same, without an attempt
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from headway.engine import Engine, SyncEngine
from headway.transport.asynchronous import AsyncTransport
from headway.transport.family import FamilyName, family_of
from headway.transport.synchronous import Transport
from headway.types import Handler

if TYPE_CHECKING:
    import httpx
    import httpx2

__all__ = ["AsyncTransport", "Transport", "async_client", "client"]


@overload
def async_client(
    *,
    family: Literal["httpx2"] = "httpx2",
    engine: Engine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx2.AsyncClient: ...
@overload
def async_client(
    *,
    family: Literal["httpx"],
    engine: Engine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx.AsyncClient: ...
def async_client(
    *,
    family: FamilyName = "httpx2",
    engine: Engine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx2.AsyncClient | httpx.AsyncClient:
    """An async HTTP client for an SDK's `http_client=`, with Headway underneath.

    Its timeouts are the engine's (`first_byte_timeout_s` and so on), unless the SDK or the call names one.

    Args:
        family: "httpx2" for openai 3, anthropic 2, mistralai 3, google-genai 3; "httpx" for groq and older SDKs.
        engine: One to share explicitly. Instead of the following.
        handler: Takes the network's place: a simulator or a fake.
        config: A TOML file; by default `headway.toml` in the working directory, if there is one.
        settings: Any field of `headway.Settings` as a keyword, e.g. ``cache=True``.

    Raises:
        ConfigError: A setting is wrong, or the family's package is not installed.
    """
    transport = AsyncTransport(family=family, engine=engine, handler=handler, config=config, **settings)
    made: httpx2.AsyncClient = family_of(family).module.AsyncClient(
        transport=transport, timeout=None, follow_redirects=True
    )
    return made


@overload
def client(
    *,
    family: Literal["httpx2"] = "httpx2",
    engine: SyncEngine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx2.Client: ...
@overload
def client(
    *,
    family: Literal["httpx"],
    engine: SyncEngine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx.Client: ...
def client(
    *,
    family: FamilyName = "httpx2",
    engine: SyncEngine | None = None,
    handler: Handler | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> httpx2.Client | httpx.Client:
    """As `async_client`, for sync programs: safe across threads, and after a fork."""
    transport = Transport(family=family, engine=engine, handler=handler, config=config, **settings)
    made: httpx2.Client = family_of(family).module.Client(transport=transport, timeout=None, follow_redirects=True)
    return made
