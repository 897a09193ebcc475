"""Chat Completions answers and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from headway.types import Answer, Usage
from headway.wire import reader_for
from headway.wire.sse import EventSplitter

CHAT = reader_for("/v1/chat/completions")
assert CHAT is not None

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 30,
    "total_tokens": 1230,
    "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
}
READ = Usage(
    input_tokens=1200, cached_tokens=1024, cache_write_tokens=64, output_tokens=30, reasoning_tokens=20
)
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
}


def whole(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    return json.dumps({**head, "choices": [choice], "usage": USAGE, **fields}).encode()


def chunk(delta: dict[str, Any] | None, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    choices = (
        [] if delta is None else [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    )
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
    }
    return b"data: " + json.dumps({**head, "choices": choices, "usage": None, **fields}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ROLE = chunk({"role": "assistant", "content": "", "refusal": None})


def follow(*events: bytes) -> tuple[list[str], Answer]:
    stream = CHAT.open_stream()
    kinds = [stream.feed(event) for event in events]
    return kinds, stream.answer()


def test_whole_answer() -> None:
    """A plain answer is complete, may be kept, and its usage is normalised."""
    answer = CHAT.read_answer(200, whole({"content": "billing", "refusal": None}))
    assert answer == Answer(
        complete=True, admissible=True, finish="stop", model="gpt-4o-mini-2024-07-18", usage=READ
    )


@pytest.mark.parametrize(
    ("message", "finish", "admissible"),
    [
        ({"content": "x"}, "stop", True),
        ({"content": [{"type": "text", "text": "x"}]}, "stop", True),
        ({"content": "x"}, "length", False),
        ({"content": "x"}, "content_filter", False),
        ({"content": "x"}, "error", False),
        ({"content": "x"}, None, False),
        ({"content": ""}, "stop", False),
        ({"content": " \n"}, "stop", False),
        ({"content": None}, "stop", False),
        ({"content": None, "refusal": "I cannot"}, "stop", False),
        ({"content": None, "tool_calls": [CALL]}, "tool_calls", True),
        ({"content": None, "tool_calls": [CALL]}, "stop", True),
        ({"content": None, "tool_calls": []}, "tool_calls", False),
        (
            {"tool_calls": [CALL, {"id": "c", "function": {"name": "f", "arguments": '{"a":'}}]},
            "tool_calls",
            False,
        ),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}, "tool_calls", False),
        ({"tool_calls": [{"id": "c"}]}, "tool_calls", False),
        (
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "a b"}}]},
            "tool_calls",
            True,
        ),
        ({"function_call": {"name": "f", "arguments": "{}"}}, "function_call", True),
        ({"function_call": {"name": "f", "arguments": "{"}}, "function_call", False),
    ],
)
def test_admission(message: dict[str, Any], finish: str | None, admissible: bool) -> None:
    """Kept is what ended well, is not empty, refuses nothing and calls tools with valid JSON; only from a 200."""
    body = whole(message, finish)
    answer = CHAT.read_answer(200, body)
    assert (answer.complete, answer.admissible, answer.finish) == (True, admissible, finish or "")
    assert not CHAT.read_answer(201, body).admissible


def test_every_choice_counts() -> None:
    """Of several answers one that may not be kept forbids keeping all, and names the finish."""
    choices = [
        {"index": index, "message": {"content": "x"}, "finish_reason": finish}
        for index, finish in enumerate(["stop", "length", "stop"])
    ]
    answer = CHAT.read_answer(200, json.dumps({"choices": choices}).encode())
    assert (answer.admissible, answer.finish) == (False, "length")
    choices[1]["finish_reason"] = "stop"
    answer = CHAT.read_answer(200, json.dumps({"choices": choices}).encode())
    assert (answer.admissible, answer.finish) == (True, "stop")


@pytest.mark.parametrize(
    ("body", "complete"), [(b"", False), (b"<html>", False), (b'{"choices":[{"mess', False), (b"{}", True),
    (b"[]", True), (b'{"choices":3}', True)],
)  # fmt: skip
def test_no_answer(body: bytes, complete: bool) -> None:
    """A body cut short is not complete; JSON of an unknown shape is, and is never kept."""
    answer = CHAT.read_answer(200, body)
    assert (answer.complete, answer.admissible, answer.error) == (complete, False, None)


def test_odd_usage_does_not_hide_the_answer() -> None:
    """Usage in a shape of its own reads as far as it can be read."""
    answer = CHAT.read_answer(
        200, whole({"content": "x"}, usage={"prompt_tokens": 3, "prompt_tokens_details": []})
    )
    assert (answer.admissible, answer.usage) == (True, Usage(input_tokens=3))
    assert CHAT.read_answer(200, whole({"content": "x"}, usage=None)).usage is None


def test_error_inside_a_200() -> None:
    """An error with status 200 is an error."""
    for body in (b'{"error":{"code":502,"message":"m"}}', b'{"object":"error","message":"m","code":502}'):
        answer = CHAT.read_answer(200, body)
        assert answer.error is not None
        assert (answer.error.outcome, answer.error.message, answer.admissible) == ("server_error", "m", False)


def test_text() -> None:
    """The text is the first choice's content, in either shape; none gives the empty string."""
    assert CHAT.text(whole({"content": "billing"})) == "billing"
    assert (
        CHAT.text(whole({"content": [{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}]})) == "ab"
    )
    assert CHAT.text(whole({"content": None})) == ""
    assert CHAT.text(b'{"choices":[]}') == CHAT.text(b"{") == ""


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
    assert answer == Answer(
        complete=True, admissible=True, finish="stop", model="gpt-4o-mini-2024-07-18", usage=READ
    )


