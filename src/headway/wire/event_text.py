"""The text that one event of a stream adds to the answer, for whoever shows it while it comes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.sse import data_of

__all__ = ["event_text"]

_TEXT_DELTAS: Final = frozenset(("response.output_text.delta", "response.refusal.delta"))


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    index: Any = 0


class _Event(msgspec.Struct):
    type: Any = None
    delta: Any = None
    choices: list[_Choice] | None = None


_decode: Final = msgspec.json.Decoder(_Event).decode


def event_text(event: bytes) -> str:
    """The text in one whole SSE event of Chat Completions, Responses or Messages; "" for all other events.

    A refusal is text, too. Of several answers at once only the first one's is given.
    """
    try:
        read = _decode(data_of(event))
    except UNREADABLE:
        return ""
    if read.choices:
        delta = read.choices[0].delta
        text = (delta.content or delta.refusal) if delta is not None and read.choices[0].index in (0, None) else None
    elif read.type in _TEXT_DELTAS:
        text = read.delta
    elif read.type == "content_block_delta" and type(read.delta) is dict:
        text = read.delta.get("text")
    else:
        text = None
    return text if type(text) is str else ""
