"""Hashes of a prompt's blocks, for the analysis of shared prefixes.

Not part of `read_request`, for no decision needs them while a call is under way: the call log's writer asks
for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from headway.wire.decoding import UNREADABLE, has_markers
from headway.wire.openai_request import strip_markers

__all__ = [
    "BLOCKS_BODY_BYTES_MIN",
    "BLOCKS_MAX",
    "Prompt",
    "PromptBlocks",
    "block_hashes",
    "decode_items",
    "decode_prompt",
]

BLOCKS_MAX: Final = 64
BLOCKS_BODY_BYTES_MIN: Final = 1024
"""No provider caches a prefix of a smaller request (FACTS section 6: 512 tokens at the least)."""
_ABSENT: Final = (b"", b"null")


class PromptBlocks:
    """The block hashes of a body, made when they are iterated: by the log's writer, off the event loop."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[str]:
        return iter(block_hashes(self._body))


class Prompt(msgspec.Struct):
    """What of a request comes before its answer, as it was written."""

    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


decode_prompt: Final = msgspec.json.Decoder(Prompt).decode
decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def block_hashes(body: bytes) -> tuple[str, ...]:
    """A hash of 16 hex digits for each of the first 64 blocks: instructions, tools, then each message.

    Each hash stands for the whole prefix up to and with its block, so two requests share exactly the prefix
    whose last hashes are equal. Blocks are hashed as their client wrote them, cache breakpoints taken out.
    Unreadable bodies have none. Takes about 6 us for 1.2 KB.
    """
    try:
        if has_markers(body):
            body = msgspec.json.encode(strip_markers(msgspec.json.decode(body)))
        prompt = decode_prompt(body)
        turns = _turns(prompt.messages) + _turns(prompt.input)
    except UNREADABLE:
        return ()
    blocks = [prompt.system, prompt.instructions, prompt.tools, prompt.functions, *turns]
    running, hashes = blake2b(digest_size=8), []
    for block in [block for block in map(bytes, blocks) if block not in _ABSENT][:BLOCKS_MAX]:
        running.update(b"%d:" % len(block))  # the length keeps "ab" + "c" apart from "a" + "bc"
        running.update(block)
        hashes.append(running.hexdigest())
    return tuple(hashes)


def _turns(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return decode_items(raw) if bytes(raw).startswith(b"[") else [raw]
