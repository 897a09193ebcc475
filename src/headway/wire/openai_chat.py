"""The reader of OpenAI's Chat Completions format, which most compatible providers speak too.

Source: OpenAI API reference, "Create chat completion", "The chat completion object"; FACTS section 5.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Answer, Headers, RequestView
from headway.wire.base import StreamReader
from headway.wire.openai_answer import text_of, usage_of
from headway.wire.openai_chat_body import ADMISSIBLE, decode_body, error_in, message_ok
from headway.wire.openai_chat_merge import merge
from headway.wire.openai_chat_stream import ChatStream
from headway.wire.openai_errors import read_error
from headway.wire.openai_request import UNREADABLE, canonical, count_or_none, read_prompt, tool_of_the_server

__all__ = ["OpenAIChat"]

_FORMAT: Final = "openai_chat"


class _Request(msgspec.Struct):
    model: Any = ""
    stream: Any = False
    stream_options: Any = msgspec.UNSET
    messages: Any = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    max_completion_tokens: Any = None
    max_tokens: Any = None
    n: Any = None
    store: Any = None
    audio: Any = None
    web_search_options: Any = None
    search_parameters: Any = None


class _StreamRequest(msgspec.Struct):
    stream: Any = False
    stream_options: Any = msgspec.UNSET


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_stream_request: Final = msgspec.json.Decoder(_StreamRequest).decode


class OpenAIChat:
    """Implements `wire.base.Reader` for ``POST .../chat/completions``."""

    format = _FORMAT

    def read_request(self, body: bytes, headers: Headers) -> RequestView:
        """See `Reader.read_request`. Prefix hashes are `wire.blocks`' business, on demand."""
        try:
            request = _decode_request(body)
        except UNREADABLE:
            return RequestView(format=_FORMAT, why_not_reusable="unreadable body")
        options = request.stream_options
        stream = request.stream is True
        extra_chars = len(bytes(request.tools)) + len(bytes(request.functions))
        input_tokens, why_not = read_prompt(request.messages, extra_chars)
        model = request.model if type(request.model) is str else ""
        output_tokens_max = count_or_none(request.max_completion_tokens)
        return RequestView(
            format=_FORMAT,
            model=model,
            stream=stream,
            input_tokens=input_tokens,
            output_tokens_max=count_or_none(request.max_tokens) if output_tokens_max is None else output_tokens_max,
            reusable=not (why_not := why_not or _why_not_reusable(request, model)),
            why_not_reusable=why_not,
            wants_usage=stream and type(options) is dict and options.get("include_usage") is True,
            answers=max(1, count_or_none(request.n) or 1),
        )

    def canonical(self, body: bytes) -> bytes | None:
        """See `Reader.canonical`."""
        return canonical(body)

    def read_answer(self, status: int, body: bytes) -> Answer:
        """See `Reader.read_answer`. `finish` is the first choice's, or the first that may not be kept."""
        if status >= 300:
            return Answer(complete=True, error=read_error(status, body))
        try:
            answer = decode_body(body)
        except msgspec.ValidationError:
            return Answer(complete=True)  # JSON, of a shape we do not know: handed on, never kept
        except UNREADABLE:
            return Answer()
        if answer.error is not None or answer.object == "error":
            return Answer(complete=True, error=error_in(answer, body))
        finish, admissible = "", bool(answer.choices) and status == 200
        for choice in answer.choices or ():
            if admissible or not finish:
                finish = choice.finish_reason if type(choice.finish_reason) is str else ""
                admissible = admissible and finish in ADMISSIBLE and message_ok(choice.message)
        return Answer(
            complete=True,
            admissible=admissible,
            finish=finish,
            model=answer.model if type(answer.model) is str else "",
            usage=usage_of(answer.usage),
        )

    def open_stream(self) -> StreamReader:
        """See `Reader.open_stream`."""
        return ChatStream()

    def text(self, body: bytes) -> str:
        """The first choice's text; "" if there is none."""
        try:
            choices = decode_body(body).choices
        except UNREADABLE:
            return ""
        message = choices[0].message if choices else None
        return text_of(message.content) if message else ""

    def aggregate(self, sse: bytes) -> bytes | None:
        """See `Reader.aggregate`: the deltas merged into a ``chat.completion``."""
        return merge(sse)

    def ask_usage(self, body: bytes) -> bytes | None:
        """See `Reader.ask_usage`: ``stream_options`` goes before the closing brace, if there is none yet."""
        try:
            request = _decode_stream_request(body)
        except UNREADABLE:
            return None
        if request.stream is not True or request.stream_options is not msgspec.UNSET:
            return None
        brace = body.rindex(b"}")  # only white space follows it, or decoding had failed
        return body[:brace] + b',"stream_options":{"include_usage":true}' + body[brace:]


def _why_not_reusable(request: _Request, model: str) -> str:
    if request.store is True:
        return "store"
    if request.web_search_options is not None or request.search_parameters is not None or "-search-" in model:
        return "server-side search"
    if request.audio is not None:
        return "audio output"
    return tool_of_the_server(request.tools)
