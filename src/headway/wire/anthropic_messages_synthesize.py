"""A Messages stream made of a whole message, for callers who stream what was stored as JSON.

Every event has the shape that the provider's own would have, in its order; only the cut differs: a text is one delta.
Merged, the events are the message again. Source: Anthropic API reference, "Streaming messages".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE

__all__ = ["message_events"]

_OF_THE_END: Final = ("stop_reason", "stop_sequence", "stop_details", "container")
_WITH_INPUT: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode


def message_events(body: bytes) -> list[bytes] | None:
    """The events of a whole message; None for anything else."""
    try:
        whole = _decode(body)
        if whole.get("type") != "message" or type(whole["usage"]) is not dict:
            return None
        end = {name: whole[name] for name in _OF_THE_END if name in whole}
        begun = whole | dict.fromkeys(end) | {"content": []}
        begun["usage"] = whole["usage"] | {"output_tokens": 1}
        events = [_event("message_start", message=begun)]
        for index, block in enumerate(whole["content"]):
            start, *deltas = _parts_of(block)
            events.append(_event("content_block_start", index=index, content_block=start))
            events += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
            events.append(_event("content_block_stop", index=index))
        return [*events, _event("message_delta", delta=end, usage=whole["usage"]), _event("message_stop")]
    except (*UNREADABLE, AttributeError, KeyError, TypeError):
        return None


def _parts_of(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A block emptied, then its deltas; one of another kind comes whole, as it does from the provider."""
    kind = block["type"]
    if kind in _WITH_INPUT:
        yield block | {"input": {}}
        yield {"type": "input_json_delta", "partial_json": _encode(block["input"]).decode() if block["input"] else ""}
    elif kind == "text":
        cited = block.get("citations")
        yield block | {"text": ""} | ({"citations": []} if cited else {})
        yield from ({"type": "citations_delta", "citation": citation} for citation in cited or ())
        yield {"type": "text_delta", "text": block["text"]}
    elif kind == "thinking":
        yield block | {"thinking": "", "signature": ""}
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield block


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + _encode({"type": kind, **fields}) + b"\n\n"
