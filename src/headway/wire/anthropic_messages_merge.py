"""A whole Messages stream, merged into the ``message`` that it amounts to.

Source: Anthropic API reference, "Streaming messages". Fields and blocks that are not known here are kept: a text is
joined to the text before it, of anything else the last value stands.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.sse import datas_of

__all__ = ["merge"]

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def merge(sse: bytes) -> bytes | None:
    """The ``message`` as JSON; None for a stream that broke off, holds an error or cannot be read."""
    message: dict[str, Any] | None = None
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    done = False
    try:
        for data in datas_of(sse):
            event = _decode(data)
            kind = event.get("type")
            if kind == "message_start":
                message = {**event["message"]}
            elif kind == "content_block_start":
                blocks[event["index"]] = block = {**event["content_block"]}
                if block.get("type") == "fallback" and message is not None:
                    message["model"] = block["to"]["model"]  # the one that goes on
            elif kind == "content_block_delta":
                _merge_delta(blocks[event["index"]], inputs, event["index"], event["delta"])
            elif kind == "message_delta" and message is not None:
                _merge_end(message, event)
            elif kind == "message_stop":
                done = True
            elif kind == "error" or event.get("error") is not None:
                return None
        if message is None or not done:
            return None
        for index, text in inputs.items():
            if text:
                blocks[index]["input"] = _decode(text)
        message["content"] = [blocks[index] for index in sorted(blocks)]
        return msgspec.json.encode(message)
    except (*UNREADABLE, AttributeError, TypeError, KeyError):
        return None  # JSON of a shape that is no stream of events


def _merge_delta(block: dict[str, Any], inputs: dict[int, str], index: int, delta: dict[str, Any]) -> None:
    kind = delta["type"]
    if kind == "input_json_delta":
        inputs[index] = inputs.get(index, "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    else:
        for name, value in delta.items():
            if name == "type":
                continue
            so_far = block.get(name)
            block[name] = so_far + value if type(so_far) is str and type(value) is str else value


def _merge_end(message: dict[str, Any], event: dict[str, Any]) -> None:
    """What the end says of the whole: counts are totals, and what is left out stays as it was."""
    usage = {**(message.get("usage") or {}), **_given(event.get("usage") or {})}
    message.update(_given({name: value for name, value in event.items() if name not in ("type", "delta", "usage")}))
    message.update(_given(event.get("delta") or {}))
    message["usage"] = usage


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
