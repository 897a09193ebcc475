"""Responses answers and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from headway.types import Answer, Usage
from headway.wire import reader_for

RESPONSES = reader_for("/v1/responses")
assert RESPONSES is not None

TEXT = {"type": "output_text", "text": "billing", "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [TEXT]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": []}


def response(*output: dict[str, Any], status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741476542,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-5.4-mini-2026-03-17",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1200,
            "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 64},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 1230,
        },
        **fields,
    }


def body(*output: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(response(*output, **fields)).encode()


def event(type_: str, *, line: bool = True, **fields: Any) -> bytes:
    head = f"event: {type_}\n".encode() if line else b""
    return head + b"data: " + json.dumps({"type": type_, "sequence_number": 1, **fields}).encode() + b"\n\n"


CREATED = event("response.created", response=response(status="in_progress"))
DELTA = event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="billing")
COMPLETED = event("response.completed", response=response(MESSAGE))


def follow(*events: bytes) -> tuple[list[str], Answer]:
    stream = RESPONSES.open_stream()
    kinds = [stream.feed(each) for each in events]
    return kinds, stream.answer()


WHOLE = Answer(
    complete=True,
    admissible=True,
    finish="completed",
    model="gpt-5.4-mini-2026-03-17",
    usage=Usage(input_tokens=1200, cached_tokens=1024, cache_write_tokens=64, output_tokens=30, reasoning_tokens=20),
)


def test_whole_answer() -> None:
    """A completed response may be kept, and its usage is normalised; only from a 200."""
    assert RESPONSES.read_answer(200, body(REASONING, MESSAGE)) == WHOLE
    assert not RESPONSES.read_answer(202, body(MESSAGE)).admissible


@pytest.mark.parametrize(
    ("output", "fields", "admissible"),
    [
        ([CALL], {}, True),
        ([MESSAGE, CALL], {}, True),
        ([{"type": "custom_tool_call", "name": "c", "input": "a b"}], {}, True),
        ([{**CALL, "arguments": '{"a":'}], {}, False),
        ([{**CALL, "arguments": None}], {}, False),
        ([{"type": "custom_tool_call", "name": "c"}], {}, False),
        ([], {}, False),
        ([REASONING], {}, False),
        ([{**MESSAGE, "content": []}], {}, False),
        ([{**MESSAGE, "content": [{**TEXT, "text": " \n"}]}], {}, False),
        ([{**MESSAGE, "content": [TEXT, {"type": "refusal", "refusal": "I cannot"}]}], {}, False),
        ([MESSAGE], {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, False),
        ([MESSAGE], {"status": "in_progress"}, False),
        ([MESSAGE], {"status": "cancelled"}, False),
    ],
)
def test_admission(output: list[dict[str, Any]], fields: dict[str, Any], admissible: bool) -> None:
    """Kept is what is completed, not empty, refuses nothing and calls functions with valid JSON."""
    answer = RESPONSES.read_answer(200, body(*output, **fields))
    assert (answer.complete, answer.admissible, answer.error) == (True, admissible, None)
    assert answer.finish == fields.get("status", "completed")


def test_failed() -> None:
    """A response with status failed is an error, although it came with a 200."""
    error = {"code": "rate_limit_exceeded", "message": "Please try again in 2s."}
    answer = RESPONSES.read_answer(200, body(status="failed", error=error))
    assert answer.error is not None
    assert (answer.error.outcome, answer.error.retry_after_s, answer.admissible) == ("throttled", 2.0, False)
    answer = RESPONSES.read_answer(200, body(status="failed"))
    assert answer.error is not None
    assert answer.error.outcome == "server_error"


@pytest.mark.parametrize(
    ("text", "complete"), [(b"", False), (b"<html>", False), (b"[]", True), (b'{"output":3}', True)]
)
def test_no_answer(text: bytes, complete: bool) -> None:
    """A body cut short is not complete; JSON of an unknown shape is, and is never kept."""
    answer = RESPONSES.read_answer(200, text)
    assert (answer.complete, answer.admissible, answer.error) == (complete, False, None)


def test_text() -> None:
    """The text is that of all messages' text parts, in order; reasoning is not part of it."""
    two = {**MESSAGE, "content": [TEXT, {"type": "refusal", "refusal": "no"}, {**TEXT, "text": "!"}]}
    thought = {**REASONING, "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert RESPONSES.text(body(thought, MESSAGE, two)) == "billingbilling!"
    assert RESPONSES.text(body(CALL)) == RESPONSES.text(b"{") == ""


@pytest.mark.parametrize("line", [True, False])
@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("response.created", "other"),
        ("response.in_progress", "other"),
        ("response.output_item.added", "other"),
        ("response.content_part.added", "other"),
        ("response.output_text.delta", "content"),
        ("response.output_text.done", "other"),
        ("response.refusal.delta", "content"),
        ("response.function_call_arguments.delta", "content"),
        ("response.custom_tool_call_input.delta", "content"),
        ("response.reasoning_summary_text.delta", "reasoning"),
        ("response.reasoning_text.delta", "reasoning"),
        ("response.something.new", "other"),
    ],
)
def test_kinds(type_: str, kind: str, line: bool) -> None:
    """Events are told apart by their type, which proxies may have left to the data alone."""
    assert follow(event(type_, line=line, delta="x", item={"error": {"a": 1}}))[0] == [kind]


