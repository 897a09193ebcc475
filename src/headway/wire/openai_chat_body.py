"""Chat Completions answers as structs, of which one describes whole bodies and streamed chunks alike."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import ErrorView
from headway.wire.openai_answer import arguments_ok, has_text
from headway.wire.provider_errors import error_of, read_error

__all__ = [
    "ADMISSIBLE",
    "Body",
    "Choice",
    "Function",
    "Message",
    "ToolCall",
    "decode_body",
    "error_in",
    "message_ok",
]

ADMISSIBLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""The finish reasons of an answer that may be kept. Source: FACTS section 5."""


class Function(msgspec.Struct):
    """What a tool is called with, or a piece of it."""

    arguments: Any = None
    input: Any = None  # of a custom tool: free text


class ToolCall(msgspec.Struct):
    """A call of a tool, or a delta to one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    custom: Function | None = None


class Message(msgspec.Struct):
    """A message, or a stream's delta to one."""

    content: Any = None
    refusal: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class Choice(msgspec.Struct):
    """One of the answers asked for."""

    index: Any = 0
    message: Message | None = None
    delta: Message | None = None
    finish_reason: Any = None


class Body(msgspec.Struct):
    """A whole answer, or one chunk of a stream."""

    choices: list[Choice] | None = None
    model: Any = ""
    usage: Any = None
    error: Any = None
    object: Any = None


decode_body: Final = msgspec.json.Decoder(Body).decode


def message_ok(message: Message | None) -> bool:
    """No refusal, not empty, and what tools are called with is valid."""
    if message is None or message.refusal:
        return False
    calls = message.tool_calls or ()
    for call in calls:
        if call.custom is not None:
            if type(call.custom.input) is not str:
                return False
        elif call.function is None or not arguments_ok(call.function.arguments):
            return False
    legacy = message.function_call
    if legacy is not None and not arguments_ok(legacy.arguments):
        return False
    return bool(calls) or legacy is not None or has_text(message.content)


def error_in(body: Body, data: bytes) -> ErrorView:
    """The error of a body or chunk inside a 200 that is one, which its `error` or its `object` says."""
    return read_error(200, data) if body.error is None else error_of(200, body.error)