def tool_stream(arguments: str = '{"city":"Oslo"}') -> list[bytes]:
    first = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    pieces = [
        {"index": 0, "function": {"arguments": arguments[at : at + 4]}} for at in range(0, len(arguments), 4)
    ]
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": [first]},
        *({"tool_calls": [p]} for p in pieces),
    ]
    return [*map(chunk, deltas), chunk({}, "tool_calls"), DONE]


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


def test_aggregate_text() -> None:
    """A stream merges into the answer that it would have been: text, log-probabilities, usage, and so on."""
    logprob = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    pieces = []
    for piece in ("bil", "ling"):
        data = json.loads(chunk({"content": piece})[6:])
        data["choices"][0]["logprobs"] = {"content": [logprob], "refusal": None}
        pieces.append(b"data: " + json.dumps({**data, "service_tier": "default"}).encode() + b"\n\n")
    sse = b"".join(
        [
            ROLE,
            *pieces,
            chunk({}, "stop", system_fingerprint="fp_1", obfuscation="zz"),
            chunk(None, usage=USAGE),
            DONE,
        ]
    )
    body = CHAT.aggregate(sse)
    assert body is not None
    parsed = ChatCompletion.model_validate_json(body)
    assert (parsed.object, parsed.id, parsed.created, parsed.model) == (
        "chat.completion", "chatcmpl-1", 1, "gpt-4o-mini-2024-07-18",
    )  # fmt: skip
    assert (parsed.system_fingerprint, parsed.service_tier) == ("fp_1", "default")
    (choice,) = parsed.choices
    assert (choice.index, choice.finish_reason, choice.message.content) == (0, "stop", "billing")
    assert (choice.message.role, choice.message.refusal, choice.message.tool_calls) == (
        "assistant",
        None,
        None,
    )
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert len(choice.logprobs.content) == 2
    assert "obfuscation" not in json.loads(body)
    assert CHAT.text(body) == "billing"
    assert CHAT.read_answer(200, body) == follow(*EventSplitter(1 << 20).feed(sse))[1]