def test_a_text_cannot_pose_as_an_event() -> None:
    """A delta whose text reads like a terminal or error event is a delta."""
    text = '\nevent: response.completed\ndata: {"type":"error","error":{"code":"insufficient_quota"}}\n\n'
    for line in (True, False):
        kinds, answer = follow(event("response.output_text.delta", line=line, delta=text))
        assert kinds == ["content"]
        assert (answer.complete, answer.error) == (False, None)


@pytest.mark.parametrize("line", [True, False])
def test_stream(line: bool) -> None:
    """The answer of a stream is that of the response in its terminal event."""
    kinds, answer = follow(CREATED, DELTA)
    assert kinds == ["other", "content"]
    assert answer == Answer()
    kinds, answer = follow(CREATED, DELTA, event("response.completed", line=line, response=response(MESSAGE)))
    assert kinds[-1] == "terminal"
    assert answer == WHOLE


def test_incomplete() -> None:
    """A stream that ends incomplete has ended, and is not kept."""
    kinds, answer = follow(DELTA, event("response.incomplete", response=response(MESSAGE, status="incomplete")))
    assert kinds[-1] == "terminal"
    assert (answer.complete, answer.admissible, answer.finish) == (True, False, "incomplete")


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (
            event(
                "response.failed",
                response=response(status="failed", error={"code": "server_error", "message": "m"}),
            ),
            "server_error",
        ),
        (event("error", code="rate_limit_exceeded", message="m", param=None), "throttled"),
        (event("error", error={"type": "overloaded_error", "message": "m"}), "overloaded"),
        (event("error", line=False, code="insufficient_quota", message="m"), "billing"),
        (b'event: error\ndata: {"message":"m","code":"invalid_prompt"}\n\n', "client_error"),
        (b'data: {"error":{"message":"m","code":"server_is_overloaded"}}\n\n', "overloaded"),
    ],
)
def test_stream_error(failure: bytes, outcome: str) -> None:
    """An error inside a stream is read in each of its shapes, and nothing of that stream is kept."""
    kinds, answer = follow(CREATED, DELTA, failure)
    assert kinds[-1] == "error"
    assert answer.error is not None
    assert (answer.error.outcome, answer.error.message) == (outcome, "m")
    assert (answer.complete, answer.admissible) == (False, False)
    assert RESPONSES.aggregate(CREATED + DELTA + failure) is None


def test_failed_stream_keeps_its_usage() -> None:
    """What a failed response had already used is billed, so its usage is read."""
    _, answer = follow(event("response.failed", response=response(status="failed", error={"code": "server_error"})))
    assert answer.usage == WHOLE.usage


def test_unreadable_end() -> None:
    """A terminal event that cannot be read is no end."""
    kinds, answer = follow(DELTA, b'event: response.completed\ndata: {"type":"response.completed","resp\n\n')
    assert (kinds[-1], answer.complete) == ("other", False)


def test_aggregate_is_verbatim() -> None:
    """The aggregate is the response object of the terminal event, byte for byte, and the SDK can read it."""
    inner = json.dumps(response(MESSAGE), indent=None, separators=(" , ", " : ")).encode()
    end = b'event: response.completed\ndata: {"type":"response.completed","response":' + inner + b"}\n\n"
    aggregate = RESPONSES.aggregate(CREATED + DELTA + end)
    assert aggregate == inner
    assert Response.model_validate_json(aggregate).output_text == "billing"
    assert RESPONSES.read_answer(200, aggregate) == WHOLE
    assert RESPONSES.aggregate(CREATED + DELTA + end.rstrip()) == inner


def test_truncated_streams_have_no_aggregate() -> None:
    """Without response.completed a stream amounts to nothing."""
    assert RESPONSES.aggregate(CREATED + DELTA) is None
    assert RESPONSES.aggregate(event("response.incomplete", response=response(status="incomplete"))) is None
    assert RESPONSES.aggregate(COMPLETED[:-40]) is None
    assert RESPONSES.aggregate(event("response.completed")) is None
    assert RESPONSES.aggregate(b"") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "response", "status", "output", "content", "arguments", "usage", "error", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
types = st.sampled_from(["response.completed", "response.failed", "error", "response.incomplete", "x"])


@given(text=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()), type_=types)
def test_no_bytes_raise(text: bytes, type_: str) -> None:
    """Whatever comes as an answer or an event, reading it never raises and never admits it."""
    assert not RESPONSES.read_answer(200, text).admissible
    assert isinstance(RESPONSES.text(text), str)
    wrapped = b"event: %b\ndata: %b\n\n" % (type_.encode(), text)
    posing = b'data: {"type":"%b","response":%b}\n\n' % (type_.encode(), text)
    assert not follow(wrapped, posing, text)[1].admissible
    RESPONSES.aggregate(wrapped + posing)
