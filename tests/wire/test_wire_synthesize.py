"""A stream made of a whole answer amounts to that answer again, and is what the official SDK takes for a stream."""

from __future__ import annotations

import msgspec
import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from headway.wire import reader_for
from headway.wire.sse import data_of

CHAT = reader_for("/v1/chat/completions")
RESPONSES = reader_for("/v1/responses")
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(*messages: dict, finish: str = "stop", **more) -> dict:
    choices = [
        {"index": n, "message": {"role": "assistant", "refusal": None, **message}, "finish_reason": finish, "logprobs": None}
        for n, message in enumerate(messages)
    ]  # fmt: skip
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": USAGE,
        **more,
    }


MESSAGES = [
    ({"content": "Hello ä\n"},),
    ({"content": "one"}, {"content": "two"}),
    ({"content": None, "tool_calls": [CALL, CALL | {"id": "call_2"}]},),
    ({"reasoning_content": "Let me think.", "content": "Four."},),
    ({"content": "Look:", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},),
]


@pytest.mark.parametrize("messages", MESSAGES)
def test_a_completion_becomes_chunks_and_again_itself(messages):
    """Every field comes back: thinking, tool calls, several choices, what nobody here knows of."""
    whole = completion(*messages, system_fingerprint="fp", field_of_tomorrow={"a": [1]})
    events = CHAT.synthesize(msgspec.json.encode(whole), usage=True)
    assert msgspec.json.decode(CHAT.aggregate(b"".join(events))) == whole
    assert events[-1] == b"data: [DONE]\n\n"
    for event in events[:-1]:
        ChatCompletionChunk.model_validate_json(data_of(event))
    reader = CHAT.open_stream()
    for event in events:
        reader.feed(event)
    assert reader.answer().admissible
    first = msgspec.json.decode(data_of(events[0]))["choices"][0]["delta"]
    assert first["role"] == "assistant"


def test_usage_comes_only_where_it_was_asked_for():
    """As with `stream_options.include_usage`."""
    body = msgspec.json.encode(completion({"content": "x"}))
    assert b'"usage"' not in b"".join(CHAT.synthesize(body))
    assert msgspec.json.decode(data_of(CHAT.synthesize(body, usage=True)[-2]))["usage"] == USAGE


def response(*output: dict, **more) -> bytes:
    whole = {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "output": list(output),
    }
    whole |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None}
    return msgspec.json.encode(whole | more)


TEXT = {"type": "output_text", "text": "Hello ä", "annotations": [], "logprobs": []}
CITED = TEXT | {"annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}]}
MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "status": "completed"}
ITEMS = [
    (MESSAGE | {"content": [TEXT]},),
    (MESSAGE | {"content": [CITED, {"type": "refusal", "refusal": "no"}]},),
    ({"id": "f1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},),
    (
        {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Thought."}]},
        MESSAGE | {"content": [TEXT]},
    ),
    ({"id": "ct", "type": "custom_tool_call", "call_id": "c", "name": "n", "input": "free"}, MESSAGE | {"content": []}),
    ({"id": "x", "type": "item_of_tomorrow", "data": 1},),
]


@pytest.mark.parametrize("output", ITEMS)
def test_a_response_becomes_events_and_again_its_very_bytes(output):
    """`response.completed` holds the stored bytes; events are numbered, and known ones are of the SDK's types."""
    body = response(*output)
    events = RESPONSES.synthesize(body)
    assert RESPONSES.aggregate(b"".join(events)) == body
    pretty = msgspec.json.format(body, indent=2)  # as the provider writes it: an event's data must be one line
    assert RESPONSES.synthesize(pretty) == events
    decoded = [msgspec.json.decode(data_of(event)) for event in events]
    assert [event["sequence_number"] for event in decoded] == list(range(len(events)))
    assert [decoded[0]["type"], decoded[-1]["type"]] == ["response.created", "response.completed"]
    assert all(
        event.startswith(f"event: {fields['type']}\n".encode()) for event, fields in zip(events, decoded, strict=True)
    )
    if output[0]["type"] != "item_of_tomorrow":
        adapter = TypeAdapter(ResponseStreamEvent)
        for fields in decoded:
            adapter.validate_python(fields)
    texts = "".join(fields["delta"] for fields in decoded if fields["type"] == "response.output_text.delta")
    assert texts == RESPONSES.text(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"null", b'{"choices": 1}', b'{"choices": []}', b'{"choices": [{"message": null}]}',
        msgspec.json.encode(completion({"content": None, "audio": {"id": "a"}})),
        response(status="incomplete"), response(MESSAGE | {"content": [{"type": "odd"}]}), response({"a": 1}),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_not(body):
    """None, never an exception: the stream is then fetched."""
    assert CHAT.synthesize(body) is None
    assert RESPONSES.synthesize(body) is None


def test_formats_that_declare_nothing_have_no_stream():
    """Embeddings are never streamed."""
    assert reader_for("/v1/embeddings").synthesize(b"{}") is None
