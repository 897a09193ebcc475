"""The reader of OpenAI's Chat Completions format, which most compatible providers speak too.

Source: OpenAI API reference, "Create chat completion", "The chat completion object"; FACTS section 5.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Answer, RequestView
from headway.wire.base import StreamReader
from headway.wire.decoding import UNREADABLE, count_or_none
from headway.wire.json_reader import JsonReader
from headway.wire.openai_answer import text_of, usage_of
from headway.wire.openai_chat_body import ADMISSIBLE, decode_body, error_in, message_ok
from headway.wire.openai_chat_merge import merge
from headway.wire.openai_chat_stream import ChatStream
from headway.wire.openai_request import read_prompt, strip_markers, tool_of_the_server
from headway.wire.synthesize import chat_events

__all__ = ["OpenAIChat"]


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


class OpenAIChat(JsonReader):
    """Implements `wire.base.Reader` for ``POST .../chat/completions``.

    `Answer.finish` is the first choice's, or that of the first choice that may not be kept.
    """

    format = "openai_chat"
    bound_fields = ("max_completion_tokens", "max_tokens")

    def _view(self, body: bytes) -> RequestView:
        request = _decode_request(body)
        options = request.stream_options
        stream = request.stream is True
        extra_chars = len(bytes(request.tools)) + len(bytes(request.functions))
        input_tokens, why_not = read_prompt(request.messages, extra_chars)
        model = request.model if type(request.model) is str else ""
        output_tokens_max = count_or_none(request.max_completion_tokens)
        return RequestView(
            format=self.format,
            model=model,
            stream=stream,
            input_tokens=input_tokens,
            output_tokens_max=count_or_none(request.max_tokens) if output_tokens_max is None else output_tokens_max,
            reusable=not (why_not := why_not or _why_not_reusable(request, model)),
            why_not_reusable=why_not,
            wants_usage=stream and type(options) is dict and options.get("include_usage") is True,
            answers=max(1, count_or_none(request.n) or 1),
        )

    def _judge(self, body: bytes, may_be_kept: bool) -> Answer:
        answer = decode_body(body)
        if answer.error is not None or answer.object == "error":
            return Answer(complete=True, error=error_in(answer, body))
        finish, admissible = "", bool(answer.choices) and may_be_kept
        for choice in answer.choices or ():
            reason = choice.finish_reason if type(choice.finish_reason) is str else ""
            if reason not in ADMISSIBLE or not message_ok(choice.message):
                finish, admissible = reason, False
                break
            finish = finish or reason
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

    def _text(self, body: bytes) -> str:
        choices = decode_body(body).choices
        message = choices[0].message if choices else None
        return text_of(message.content) if message else ""

    def aggregate(self, sse: bytes) -> bytes | None:
        """See `Reader.aggregate`: the deltas merged into a ``chat.completion``."""
        return merge(sse)

    def synthesize(self, body: bytes, *, usage: bool = False) -> list[bytes] | None:
        """See `Reader.synthesize`."""
        return chat_events(body, usage=usage)

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

    def _strip_markers(self, tree: dict[str, Any]) -> None:
        strip_markers(tree)


def _why_not_reusable(request: _Request, model: str) -> str:
    if request.store is True:
        return "store"
    if request.web_search_options is not None or request.search_parameters is not None or "-search-" in model:
        return "server-side search"
    if request.audio is not None:
        return "audio output"
    return tool_of_the_server(request.tools)
