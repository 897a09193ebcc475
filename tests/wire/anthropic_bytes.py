"""The bytes of Messages requests, answers and streams, as tests write them."""

from __future__ import annotations

import json
from typing import Any

from headway.types import Answer, RequestView, Usage
from headway.wire import reader_for

MESSAGES = reader_for("/v1/messages?beta=true")
assert MESSAGES is not None

HELLO = [{"role": "user", "content": "Hello"}]
USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 2048,
    "cache_read_input_tokens": 10_240,
    "cache_creation": {"ephemeral_5m_input_tokens": 2048, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 503,
    "output_tokens_details": {"thinking_tokens": 100},
    "service_tier": "standard",
}
READ = Usage(
    input_tokens=12_300, cached_tokens=10_240, cache_write_tokens=2048, output_tokens=503, reasoning_tokens=100
)
TEXT = {"type": "text", "text": "billing"}
THINKING = {"type": "thinking", "thinking": "It is about money.", "signature": "EqQBCgIYAhIM"}
TOOL = {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"city": "Oslo"}}


def request(**fields: Any) -> bytes:
    return json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": HELLO, **fields}).encode()


def view(**fields: Any) -> RequestView:
    return MESSAGES.read_request(request(**fields), ())


def message(*blocks: dict[str, Any], stop: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def read(*blocks: dict[str, Any], status: int = 200, **fields: Any) -> Answer:
    return MESSAGES.read_answer(status, json.dumps(message(*blocks, **fields)).encode())


def event(type_: str, *, line: bool = True, **fields: Any) -> bytes:
    head = f"event: {type_}\n" if line else ""
    return f"{head}data: {json.dumps({'type': type_, **fields})}\n\n".encode()


def follow(*events: bytes) -> tuple[list[str], Answer]:
    stream = MESSAGES.open_stream()
    kinds = [stream.feed(event) for event in events]
    return kinds, stream.answer()


def delta(index: int, type_: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": type_, **fields})


def block(index: int, start: dict[str, Any], *deltas: bytes) -> list[bytes]:
    first = event("content_block_start", index=index, content_block=start)
    return [first, *deltas, event("content_block_stop", index=index)]


EARLY = {**USAGE, "output_tokens": 1, "output_tokens_details": None}
START = event("message_start", message=message(stop=None, usage=EARLY))
PING = event("ping")
STOP = event("message_stop")


def end(stop: str = "end_turn", **usage: Any) -> list[bytes]:
    late = {"output_tokens": 503, "output_tokens_details": {"thinking_tokens": 100}, **usage}
    return [event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=late), STOP]


TEXT_BLOCK = block(
    0, {"type": "text", "text": ""}, delta(0, "text_delta", text="bill"), delta(0, "text_delta", text="ing")
)
THINKING_BLOCK = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    delta(0, "thinking_delta", thinking="It is "),
    delta(0, "thinking_delta", thinking="about money."),
    delta(0, "signature_delta", signature="EqQBCgIYAhIM"),
)


def tool_block(index: int, *pieces: str) -> list[bytes]:
    deltas = [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]
    return block(index, {**TOOL, "input": {}}, *deltas)
