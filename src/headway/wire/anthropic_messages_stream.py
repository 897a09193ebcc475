"""Follows one Messages stream."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from headway.types import Answer, ErrorView, Usage
from headway.wire.anthropic_messages_body import ADMISSIBLE, Block, Body, has_text, usage_of
from headway.wire.base import EventKind
from headway.wire.decoding import UNREADABLE
from headway.wire.provider_errors import error_of, read_error
from headway.wire.sse import data_of
from headway.wire.tokens import estimate_tokens

__all__ = ["MessagesStream"]

# told by their first line, so that they need no decoding
_QUIET: Final = (b"event: ping", b"event: content_block_stop")


class _Delta(msgspec.Struct):
    type: Any = None
    text: Any = None
    thinking: Any = None
    partial_json: Any = None
    stop_reason: Any = None


class _Event(msgspec.Struct):
    type: Any = ""
    index: Any = 0
    message: Body | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class MessagesStream:
    """Implements `wire.base.StreamReader`. Keeps only tools' inputs, to be valid JSON in the end."""

    __slots__ = (
        "_chars", "_done", "_error", "_finish", "_has_text", "_model", "_spoiled", "_tools", "_usage", "_usage_final",
    )  # fmt: skip

    def __init__(self) -> None:
        self._done = False
        self._spoiled = False  # something came that could not be read: hand it on, never keep it
        self._error: ErrorView | None = None
        self._model = ""
        self._finish = ""
        self._usage: dict[str, Any] = {}
        self._usage_final = False
        self._has_text = False
        self._chars = 0  # of text, thinking and tools' inputs so far
        self._tools: dict[int, list[str]] = {}

    def feed(self, event: bytes) -> EventKind:
        """See `StreamReader.feed`."""
        if event.startswith(_QUIET):
            return "other"
        data = data_of(event)
        if not data:
            return "other"
        try:
            read = _decode_event(data)
        except UNREADABLE as broken:
            self._spoiled = True
            return "content" if isinstance(broken, msgspec.ValidationError) else "other"
        kind = read.type
        if kind == "content_block_delta" and read.delta is not None:
            return self._read_delta(read.index, read.delta)
        if kind == "content_block_start" and read.content_block is not None:
            return self._read_start(read.index, read.content_block)
        if kind == "message_start" and read.message is not None:
            self._model = read.message.model if type(read.message.model) is str else ""
            self._add_usage(read.message.usage)
        elif kind == "message_delta":
            if read.delta is not None and type(read.delta.stop_reason) is str:
                self._finish = read.delta.stop_reason
            self._add_usage(read.usage)
            self._usage_final = self._usage_final or type(read.usage) is dict
        elif kind == "message_stop":
            self._done = True
            return "terminal"
        elif kind == "error" or read.error is not None:
            self._error = error_of(200, read.error) if read.error is not None else read_error(200, data)
            return "error"
        return "other"

    def _read_start(self, index: Any, block: Block) -> EventKind:
        if block.type == "text":
            return self._count(block.text)
        if block.type == "tool_use":
            self._tools[_at(index)] = []  # an input that came whole is replaced by its deltas, if there are any
            self._spoiled = self._spoiled or not bytes(block.input).startswith((b"{", b"null"))
            return "content"
        if block.type == "fallback" and type(block.to) is dict and type(block.to.get("model")) is str:
            self._model = block.to["model"]
        # thinking, or what the provider's own tools do: to be seen, but no answer yet
        return "reasoning" if type(block.type) is str else "other"

    def _read_delta(self, index: Any, delta: _Delta) -> EventKind:
        if delta.type == "text_delta":
            return self._count(delta.text)
        if delta.type == "input_json_delta":
            piece = delta.partial_json if type(delta.partial_json) is str else ""
            self._spoiled = self._spoiled or type(delta.partial_json) is not str
            self._chars += len(piece)
            pieces = self._tools.get(_at(index))
            if pieces is None:
                return "reasoning"
            pieces.append(piece)
            return "content"
        if delta.type in ("thinking_delta", "signature_delta"):
            self._chars += len(delta.thinking) if type(delta.thinking) is str else 0
            return "reasoning"
        return "other"  # citations of a text that has come

    def _count(self, text: Any) -> EventKind:
        if type(text) is not str or not text:
            return "other"
        self._chars += len(text)
        self._has_text = self._has_text or has_text(text)
        return "content"

    def _add_usage(self, usage: Any) -> None:
        """Counts are totals so far, and those left out stay as they were."""
        if type(usage) is dict:
            self._usage.update({name: value for name, value in usage.items() if value is not None})

    def answer(self) -> Answer:
        """See `StreamReader.answer`. Before the last counts have come, the output is estimated from what has."""
        return Answer(
            complete=self._done,
            admissible=self._done
            and self._error is None
            and not self._spoiled
            and self._finish in ADMISSIBLE
            and (self._has_text or bool(self._tools))
            and all(_is_object("".join(pieces)) for pieces in self._tools.values()),
            finish=self._finish,
            model=self._model,
            usage=self._used(),
            error=self._error,
        )

    def _used(self) -> Usage | None:
        usage = usage_of(self._usage) if self._usage else None
        if usage is None or self._usage_final:
            return usage
        if self._error is not None:
            return None  # it broke off by itself: what that cost, nobody says
        output_tokens = max(usage.output_tokens, estimate_tokens(self._chars))
        return replace(usage, output_tokens=output_tokens, estimated=True)


def _at(index: Any) -> int:
    return index if type(index) is int else 0


def _is_object(text: str) -> bool:
    """Whether a tool's joined input is a JSON object; one without arguments comes as no text at all."""
    try:
        return not text or _decode_object(text) is not None
    except UNREADABLE:
        return False
