"""What is read of requests and answers: frozen views, whatever the wire format."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Answer", "ErrorView", "Headers", "Outcome", "RequestView", "Tags", "Usage"]

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


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one answer, normalised. `estimated` marks counts that were not reported by the provider."""

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Of those, what is kept for an hour, which some providers charge more for."""
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
    limit_window_s: float | None = None
    """What that limit counts over, where the text says it ("per day"): 1, 60, 3600 or 86400."""


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


class Tags(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a call belongs, for later analysis; every field is free text and may be empty."""

    run: str = ""
    step: str = ""
    parent: str = ""
    session: str = ""
