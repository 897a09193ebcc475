"""The nouns that every layer shares: `Call`, `Reply`, `Usage`, `Trace`, `Handler`, and what a wire reader reads.

No layer, policy or store is imported here. All `*_s` fields are seconds; fields named `*_at_s` are readings of the
event loop's clock (`loop.time()`), fields named `*_wall_s` are calendar time (Unix seconds). Token counts follow one
convention whatever the provider's own: `input_tokens` holds everything in the prompt, `cached_tokens` and
`cache_write_tokens` are parts of it; `output_tokens` holds everything generated, `reasoning_tokens` is part of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import inf
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

__all__ = ["Answer", "Call", "ErrorView", "Handler", "Headers", "Outcome", "Reply", "RequestView", "Result", "Tags", "TaskLike", "Trace", "Usage"]

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Name-value pairs in wire order; names are lower case."""

Outcome: TypeAlias = Literal[
    "ok",  # a whole answer
    "throttled",  # 429: rate_limit_exceeded, slow_down; or a throttle by any other name
    "overloaded",  # 503/529 overloaded, or an overload event inside a 200
    "billing",  # 402 or a billing 429: no money left, never retried
    "auth",  # 401, 403
    "client_error",  # any other 4xx
    "server_error",  # any other 5xx, 408, 409
    "connect_failed",
    "provider_timeout",
    "connection_lost",
    "bad_reply",
    "deadline",
    "budget",
    "queue_full",
    "closed",
    "abandoned",  # the last caller left
]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer, normalised. `estimated` marks counts that were not reported by the provider."""

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """An error body or error event as a reader read it. `outcome` is what the engine acts on."""

    outcome: Outcome
    code: str = ""
    """The provider's own word, e.g. ``insufficient_quota``; "" if it gave none."""
    message: str = ""
    retry_after_s: float | None = None
    """A wait named in the text ("try again in 599ms"); headers are read elsewhere."""
    retryable: bool = False
    """Whether trying again could help: never for billing, auth or client errors."""
    limit_kind: Literal["requests", "tokens", ""] = ""
    limit: int | None = None
    used: int | None = None
    requested: int | None = None
    """Limit, Used, Requested of a 429's text: an exact reading of the bucket (FACTS: the text is arithmetic)."""


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader read of a request. Reading never changes the bytes."""

    format: str = ""
    """The reader's name, e.g. ``openai_responses``; "" when no reader knows the path."""
    model: str = ""
    stream: bool = False
    input_tokens: int = 0
    """Estimate of the prompt's tokens (characters / 4 unless a tokenizer is installed)."""
    output_tokens_max: int | None = None
    reusable: bool = False
    """May be cached and joined: the answer depends on nothing but the body (no stored or server-side state)."""
    why_not_reusable: str = ""
    wants_usage: bool = False
    """A stream that will carry usage by the client's own wish (or always, as Responses streams do)."""
    answers: int = 1
    """Answers asked for at once (``n``)."""
    block_hashes: tuple[str, ...] = ()
    """Hashes of the prompt's consecutive blocks (16 hex digits), for prefix analysis; no text can be got back."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader read of an answer, streamed or not."""

    complete: bool = False
    """A terminal event was seen (streams), or the body parsed whole."""
    admissible: bool = False
    """May be kept: finish in {stop, end_turn, tool_calls, tool_use}, tool JSON valid, not empty, no refusal."""
    finish: str = ""
    """The provider's finish reason or status, e.g. ``stop``, ``length``, ``completed``, ``incomplete``."""
    model: str = ""
    usage: Usage | None = None
    error: ErrorView | None = None


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call belongs, for later analysis; every field is free text and may be empty."""

    run: str = ""
    step: str = ""
    parent: str = ""
    session: str = ""


class Trace:
    """What happened to one caller or one attempt; its row in the call log is written from it.

    Mutable, owned by one task at a time. `kind` is "call" or "attempt"; the two share what they have in common.
    Our own wait (`wait_s`) and the provider's (`provider_queue_s`, `provider_processing_s`) are never one number.
    """

    __slots__ = (
        "attempt_index", "cache", "connect_s", "dollars", "error_code", "first_byte_at_s", "first_content_at_s",
        "flight_id", "format", "hurry", "id", "kind", "maybe_billed", "model", "outcome", "output_tokens_max", "path",
        "provider_estimated", "provider_processing_s", "provider_queue_s", "request_id", "retry_after_s", "saved_dollars",
        "sent_at_s", "settled", "start_wall_s", "started_at_s", "ended_at_s", "status", "stream", "tags", "tenant",
        "block_hashes", "upstream", "usage", "wait_s", "attempts", "body_bytes", "reply_bytes", "finish", "_ends",
    )  # fmt: skip

    def __init__(self, kind: Literal["call", "attempt"], id_: str, started_at_s: float, start_wall_s: float) -> None:
        self.kind = kind
        self.id = id_
        self.flight_id = ""
        self.started_at_s = started_at_s
        self.start_wall_s = start_wall_s
        self.ended_at_s: float | None = None
        self.wait_s = 0.0  # ours: queue and pacing
        self.connect_s: float | None = None  # None: a kept connection was used
        self.sent_at_s: float | None = None
        self.first_byte_at_s: float | None = None
        self.first_content_at_s: float | None = None
        self.provider_queue_s: float | None = None
        self.provider_processing_s: float | None = None
        self.provider_estimated = True
        self.path = ""
        self.format = ""
        self.model = ""
        self.upstream = ""
        self.stream = False
        self.output_tokens_max: int | None = None
        self.retry_after_s: float | None = None  # the wait that the provider's headers asked for
        self.usage: Usage | None = None
        self.dollars: float | None = None  # None: unknown, never zero
        self.saved_dollars: float | None = None
        self.maybe_billed = False
        self.outcome: Outcome | None = None
        self.status: int | None = None
        self.finish = ""
        self.error_code = ""
        self.request_id = ""
        self.cache = ""  # "", "off", "miss", "memory", "sqlite", "joined", "stale", "refresh"
        self.attempt_index = 0
        self.attempts = 0
        self.tags = Tags()
        self.tenant = ""
        self.block_hashes: tuple[str, ...] = ()
        self.body_bytes = 0
        self.reply_bytes = 0
        self.settled: Outcome | None = None
        """How a call has gone although its reply is still open; what it ends with."""
        self.hurry: Callable[[float, float], None] | None = None
        """While it waits in a queue: moves it to another priority and deadline."""
        self._ends: list[Callable[[Trace], None]] = []

    def on_end(self, give_back: Callable[[Trace], None]) -> None:
        """Have `give_back` called when this ends; whoever holds something for it registers how it is returned."""
        self._ends.append(give_back)

    def end(self, outcome: Outcome, now_s: float) -> None:
        """End it: everything held is given back, last taken first. Synchronous and idempotent: the first end counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended_at_s = now_s
            while self._ends:
                self._ends.pop()(self)


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
    """Digest of the credential (16 hex digits): what isolates caches, flights and limits."""
    key: bytes | None = None
    """32-byte fingerprint for cache and join; None switches both off for this call."""
    cache_mode: Literal["on", "off", "refresh"] = "off"
    deadline_at_s: float = inf
    priority: int = 0
    """Greater goes first; -1 is "low", 1 is "high"."""
    attempts_max: int = 3
    tags: Tags = Tags()


