"""Answers whose text somebody else has written, in the shape of the endpoint that was asked: for `headway.testing`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.sim.anthropic import message_error
from headway.sim.ask import Api, Ask
from headway.sim.bodies import Meta, embeddings_body
from headway.sim.embed import vector
from headway.sim.formats import route
from headway.sim.refusals import Refused
from headway.types import Call, Usage

__all__ = ["scripted_events", "scripted_whole"]

_DIMENSIONS: Final = 8
"""Of vectors where the request names no size: enough to compare, short enough to read."""
_CODES: Final = {
    401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded", 529: "overloaded_error",
}  # fmt: skip


def scripted_whole(call: Call, status: int, text: str, usage: Usage) -> bytes:
    """A whole answer that says `text`, or an error of that status; paths of no endpoint get a Responses answer."""
    api = _api(call)
    if status >= 400:
        return _error(api, status, text)
    if api == "embeddings":
        return _vectors(call, usage)
    write = {"chat": _chat, "messages": _message}.get(api, _response)
    return msgspec.json.encode(write(call, text, usage))


def scripted_events(call: Call, text: str, usage: Usage) -> list[bytes]:
    """The same as a stream, an event for each word, as a provider would."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    write = {"chat": _chat_events, "messages": _message_events}.get(_api(call), _response_events)
    return write(call, words, usage)


def _api(call: Call) -> Api:
    """By the end of the path: base URLs differ."""
    endpoint = call.path.partition("?")[0]
    if endpoint.endswith("/chat/completions"):
        return "chat"
    where = route(f"/v1/{endpoint.rpartition('/')[2]}")
    return where.api if where is not None else "responses"


def _error(api: Api, status: int, text: str) -> bytes:
    if api == "messages":
        return message_error(Refused(status, text, "", None), "scripted")[1]
    error = {"message": text, "type": "error", "param": None, "code": _CODES.get(status)}
    return msgspec.json.encode({"error": error})


def _vectors(call: Call, usage: Usage) -> bytes:
    """One for each input, equal for equal inputs."""
    body = msgspec.json.decode(call.body, type=dict[str, Any])
    given = body.get("input")
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    size = body.get("dimensions") or _DIMENSIONS
    meta = Meta(id="scripted", model=call.view.model, created_wall_s=0, usage=usage)
    ask = Ask(api="embeddings", model=call.view.model, body=body)
    return msgspec.json.encode(embeddings_body([vector(str(one), size, 0) for one in texts], ask, meta))


def _chat(call: Call, text: str, usage: Usage) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": call.view.model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }  # fmt: skip


def _chat_events(call: Call, words: list[str], usage: Usage) -> list[bytes]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": call.view.model}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    events = [base | {"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if b'"include_usage":true' in call.body:
        events.append(base | {"choices": [], "usage": _chat(call, "", usage)["usage"]})
    return [b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def _response(call: Call, text: str, usage: Usage) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1", "object": "response", "created_at": 0, "status": "completed", "model": call.view.model,
        "output": [message],
        "usage": {
            "input_tokens": usage.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }  # fmt: skip


def _response_events(call: Call, words: list[str], usage: Usage) -> list[bytes]:
    whole = _response(call, "".join(words), usage)
    started: dict[str, Any] = {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [started]
    events += [{"type": "response.output_text.delta", **place, "delta": word} for word in words]
    events.append({"type": "response.completed", "response": whole})
    return [_named(event) for event in events]


def _message(call: Call, text: str, usage: Usage) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": call.view.model,
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": usage.output_tokens,
        },
    }  # fmt: skip


def _message_events(call: Call, words: list[str], usage: Usage) -> list[bytes]:
    whole = _message(call, "", usage)
    counts = whole["usage"]
    start = whole | {"content": [], "stop_reason": None, "usage": counts | {"output_tokens": 1}}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": counts},
        {"type": "message_stop"},
    ]
    return [_named(event) for event in events]


def _named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"
