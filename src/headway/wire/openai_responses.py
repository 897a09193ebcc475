"""The reader of OpenAI's Responses format.

Source: OpenAI API reference, "Create a model response" and "Streaming events"; FACTS section 5.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Answer, RequestView
from headway.wire.base import EventKind, StreamReader
from headway.wire.decoding import UNREADABLE, count_or_none
from headway.wire.json_reader import JsonReader, judged
from headway.wire.openai_answer import arguments_ok, has_text, usage_of
from headway.wire.openai_request import read_prompt, strip_markers, tool_of_the_server
from headway.wire.provider_errors import error_of, read_error
from headway.wire.sse import data_of, datas_of
from headway.wire.synthesize import responses_events

__all__ = ["OpenAIResponses"]

_KINDS: Final[dict[str, EventKind]] = {
    "error": "error",
    "response.completed": "terminal",
    "response.custom_tool_call_input.delta": "content",
    "response.failed": "error",
    "response.function_call_arguments.delta": "content",
    "response.incomplete": "terminal",
    "response.output_text.delta": "content",
    "response.reasoning.delta": "reasoning",
    "response.reasoning_summary.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.refusal.delta": "content",
}
# by the event's first line, so that nearly all events need no decoding
_KINDS_BY_LINE: Final[dict[bytes, EventKind]] = {b"event: " + name.encode(): kind for name, kind in _KINDS.items()}


class _Request(msgspec.Struct):
    model: Any = ""
    stream: Any = False
    input: Any = None
    instructions: Any = None
    tools: msgspec.Raw = msgspec.Raw()
    max_output_tokens: Any = None
    store: Any = None
    background: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None


class _Part(msgspec.Struct):
    type: Any = None
    text: Any = None


class _Item(msgspec.Struct):
    type: Any = None
    content: list[_Part] | None = None
    arguments: Any = None
    input: Any = None


class _Response(msgspec.Struct):
    model: Any = ""
    status: Any = ""
    output: list[_Item] | None = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct):
    type: Any = ""
    response: msgspec.Raw = msgspec.Raw()
    error: Any = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_response: Final = msgspec.json.Decoder(_Response).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode


class OpenAIResponses(JsonReader):
    """Implements `wire.base.Reader` for ``POST .../responses``. `finish` is the response's status."""

    format = "openai_responses"
    bound_fields = ("max_output_tokens",)

    def _view(self, body: bytes) -> RequestView:
        request = _decode_request(body)
        stream = request.stream is True
        instructions = request.instructions
        extra_chars = len(bytes(request.tools)) + (len(instructions) if type(instructions) is str else 0)
        input_tokens, why_not = read_prompt(request.input, extra_chars)
        why_not = why_not or _why_not_reusable(request)
        return RequestView(
            format=self.format,
            model=request.model if type(request.model) is str else "",
            stream=stream,
            input_tokens=input_tokens,
            output_tokens_max=count_or_none(request.max_output_tokens),
            reusable=not why_not,
            why_not_reusable=why_not,
            wants_usage=stream,  # response.completed always carries it
        )

    def _judge(self, body: bytes, may_be_kept: bool) -> Answer:
        return _judge(body, may_be_kept)

    def open_stream(self) -> StreamReader:
        """See `Reader.open_stream`."""
        return _ResponsesStream()

    def _text(self, body: bytes) -> str:
        """The ``output_text`` parts of all messages, joined."""
        items = _decode_response(body).output
        parts = [part for item in items or () if item.type == "message" for part in item.content or ()]
        return "".join([part.text for part in parts if part.type == "output_text" and type(part.text) is str])

    def aggregate(self, sse: bytes) -> bytes | None:
        """The response object of ``response.completed``, byte for byte; None if the stream has none."""
        for data in reversed(datas_of(sse)):
            try:
                read = _decode_event(data)
            except UNREADABLE:
                continue
            if read.type == "response.completed":
                return bytes(read.response) or None
        return None

    def synthesize(self, body: bytes, *, usage: bool = False) -> list[bytes] | None:
        """See `Reader.synthesize`."""
        return responses_events(body)

    def _strip_markers(self, tree: dict[str, Any]) -> None:
        strip_markers(tree)


def _why_not_reusable(request: _Request) -> str:
    if request.previous_response_id is not None:
        return "previous_response_id"
    if request.conversation is not None:
        return "conversation"
    if request.store is True:
        return "store"
    if request.background is True:
        return "background"
    if request.prompt is not None:
        return "stored prompt"
    return tool_of_the_server(request.tools)


def _judge(body: bytes, may_be_kept: bool) -> Answer:
    response = _decode_response(body)
    status = response.status if type(response.status) is str else ""
    failed = response.error is not None or status == "failed"
    return Answer(
        complete=True,
        admissible=may_be_kept and not failed and status == "completed" and _admissible(response.output or ()),
        finish=status,
        model=response.model if type(response.model) is str else "",
        usage=usage_of(response.usage),
        error=error_of(200, response.error or {}) if failed else None,
    )


def _admissible(items: list[_Item] | tuple[()]) -> bool:
    """No refusal, not empty, and what functions are called with is valid."""
    found = False
    for item in items:
        if item.type == "message":
            for part in item.content or ():
                if part.type == "refusal":
                    return False
                found = found or (part.type == "output_text" and has_text(part.text))
        elif item.type == "function_call":
            if not arguments_ok(item.arguments):
                return False
            found = True
        elif item.type == "custom_tool_call":
            if type(item.input) is not str:
                return False
            found = True
    return found


class _ResponsesStream:
    """Implements `wire.base.StreamReader`. The terminal event holds the whole response."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = Answer()

    def feed(self, event: bytes) -> EventKind:
        by_line: EventKind = "other"
        if event.startswith(b"event: "):
            by_line = _KINDS_BY_LINE.get(event[: event.find(b"\n")].rstrip(b"\r"), "other")
            if by_line not in ("terminal", "error"):
                return by_line
        data = data_of(event)
        if not data:
            return "other"
        try:
            read = _decode_event(data)
        except UNREADABLE:
            return "other"
        kind = _KINDS.get(read.type, "other") if type(read.type) is str and read.type else by_line
        if kind == "terminal":
            self._answer = judged(_judge, bytes(read.response), may_be_kept=True)
            return "terminal" if self._answer.complete else "other"
        if kind == "error" or read.error is not None:
            self._read_error(read, data)
            return "error"
        return kind

    def _read_error(self, read: _Event, data: bytes) -> None:
        if read.type == "response.failed":
            failed = judged(_judge, bytes(read.response), may_be_kept=False)
            error = failed.error or error_of(200, {})
            self._answer = msgspec.structs.replace(failed, complete=False, error=error)
        else:
            error = error_of(200, read.error) if read.error is not None else read_error(200, data)
            self._answer = msgspec.structs.replace(self._answer, complete=False, admissible=False, error=error)

    def answer(self) -> Answer:
        return self._answer
