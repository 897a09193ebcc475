"""Follows one Chat Completions stream."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.types import Answer, ErrorView, Usage
from headway.wire.base import EventKind
from headway.wire.decoding import UNREADABLE
from headway.wire.openai_answer import arguments_ok, has_text, usage_of
from headway.wire.openai_chat_body import (
    ADMISSIBLE,
    Choice,
    Function,
    Message,
    ToolCall,
    decode_body,
    error_in,
)
from headway.wire.sse import data_of

__all__ = ["ChatStream"]


class _StreamedChoice:
    """What has come of one choice: enough to judge it, not its text."""

    __slots__ = ("calls", "finish", "has_text", "legacy", "refused")

    def __init__(self) -> None:
        self.finish = ""
        self.has_text = False
        self.refused = False
        self.calls: dict[int, list[Any]] = {}
        self.legacy: list[Any] = []

    def add_call(self, call: ToolCall) -> None:
        index = call.index
        if type(index) is not int:  # some compatible providers leave it out and send whole calls
            index = len(self.calls) if call.id or not self.calls else len(self.calls) - 1
        pieces = self.calls.setdefault(index, [])
        if call.function is not None and call.function.arguments is not None:
            pieces.append(call.function.arguments)
        elif call.custom is not None:
            pieces.append(call.custom)  # free text: nothing to check

    def admissible(self) -> bool:
        if self.finish not in ADMISSIBLE or self.refused:
            return False
        for pieces in (*self.calls.values(), *([self.legacy] if self.legacy else ())):
            custom = any(type(piece) is Function for piece in pieces)
            if not custom and not (all(type(p) is str for p in pieces) and arguments_ok("".join(pieces))):
                return False
        return bool(self.calls) or bool(self.legacy) or self.has_text


class ChatStream:
    """Implements `wire.base.StreamReader`. Keeps only tool calls' arguments, to be valid JSON in the end."""

    __slots__ = ("_choices", "_done", "_error", "_model", "_spoiled", "_usage")

    def __init__(self) -> None:
        self._choices: dict[int, _StreamedChoice] = {}
        self._done = False
        self._spoiled = False  # something came that could not be read: hand it on, never keep it
        self._error: ErrorView | None = None
        self._model = ""
        self._usage: Usage | None = None

    def feed(self, event: bytes) -> EventKind:
        """See `StreamReader.feed`."""
        data = data_of(event)
        if not data:
            return "other"
        if data == b"[DONE]":
            self._done = True
            return "terminal"
        try:
            chunk = decode_body(data)
        except UNREADABLE as broken:
            self._spoiled = True
            return "content" if isinstance(broken, msgspec.ValidationError) else "other"
        if chunk.error is not None or chunk.object == "error":
            self._error = error_in(chunk, data)
            return "error"
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        if not self._model and type(chunk.model) is str:
            self._model = chunk.model
        if not chunk.choices:
            return "other" if chunk.usage is None else "usage"
        if len(chunk.choices) == 1:
            return self._read(chunk.choices[0])
        kind: EventKind = "other"
        for choice in chunk.choices:
            found = self._read(choice)
            if found != "other" and kind != "content":
                kind = found
        return kind

    def _read(self, choice: Choice) -> EventKind:
        index = choice.index if type(choice.index) is int else 0
        seen = self._choices.get(index)
        if seen is None:
            seen = self._choices[index] = _StreamedChoice()
        if type(choice.finish_reason) is str:
            seen.finish = choice.finish_reason
        delta = choice.delta
        if delta is None:
            return "other"
        if delta.content:
            seen.has_text = seen.has_text or has_text(delta.content)
            if delta.tool_calls is None and delta.refusal is None and delta.function_call is None:
                return "content"
        return self._read_rare(seen, delta)

    def _read_rare(self, seen: _StreamedChoice, delta: Message) -> EventKind:
        seen.refused = seen.refused or bool(delta.refusal)
        for call in delta.tool_calls or ():
            seen.add_call(call)
        if delta.function_call is not None:
            seen.legacy.append(delta.function_call.arguments or "")
        if delta.content or delta.refusal or delta.tool_calls or delta.function_call is not None:
            return "content"
        return "reasoning" if delta.reasoning_content or delta.reasoning else "other"

    def answer(self) -> Answer:
        """See `StreamReader.answer`."""
        ordered = [self._choices[index] for index in sorted(self._choices)]
        refused = next((choice for choice in ordered if not choice.admissible()), None)
        first = refused or (ordered[0] if ordered else None)
        return Answer(
            complete=self._done,
            admissible=self._done and bool(ordered) and refused is None and not self._spoiled and self._error is None,
            finish=first.finish if first else "",
            model=self._model,
            usage=self._usage,
            error=self._error,
        )
