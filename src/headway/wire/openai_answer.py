"""What the two OpenAI formats share on the answer's side: usage, text, and valid tool arguments."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Usage
from headway.wire.decoding import UNREADABLE, count_or_none

__all__ = ["arguments_ok", "has_text", "text_of", "usage_of"]

_NONE: Final[dict[str, Any]] = {}
_decode: Final = msgspec.json.Decoder().decode


def usage_of(usage: Any) -> Usage | None:
    """Usage by either format's field names (``prompt_tokens``, ``input_tokens``); None if it is no object."""
    if type(usage) is not dict:
        return None
    chat = "prompt_tokens" in usage
    read = usage.get("prompt_tokens_details" if chat else "input_tokens_details")
    written = usage.get("completion_tokens_details" if chat else "output_tokens_details")
    read = read if type(read) is dict else _NONE
    written = written if type(written) is dict else _NONE
    return Usage(
        input_tokens=count_or_none(usage.get("prompt_tokens" if chat else "input_tokens")) or 0,
        cached_tokens=count_or_none(read.get("cached_tokens")) or 0,
        cache_write_tokens=count_or_none(read.get("cache_write_tokens")) or 0,
        output_tokens=count_or_none(usage.get("completion_tokens" if chat else "output_tokens")) or 0,
        reasoning_tokens=count_or_none(written.get("reasoning_tokens")) or 0,
    )


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
