"""Messages answers as structs, of which some describe whole bodies and streamed events alike."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Usage
from headway.wire.decoding import count_or_none

__all__ = ["ADMISSIBLE", "Block", "Body", "blocks_ok", "decode_body", "has_text", "usage_of"]

ADMISSIBLE: Final = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""The stop reasons of an answer that may be kept. Source: FACTS section 5; Anthropic, "Handling stop reasons"."""


class Block(msgspec.Struct):
    """A block of content, or the start of one."""

    type: Any = None
    text: Any = None
    input: msgspec.Raw = msgspec.Raw()
    to: Any = None  # of a fallback: the model that goes on


class Body(msgspec.Struct):
    """A whole message, an error, or the message that a stream starts with."""

    type: Any = None
    content: list[Block] | None = None
    model: Any = ""
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


decode_body: Final = msgspec.json.Decoder(Body).decode


def blocks_ok(blocks: list[Block]) -> bool:
    """Not empty, and what tools are called with is an object."""
    found = False
    for block in blocks:
        if block.type == "text":
            found = found or has_text(block.text)
        elif block.type == "tool_use":
            if not bytes(block.input).startswith(b"{"):
                return False
            found = True
    return found


def has_text(text: Any) -> bool:
    """Whether there is more than white space."""
    return type(text) is str and bool(text) and not text.isspace()


def usage_of(usage: Any) -> Usage | None:
    """Usage in our convention; None if it is no object.

    Their ``input_tokens`` leaves out what was read from and written to the cache; ours holds everything.
    """
    if type(usage) is not dict:
        return None
    read = count_or_none(usage.get("cache_read_input_tokens")) or 0
    written = count_or_none(usage.get("cache_creation_input_tokens")) or 0
    kinds, details = usage.get("cache_creation"), usage.get("output_tokens_details")
    return Usage(
        input_tokens=(count_or_none(usage.get("input_tokens")) or 0) + read + written,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=_hour(kinds, written),
        output_tokens=count_or_none(usage.get("output_tokens")) or 0,
        reasoning_tokens=(count_or_none(details.get("thinking_tokens")) or 0) if type(details) is dict else 0,
    )


def _hour(kinds: Any, written: int) -> int:
    """Of what was written, what is kept for an hour; the wire says so in an object of its own."""
    hour = count_or_none(kinds.get("ephemeral_1h_input_tokens")) if type(kinds) is dict else None
    return min(hour or 0, written)