class Reply:
    """A status, headers and a body that is alive until it is closed.

    Complete answers hold their `body`; streams are iterated. Either way: ``async for chunk in reply``, or
    ``await reply.read()``; then ``await reply.aclose()`` (reading to the end, or leaving ``async with``, closes too).
    Closing early abandons the answer: the provider's stream is ended when nobody else reads it.
    """

    __slots__ = ("_body", "_chunks", "_close", "_closed", "headers", "status", "trace")

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
        self._body = body
        self._chunks = chunks
        self._close = close
        self._closed = False

    @property
    def body(self) -> bytes | None:
        """The whole body when it is at hand without waiting, else None."""
        return self._body

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
        if self._body is not None:
            if self._closed or not self._body:
                self._closed = True
                raise StopAsyncIteration
            self._closed = True
            return self._body
        if self._chunks is None or self._closed:
            raise StopAsyncIteration
        try:
            return await anext(self._chunks)
        except BaseException:
            await self.aclose()
            raise

    async def read(self) -> bytes:
        """The whole body; may be called again."""
        if self._body is None:
            parts = [chunk async for chunk in self]
            self._body = parts[0] if len(parts) == 1 else b"".join(parts)
        return self._body

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


class TaskLike(Protocol):
    """What `Engine.map` asks of a task: a request per row, and a verdict on each answer. `prompts.Task` is one."""

    path: str
    """E.g. "/v1/responses"."""
    repairs_max: int
    """How often a malformed or empty answer may be asked again, per row."""

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The request's JSON body. Raises `InputError` when a column is missing."""
        ...

    def key_body(self, row: Mapping[str, Any]) -> bytes | None:
        """The body that the cache key is made of, when a column is normalised for it; else None."""
        ...

    def accept(self, text: str) -> Any:
        """The answer's value (a label, a dict, a list of bullets, the text). Raises `ValueError` with a sentence."""
        ...

    def repair(self, row: Mapping[str, Any], text: str, problem: str) -> bytes:
        """The body of a request that asks again, saying what was wrong."""
        ...


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row of `Engine.map`: the value, or the reason there is none; and what it took."""

    index: int
    """The row's position in the input, from 0."""
    row: Mapping[str, Any]
    value: Any = None
    text: str = ""
    error: str = ""
    """One sentence; "" when the row succeeded."""
    outcome: str = "ok"
    """An `Outcome`, or "invalid_output" / "input" for rows that failed on our side of the wire."""
    status: int | None = None
    error_code: str = ""
    latency_s: float = 0.0
    """From hand-over to answer, our own wait included, repairs included."""
    wait_s: float = 0.0
    """The part of `latency_s` spent in our queue."""
    usage: Usage | None = None
    dollars: float | None = None
    """Spent on this row; 0.0 for hits and joins; None when the model's price is unknown."""
    saved_dollars: float | None = None
    cache: str = ""
    """"miss", "memory", "sqlite", "joined", "stale", or "off"."""
    attempts: int = 0
    repairs: int = 0
    started_at_s: float = 0.0
    """Loop time; with `latency_s` it gives the requests in flight over time."""