def test_aggregate_tool_calls() -> None:
    """Tool calls are merged by their index, arguments joined, names and ids taken once."""
    second = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events = tool_stream()
    body = CHAT.aggregate(b"".join([*events[:3], chunk({"tool_calls": [second]}), *events[3:]]))
    assert body is not None
    message = ChatCompletion.model_validate_json(body).choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    assert message.tool_calls[0].model_dump(exclude_none=True) == CALL
    assert message.tool_calls[1].id == "call_2"
    assert CHAT.read_answer(200, body).admissible


def test_aggregate_other_deltas() -> None:
    """The legacy call, refusals, reasoning, unknown fields and several choices are merged as well."""
    legacy = [
        chunk({"function_call": {"name": "f", "arguments": "{"}}),
        chunk({"function_call": {"arguments": "}"}}),
    ]
    sse = [
        *legacy,
        chunk({}, "function_call"),
        chunk({"reasoning_content": "h"}, index=1),
        chunk({"reasoning_content": "m", "annotations": [1]}, index=1),
        chunk({"refusal": "I ca", "annotations": [2]}, index=1),
        chunk({"refusal": "nnot", "mood": "sad"}, "stop", index=1),
        DONE,
    ]
    body = CHAT.aggregate(b"".join(sse))
    assert body is not None
    first, second = json.loads(body)["choices"]
    assert first["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    message = second["message"]
    assert (message["refusal"], message["reasoning_content"]) == ("I cannot", "hm")
    assert (message["annotations"], message["mood"]) == ([1, 2], "sad")


def test_calls_without_an_index() -> None:
    """A provider that leaves the index out sends whole calls: each id is one, merged or followed."""
    calls = [
        {"id": str(at), "type": "function", "function": {"name": "f", "arguments": "{}"}} for at in range(2)
    ]
    events = [chunk({"tool_calls": [call]}) for call in calls] + [chunk({}, "tool_calls"), DONE]
    body = CHAT.aggregate(b"".join(events))
    assert body is not None
    assert json.loads(body)["choices"][0]["message"]["tool_calls"] == calls
    assert follow(*events)[1].admissible


def test_truncated_streams_have_no_aggregate() -> None:
    """Without its terminal event, or without any choice, a stream amounts to nothing."""
    sse = ROLE + chunk({"content": "x"}) + chunk({}, "stop")
    assert CHAT.aggregate(sse) is None
    assert CHAT.aggregate(sse + DONE) is not None
    assert CHAT.aggregate(sse + DONE.rstrip()) is not None
    assert CHAT.aggregate(DONE) is None
    assert CHAT.aggregate(b"") is None
    assert CHAT.aggregate(b"data: {oops\n\n" + sse + DONE) is None


deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.sampled_from(["", " ", "a", "\u00e9\n"]) | st.none(),
        "refusal": st.sampled_from(["no", ""]) | st.none(),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(0, 1), "function": st.just({}) | st.fixed_dictionaries({"arguments":
                st.sampled_from(["{", "}", "1", ""])})}, optional={"id": st.just("c")},
            ),
            max_size=2,
        ),
        "function_call": st.sampled_from([{"name": "f"}, {"arguments": "{"}, {"arguments": "}"}]),
    },
)  # fmt: skip


@given(
    st.lists(
        st.tuples(deltas, st.sampled_from([None, None, "stop", "tool_calls", "length"]), st.integers(0, 1)),
        max_size=8,
    )
)
def test_stream_and_merge_agree(pieces: list[tuple[dict[str, Any], str | None, int]]) -> None:
    """Followed event by event, or merged and then read whole, a stream is judged alike."""
    events = [chunk(delta, finish, index) for delta, finish, index in pieces] + [DONE]
    followed = follow(*events)[1]
    body = CHAT.aggregate(b"".join(events))
    if body is None:
        assert not pieces
        assert not followed.admissible
        return
    merged = CHAT.read_answer(200, body)
    assert merged.admissible == followed.admissible
    if merged.admissible:
        assert merged.finish == followed.finish
        assert json.loads(body)["object"] == "chat.completion"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "index",
                    "content",
                    "tool_calls",
                    "usage",
                    "error",
                    "logprobs",
                ]
            ),
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
