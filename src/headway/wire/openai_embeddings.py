"""The reader of OpenAI's Embeddings format. What it answers is never streamed, and is kept when it is whole.

Source: OpenAI API reference, "Create embeddings". Some compatible providers count ``total_tokens`` alone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Answer, RequestView, Usage
from headway.wire.base import EventKind, StreamReader
from headway.wire.decoding import count_or_none
from headway.wire.json_reader import JsonReader
from headway.wire.provider_errors import error_of
from headway.wire.tokens import estimate_tokens

__all__ = ["OpenAIEmbeddings"]

_EMPTY: Final = (b"", b"null", b"[]", b'""')


class _Request(msgspec.Struct):
    model: Any = ""
    input: Any = None


class _Item(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw()  # numbers or base64, and many of them: never decoded


class _Body(msgspec.Struct):
    object: Any = None
    data: list[_Item] | None = None
    model: Any = ""
    usage: Any = None
    error: Any = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_body: Final = msgspec.json.Decoder(_Body).decode


class OpenAIEmbeddings(JsonReader):
    """Implements `wire.base.Reader` for ``POST .../embeddings``."""

    format = "openai_embeddings"

    def _view(self, body: bytes) -> RequestView:
        request = _decode_request(body)
        return RequestView(
            format=self.format,
            model=request.model if type(request.model) is str else "",
            input_tokens=_tokens(request.input),
            output_tokens_max=0,
            reusable=True,
        )

    def _judge(self, body: bytes, may_be_kept: bool) -> Answer:
        answer = _decode_body(body)
        if answer.error is not None or answer.object == "error":
            return Answer(complete=True, error=error_of(200, answer.error or {}))
        items = answer.data or []
        whole = bool(items) and all(bytes(item.embedding) not in _EMPTY for item in items)
        return Answer(
            complete=True,
            admissible=may_be_kept and whole,
            model=answer.model if type(answer.model) is str else "",
            usage=_usage_of(answer.usage),
        )

    def open_stream(self) -> StreamReader:
        """A follower that never sees an end, for there are no such streams."""
        return _NoStream()

    def _text(self, body: bytes) -> str:
        return ""


class _NoStream:
    """Implements `wire.base.StreamReader` for a format without streams."""

    def feed(self, event: bytes) -> EventKind:
        return "other"

    def answer(self) -> Answer:
        return Answer()


def _tokens(input_: Any) -> int:
    """Tokens of one text, several, one list of tokens, or several: tokens are counted, texts estimated."""
    tokens = chars = 0
    nodes = [input_]
    while nodes:
        node = nodes.pop()
        if type(node) is str:
            chars += len(node)
        elif type(node) is int:
            tokens += 1
        elif type(node) is list:
            if node and type(node[0]) is int:
                tokens += len(node)  # of one kind, or the provider refuses it: there may be 300,000
            else:
                nodes.extend(node)
    return tokens + estimate_tokens(chars)


def _usage_of(usage: Any) -> Usage | None:
    if type(usage) is not dict:
        return None
    tokens = count_or_none(usage.get("prompt_tokens"))
    return Usage(input_tokens=(count_or_none(usage.get("total_tokens")) or 0) if tokens is None else tokens)
