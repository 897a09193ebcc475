"""A request on its way, the reply that comes back, and the one shape of every layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from math import inf
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from headway.types.trace import Trace
from headway.types.views import Headers, RequestView, Tags

__all__ = ["Allowance", "Call", "Handler", "Reply", "Timeouts"]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Silence that is taken for failure, in seconds, each apart. Source: FACTS section 4 (streams).

    `first_byte_s` holds for whole answers, which say nothing until all is generated; `first_event_s` for streams;
    `first_content_s` for streams that keep saying nothing (pings, and events without a word of the answer, end the
    first three kinds of silence, not this one); `idle_s` between two chunks, pings included.
    """

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    first_event_s: float = 60.0
    first_content_s: float = 600.0
    idle_s: float = 300.0


class Allowance(Protocol):
    """What the calls of one run of a pipeline may cost together. Its calls may come from several loops and threads."""

    async def take(self, call: Call, dollars: float | None, tokens: int) -> Callable[[Trace], None]:
        """Set a try's worst case aside, perhaps after a wait for others to settle.

        Args:
            call: The try's call, with a trace of its own.
            dollars: The worst case; None: the price is unknown.
            tokens: Likewise, input and output.

        Returns:
            What settles it, to be called when the try's trace ends.

        Raises:
            BudgetExceeded: It can never fit.
            Overloaded: Too many wait, or it is a prefetch that would have to.
        """
        ...  # fmt: skip

    def book(self, dollars: float) -> None:
        """Count what was spent in another way, such as in a batch."""
        ...  # fmt: skip


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request on its way. Layers hand on changed copies (`msgspec.structs.replace`), never change it.

    `origin` + `path` is the target the client wrote ("https://api.openai.com" + "/v1/responses?x=1"); `headers` hold
    the client's own, credential included; `body` holds the client's bytes. `key` is set where reuse is on and allowed.
    """

    method: str = "POST"
    origin: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    view: RequestView
    trace: Trace
    tenant: str = ""
    """Digest of the whole credential (64 hex digits): what isolates caches, flights and limits."""
    key: bytes | None = None
    """32-byte fingerprint for cache and join; None switches both off for this call."""
    cache_mode: Literal["on", "off", "refresh"] = "off"
    deadline_at_s: float = inf
    priority: int = 0
    """Greater goes first; -1 is "low", 1 is "high"."""
    attempts_max: int = 3
    timeouts: Timeouts | None = None
    """The caller's own; None: as the engine is set."""
    namespace: str = ""
    """Which of the named caches it uses; "" is the default one. It enters the key."""
    sample: str = ""
    """Tells identical requests apart that are meant to differ (best-of-N). It enters the key."""
    tags: Tags = Tags()
    allowance: Allowance | None = None
    """Pays for its tries, beside the engine's own cap: that of the run it belongs to, if it belongs to one."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Names and sizes: credentials (headers, a query) and prompts must not reach a log or a traceback."""
        return [
            ("method", self.method),
            ("origin", self.origin),
            ("path", self.path.partition("?")[0]),
            ("headers", [name for name, _ in self.headers]),
            ("body_bytes", len(self.body)),
            ("trace", self.trace.id),
        ]

    def __repr__(self) -> str:
        return f"Call({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Reply:
    """A status, headers and a body that is alive until it is closed.

    Complete answers hold their `body`; streams are iterated. Either way: ``async for chunk in reply``, or
    ``await reply.read()``; then ``await reply.aclose()`` (reading to the end, or leaving ``async with``, closes too).
    Closing early abandons the answer: the provider's stream is ended when nobody else reads it.
    """

    __slots__ = ("_chunks", "_close", "_closed", "body", "headers", "status", "trace")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes | None = None,
        *,
        chunks: AsyncIterator[bytes] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.trace = trace
        self.body = body
        """The whole body when it is at hand without waiting, else None."""
        self._chunks = chunks
        self._close = close
        self._closed = False

    def chunks(self) -> AsyncIterator[bytes]:
        """What it is read from; whoever reads that in its stead closes the reply in the end, whatever happened."""
        return self if self._chunks is None else self._chunks

    @property
    def held(self) -> bool:
        """Whether closing it would give anything back."""
        return self._close is not None and not self._closed

    def header(self, name: str, default: str = "") -> str:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return default

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk as it comes; the end, and a failure, close the reply."""
        if self.body is not None:
            if self._closed or not self.body:
                self._closed = True
                raise StopAsyncIteration
            self._closed = True
            return self.body
        if self._chunks is None or self._closed:
            raise StopAsyncIteration
        try:
            return await anext(self._chunks)
        except BaseException:
            await self.aclose()
            raise

    async def read(self) -> bytes:
        """The whole body; may be called again."""
        if self.body is None:
            parts = [chunk async for chunk in self]
            self.body = parts[0] if len(parts) == 1 else b"".join(parts)
        return self.body

    async def aclose(self) -> None:
        """Give back what the reply holds. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._close is not None:
                await self._close()

    async def __aenter__(self) -> Reply:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]
"""The one shape of every layer: a call in, a reply out. Wrap one to add behaviour."""
