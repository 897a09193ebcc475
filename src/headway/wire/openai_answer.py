"""What the two OpenAI formats share on the answer's side: usage, text, and valid tool arguments."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Usage
from headway.wire.decoding import UNREADABLE

__all__ = ["arguments_ok", "has_text", "text_of", "usage_of"]

_decode: Final = msgspec.json.Decoder().decode


def usage_of(usage: Any) -> Usage | None:
    """Usage by either format's field names (``prompt_tokens``, ``input_tokens``); None if it is no object."""
    if type(usage) is not dict:
        return None
    if "prompt_tokens" in usage:
        read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
        inputs, outputs = usage["prompt_tokens"], usage.get("completion_tokens")
    else:
        read, written = usage.get("input_tokens_details"), usage.get("output_tokens_details")
        inputs, outputs = usage.get("input_tokens"), usage.get("output_tokens")
    cached = cache_write = reasoning = 0
    if type(read) is dict:
        cached, cache_write = _count(read.get("cached_tokens")), _count(read.get("cache_write_tokens"))
    if type(written) is dict:
        reasoning = _count(written.get("reasoning_tokens"))
    return Usage(
        input_tokens=_count(inputs),
        cached_tokens=cached,
        cache_write_tokens=cache_write,
        output_tokens=_count(outputs),
        reasoning_tokens=reasoning,
    )


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def arguments_ok(arguments: Any) -> bool:
    """Whether a tool call's arguments are a string of valid JSON."""
    if type(arguments) is not str:
        return False
    try:
        _decode(arguments)
    except UNREADABLE:
        return False
    return True


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts of which the text ones count."""
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    parts = [part.get("text") for part in content if type(part) is dict]
    return "".join([part for part in parts if type(part) is str])


def has_text(content: Any) -> bool:
    """Whether there is more than white space."""
    text = content if type(content) is str else text_of(content)
    return bool(text) and not text.isspace()
