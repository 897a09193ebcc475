"""The reader of Anthropic's Messages format, which other hosts of its models and some gateways speak too.

Source: Anthropic API reference, "Create a Message"; "Streaming messages"; FACTS section 5.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Answer, RequestView
from headway.wire.anthropic_messages_body import ADMISSIBLE, blocks_ok, decode_body, usage_of
from headway.wire.anthropic_messages_merge import merge
from headway.wire.anthropic_messages_request import read_prompt, strip_markers, tool_of_the_server
from headway.wire.anthropic_messages_stream import MessagesStream
from headway.wire.anthropic_messages_synthesize import message_events
from headway.wire.base import StreamReader
from headway.wire.decoding import count_or_none
from headway.wire.json_reader import JsonReader
from headway.wire.provider_errors import error_of

__all__ = ["AnthropicMessages"]

_STATE: Final = ("container", "mcp_servers", "thread", "diagnostics", "fallback_credit_token")
"""Fields that tie a request to what the provider keeps, or to servers elsewhere."""


class _Request(msgspec.Struct):
    model: Any = ""
    stream: Any = False
    max_tokens: Any = None
    system: Any = None
    messages: Any = None
    tools: msgspec.Raw = msgspec.Raw()
    container: Any = None
    mcp_servers: Any = None
    thread: Any = None
    diagnostics: Any = None
    fallback_credit_token: Any = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode


class AnthropicMessages(JsonReader):
    """Implements `wire.base.Reader` for ``POST .../v1/messages``. `finish` is the stop reason."""

    format = "anthropic_messages"
    bound_fields = ("max_tokens",)

    def _view(self, body: bytes) -> RequestView:
        request = _decode_request(body)
        input_tokens, why_not = read_prompt(request.system, request.messages, len(bytes(request.tools)))
        state = next((name for name in _STATE if getattr(request, name)), "")
        why_not = why_not or state or tool_of_the_server(request.tools)
        stream = request.stream is True
        return RequestView(
            format=self.format,
            model=request.model if type(request.model) is str else "",
            stream=stream,
            input_tokens=input_tokens,
            output_tokens_max=count_or_none(request.max_tokens),
            reusable=not why_not,
            why_not_reusable=why_not,
            wants_usage=stream,  # message_start and message_delta always carry it
        )

    def _judge(self, body: bytes, may_be_kept: bool) -> Answer:
        answer = decode_body(body)
        if answer.error is not None or answer.type == "error":
            return Answer(complete=True, error=error_of(200, answer.error or {}))
        finish = answer.stop_reason if type(answer.stop_reason) is str else ""
        return Answer(
            complete=True,
            admissible=may_be_kept and finish in ADMISSIBLE and blocks_ok(answer.content or []),
            finish=finish,
            model=answer.model if type(answer.model) is str else "",
            usage=usage_of(answer.usage),
        )

    def open_stream(self) -> StreamReader:
        """See `Reader.open_stream`."""
        return MessagesStream()

    def _text(self, body: bytes) -> str:
        """The text blocks, joined; thinking is none of it."""
        blocks = decode_body(body).content or []
        return "".join([block.text for block in blocks if block.type == "text" and type(block.text) is str])

    def aggregate(self, sse: bytes) -> bytes | None:
        """See `Reader.aggregate`: the deltas merged into a ``message``."""
        return merge(sse)

    def synthesize(self, body: bytes, *, usage: bool = False) -> list[bytes] | None:
        """See `Reader.synthesize`. Usage is always in these streams."""
        return message_events(body)

    def _strip_markers(self, tree: dict[str, Any]) -> None:
        strip_markers(tree)
