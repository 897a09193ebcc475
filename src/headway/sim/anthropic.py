"""Anthropic's Messages as the provider writes them: whole answers, events, errors and reply headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from headway.sim.account import Account
from headway.sim.ask import Ask
from headway.sim.bodies import Meta
from headway.sim.content import Completion
from headway.sim.prose import filler
from headway.sim.refusals import Refused
from headway.sim.text import dice, pieces
from headway.types import Headers

__all__ = ["message_body", "message_error", "message_events", "message_headers", "message_overload"]

_KINDS: Final = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
    504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
_POOR: Final = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase"
    " credits."
)
_WORDS: Final = {
    "429": "This request would exceed your organization's rate limit. Please try again later.",
    "500": "Internal server error",
    "503": "Overloaded",
    "529": "Overloaded",
    "auth": "invalid x-api-key",
}
"""What it says where the other provider's words would be wrong, by the ledger's outcome."""

_BARE: Final[dict[str, dict[str, Any]]] = {
    "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}, "text": {"text": ""}
}  # fmt: skip
"""What of a block is still to come when it starts."""

_OVERLOADED: Final = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def message_body(ask: Ask, completions: list[Completion], meta: Meta) -> dict[str, Any]:
    """A `message`."""
    done = completions[0]
    content, usage = _blocks(ask, done, meta), _usage(meta, done.output_tokens)
    return {**_head(meta), "content": content, **_stop(done), "usage": usage}


def message_events(ask: Ask, completions: list[Completion], meta: Meta) -> Iterator[tuple[int, bytes]]:
    """The stream: a message starts, blocks start, grow and stop, the message ends."""
    done = completions[0]
    last = done.output_tokens
    empty = {"stop_reason": None, "stop_sequence": None}
    yield 0, _event("message_start", {"message": {**_head(meta), "content": [], **empty, "usage": _usage(meta, 1)}})
    for index, block in enumerate(_blocks(ask, done, meta)):
        where = {"index": index}
        kind = block["type"]
        due = 0 if kind == "thinking" else done.reasoning_tokens
        yield due, _event("content_block_start", {**where, "content_block": {**block, **_BARE[kind]}})
        if not index:
            yield due, _event("ping", {})
        for at, delta in _deltas(block, done):
            yield at, _event("content_block_delta", {**where, "delta": delta})
        yield (done.reasoning_tokens if kind == "thinking" else last), _event("content_block_stop", where)
    yield last, _event("message_delta", {"delta": _stop(done), "usage": _usage(meta, last, grown=True)})
    yield last, _event("message_stop", {})


def message_overload(ask: Ask) -> bytes:
    """An overload told inside a 200; the same for every `ask`."""
    return b"event: error\ndata: %s\n\n" % msgspec.json.encode(_OVERLOADED)


def message_error(refused: Refused, request: str) -> tuple[int, bytes]:
    """Status and body of an error answer. What means "no money" to the other provider is a 400 here."""
    status, message = refused.status, _WORDS.get(refused.outcome, str(refused.error["message"]))
    if refused.outcome in ("quota", "billing"):
        status, message = 400, _POOR
    error = {"type": _KINDS.get(status, "api_error"), "message": message}
    return status, msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_{request}"})


def message_headers(account: Account, processing_ms: str) -> Headers:
    """What an answer carries besides its limits; how long it took is not told."""
    return ("request-id", f"req_{account.id}"), ("anthropic-organization-id", account.organisation)


def _head(meta: Meta) -> dict[str, Any]:
    return {"id": f"msg_{meta.id}", "type": "message", "role": "assistant", "model": meta.model}


def _stop(done: Completion) -> dict[str, Any]:
    reason = {"length": "max_tokens", "tool_calls": "tool_use"}.get(done.finish, "end_turn")
    return {"stop_reason": "stop_sequence" if done.stopped_by else reason, "stop_sequence": done.stopped_by or None}


def _blocks(ask: Ask, done: Completion, meta: Meta) -> list[dict[str, Any]]:
    """The thinking, where it thought, and the text or the call."""
    found: list[dict[str, Any]] = []
    if done.reasoning_tokens:
        shown = (ask.body.get("thinking") or {}).get("display") != "omitted"
        thought = "".join(_thought(done, meta)) if shown else ""
        found.append({"type": "thinking", "thinking": thought, "signature": f"sim{meta.id}=="})
    if done.tool:
        found.append({"type": "tool_use", "id": f"toolu_{meta.id}", "name": done.tool, "input": _input(done.text)})
    elif done.tokens:
        found.append({"type": "text", "text": done.text})
    return found


def _thought(done: Completion, meta: Meta) -> list[str]:
    """As many tokens of prose as it thought: what models think is nobody's business, its length is."""
    count = done.reasoning_tokens
    return pieces(filler(count, dice("thought", meta.id)))[:count]


def _deltas(block: dict[str, Any], done: Completion) -> Iterator[tuple[int, dict[str, Any]]]:
    if block["type"] == "thinking":
        for due, token in enumerate(pieces(block["thinking"]), 1):
            yield due, {"type": "thinking_delta", "thinking": token}
        yield done.reasoning_tokens, {"type": "signature_delta", "signature": block["signature"]}
        return
    kind, field = ("input_json_delta", "partial_json") if done.tool else ("text_delta", "text")
    for due, token in enumerate(done.tokens, done.reasoning_tokens + 1):
        yield due, {"type": kind, field: token}


def _input(arguments: str) -> Any:
    """A call's arguments; nothing where they were cut off."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {}


def _usage(meta: Meta, output_tokens: int, *, grown: bool = False) -> dict[str, Any]:
    """Input is told in three parts: read from the cache, written to it, neither."""
    usage = meta.usage
    written = usage.cache_write_tokens
    counts: dict[str, Any] = {
        "input_tokens": usage.input_tokens - usage.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": output_tokens,
    }
    if usage.reasoning_tokens and output_tokens > 1:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if grown:
        return counts
    hour = meta.hour_tokens
    split = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
    return {**counts, "cache_creation": split, "service_tier": "batch" if meta.lane == "batch" else "standard"}


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))
