"""Chat Completions streams, followed event by event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import Answer
from tests.wire.chat_bytes import CHAT, DONE, READ, ROLE, USAGE, chunk, follow, tool_stream


def test_stream() -> None:
    """A stream's events are told apart, and its answer is complete at [DONE] and no sooner."""
    usage = chunk(None, usage=USAGE)
    events = [
        ROLE,
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "bil"}),
        b": ping\n\n",
        chunk({"content": "ling"}),
        chunk({}, "stop"),
        usage,
    ]
    kinds, answer = follow(*events)
    assert kinds == ["other", "reasoning", "content", "other", "content", "other", "usage"]
    assert (answer.complete, answer.admissible, answer.finish, answer.usage) == (False, False, "stop", READ)
    kinds, answer = follow(*events, DONE)
    assert kinds[-1] == "terminal"
    assert answer == Answer(complete=True, admissible=True, finish="stop", model="gpt-4o-mini-2024-07-18", usage=READ)


def test_streamed_tool_call() -> None:
    """Arguments that come in pieces are content, and must be valid JSON in the end."""
    kinds, answer = follow(*tool_stream())
    assert kinds == ["content"] * 5 + ["other", "terminal"]
    assert (answer.admissible, answer.finish) == (True, "tool_calls")
    assert not follow(*tool_stream('{"city":'))[1].admissible


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ([chunk({"content": "x"}), chunk({}, "length")], ["content", "other"]),
        ([chunk({"content": "x"}), chunk({}, "content_filter")], ["content", "other"]),
        ([chunk({"refusal": "I cannot"}), chunk({}, "stop")], ["content", "other"]),
        ([chunk({"content": "x"}), chunk({"refusal": "I cannot"}, "stop")], ["content", "content"]),
        ([chunk({"content": "x", "function_call": {"arguments": "{"}}, "stop")], ["content"]),
        ([ROLE, chunk({}, "stop")], ["other", "other"]),
        ([chunk({"content": " "}), chunk({}, "stop")], ["content", "other"]),
        ([chunk({"content": "x"})], ["content"]),
        (
            [chunk({"content": "x"}), b'data: {"choices":7}\n\n', chunk({}, "stop")],
            ["content", "content", "other"],
        ),
        ([chunk({"content": "x"}), b"data: {broken\n\n", chunk({}, "stop")], ["content", "other", "other"]),
        (
            [chunk({"content": "x"}, "stop"), chunk({"content": "y"}, "length", index=1)],
            ["content", "content"],
        ),
    ],
)
def test_streams_that_are_not_kept(events: list[bytes], kinds: list[str]) -> None:
    """Streams cut short, filtered, refused, empty or partly unreadable reach their caller, not the cache."""
    found, answer = follow(*events, DONE)
    assert found == [*kinds, "terminal"]
    assert (answer.complete, answer.admissible) == (True, False)


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (b'data: {"error":{"message":"m","type":"server_error","code":null}}\n\n', "server_error"),
        (b'event: error\ndata: {"error":{"message":"m","code":"server_is_overloaded"}}\n\n', "overloaded"),
        (b'data: {"object":"error","message":"m","code":429}\n\n', "throttled"),
        (
            b'data: {"error":"m","choices":[{"delta":{"content":""},"finish_reason":"error"}]}\n\n',
            "server_error",
        ),
    ],
)
def test_stream_error(event: bytes, outcome: str) -> None:
    """An error inside a stream is read wherever it comes, and nothing of that stream is kept."""
    kinds, answer = follow(chunk({"content": "x"}), chunk({}, "stop"), event, DONE)
    assert kinds[2] == "error"
    assert answer.error is not None
    assert (answer.error.outcome, answer.error.message, answer.admissible) == (outcome, "m", False)
    assert CHAT.aggregate(chunk({"content": "x"}, "stop") + event + DONE) is None


def test_usage_with_choices_is_not_the_extra_chunk() -> None:
    """Usage that rides on a chunk with content is read, and that chunk is content: it is not taken out."""
    kinds, answer = follow(chunk({"content": "x"}, "stop", usage=USAGE), DONE)
    assert kinds == ["content", "terminal"]
    assert answer.usage == READ


NAMES = ["choices", "delta", "message", "index", "content", "tool_calls", "usage", "error", "logprobs"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever comes as an answer or an event, reading it never raises and never admits it."""
    assert not CHAT.read_answer(200, body).admissible
    assert isinstance(CHAT.text(body), str)
    event = b"data: " + body + b"\n\n"
    assert not follow(event, body, DONE)[1].admissible
    CHAT.aggregate(event + DONE)
    CHAT.aggregate(body)
