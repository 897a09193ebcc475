"""The bytes of Chat Completions streams, as tests write them."""

from __future__ import annotations

import json
from typing import Any

from headway.types import Answer, Usage
from headway.wire import reader_for

CHAT = reader_for("/v1/chat/completions")
assert CHAT is not None

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 30,
    "total_tokens": 1230,
    "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
}
READ = Usage(input_tokens=1200, cached_tokens=1024, cache_write_tokens=64, output_tokens=30, reasoning_tokens=20)
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
}


def chunk(delta: dict[str, Any] | None, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
    }
    return b"data: " + json.dumps({**head, "choices": choices, "usage": None, **fields}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ROLE = chunk({"role": "assistant", "content": "", "refusal": None})


def follow(*events: bytes) -> tuple[list[str], Answer]:
    stream = CHAT.open_stream()
    kinds = [stream.feed(event) for event in events]
    return kinds, stream.answer()


def tool_stream(arguments: str = '{"city":"Oslo"}') -> list[bytes]:
    first = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    pieces = [{"index": 0, "function": {"arguments": arguments[at : at + 4]}} for at in range(0, len(arguments), 4)]
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": [first]},
        *({"tool_calls": [p]} for p in pieces),
    ]
    return [*map(chunk, deltas), chunk({}, "tool_calls"), DONE]
