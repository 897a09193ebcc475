"""Messages streams: what each event is, what the whole amounts to, and that the SDK sees the same."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from headway.types import Answer, Usage
from headway.wire import reader_for
from headway.wire.sse import EventSplitter
from tests.wire.anthropic_bytes import (
    MESSAGES,
    PING,
    READ,
    START,
    STOP,
    TEXT,
    TEXT_BLOCK,
    THINKING,
    THINKING_BLOCK,
    TOOL,
    block,
    delta,
    end,
    event,
    follow,
    message,
    tool_block,
)
from tests.wire.test_wire_anthropic import json_values

WHOLE = Answer(complete=True, admissible=True, finish="end_turn", model="claude-sonnet-4-5-20250929", usage=READ)
PLAIN = [START, PING, *TEXT_BLOCK, *end()]
CITATION = {
    "type": "web_search_result_location",
    "cited_text": "Oslo",
    "encrypted_index": "E==",
    "title": "t",
    "url": "https://x",
}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {}}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_01",
    "content": [
        {"type": "web_search_result", "title": "t", "url": "https://x", "encrypted_content": "E", "page_age": None}
    ],
}
SEARCHED = [
    START,
    *block(
        0,
        SEARCH,
        delta(0, "input_json_delta", partial_json='{"query":'),
        delta(0, "input_json_delta", partial_json='"Oslo"}'),
    ),
    *block(1, FOUND),
    *block(
        2,
        {"type": "text", "text": "", "citations": []},
        delta(2, "citations_delta", citation=CITATION),
        delta(2, "text_delta", text="Oslo is a city."),
    ),
    *end(input_tokens=20, server_tool_use={"web_search_requests": 1, "web_fetch_requests": 0}),
]
TOOLS = [START, *TEXT_BLOCK, *tool_block(1, "", '{"ci', 'ty":"Oslo"}'), *tool_block(2, ""), *end("tool_use")]
THOUGHT = [START, *THINKING_BLOCK, *block(1, {"type": "redacted_thinking", "data": "Eq"}),
           *block(2, {"type": "text", "text": ""}, delta(2, "text_delta", text="billing")), *end()]  # fmt: skip


def test_kinds() -> None:
    """Pings and bookkeeping are neither content nor end; thinking comes before content."""
    kinds, answer = follow(*PLAIN)
    assert kinds == ["other", "other", "other", "content", "content", "other", "other", "terminal"]
    assert answer == WHOLE
    kinds, answer = follow(*THOUGHT)
    assert kinds[1:6] == ["reasoning"] * 4 + ["other"]
    assert kinds[6:] == ["reasoning", "other", "other", "content", "other", "other", "terminal"]
    assert answer == WHOLE
    kinds, answer = follow(*TOOLS)
    assert kinds[5:9] == ["content"] * 4
    assert (answer.admissible, answer.finish) == (True, "tool_use")
    kinds, _ = follow(*SEARCHED)
    assert kinds[1:7] == ["reasoning", "reasoning", "reasoning", "other", "reasoning", "other"]


def test_events_without_their_line() -> None:
    """The data's own type counts, for proxies may drop the line."""
    events = [piece.partition(b"\n")[2] for piece in PLAIN]
    assert follow(*events) == follow(*PLAIN)


def test_usage_is_the_last_word() -> None:
    """Counts are totals so far: what message_delta says replaces what message_start said, and the rest stands."""
    _, answer = follow(*SEARCHED)
    assert answer.usage == Usage(
        input_tokens=20 + 10_240 + 2048, cached_tokens=10_240, cache_write_tokens=2048, output_tokens=503,
        reasoning_tokens=100,
    )  # fmt: skip


def test_a_stream_cut_short_has_its_input_and_an_estimate() -> None:
    """Before the last counts have come, the input is known and the output is estimated from what came."""
    _, answer = follow(START, *block(0, {"type": "text", "text": ""}, delta(0, "text_delta", text="x" * 400)))
    assert answer.usage == Usage(
        input_tokens=12_300, cached_tokens=10_240, cache_write_tokens=2048, output_tokens=100, estimated=True
    )
    assert (answer.complete, answer.admissible) == (False, False)


@pytest.mark.parametrize(
    ("type_", "outcome"),
    [("overloaded_error", "overloaded"), ("api_error", "server_error"), ("rate_limit_error", "throttled")],
)
@pytest.mark.parametrize("line", [True, False])
def test_error_inside_a_stream(type_: str, outcome: str, line: bool) -> None:
    """An error event is one, wherever it comes; nothing of that stream is kept or aggregated."""
    failure = event("error", line=line, error={"type": type_, "message": "m"}, request_id="req_1")
    for before in ([], [START], [START, *TEXT_BLOCK]):
        kinds, answer = follow(*before, failure)
        assert kinds[-1] == "error"
        assert answer.error is not None
        assert (answer.error.outcome, answer.error.code) == (outcome, type_)
        assert (answer.complete, answer.admissible, answer.usage) == (False, False, None)
        assert MESSAGES.aggregate(b"".join([*before, failure, STOP])) is None


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([START, *TEXT_BLOCK, *end("max_tokens")], "cut"),
        ([START, *TEXT_BLOCK, *end("refusal")], "refused"),
        ([START, *TEXT_BLOCK, *end("pause_turn")], "paused"),
        ([START, *end()], "empty"),
        ([START, *THINKING_BLOCK, *end()], "thought only"),
        ([START, *tool_block(0, '{"city":'), *end("tool_use")], "half a tool call"),
        ([START, *tool_block(0, '"Oslo"'), *end("tool_use")], "no object"),
        ([START, *TEXT_BLOCK, b"event: x\ndata: {\n\n", *end()], "unreadable in between"),
        ([START, *TEXT_BLOCK, STOP], "no reason to stop"),
    ],
)
def test_what_is_not_kept(events: list[bytes], why: str) -> None:
    """Streams that ended, but not with an answer to keep."""
    kinds, answer = follow(*events)
    assert kinds[-1] == "terminal"
    assert (answer.complete, answer.admissible) == (True, False), why


def test_a_text_cannot_pose_as_an_event() -> None:
    """A delta whose text reads like an end or an error is a delta."""
    text = '\nevent: message_stop\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    kinds, answer = follow(START, delta(0, "text_delta", text=text))
    assert kinds == ["other", "content"]
    assert (answer.complete, answer.error) == (False, None)


def test_a_later_model_is_the_one_that_answered() -> None:
    """A fallback block names the model that goes on, and that is billed."""
    fallback = {"type": "fallback", "from": {"model": "claude-a"}, "to": {"model": "claude-b"}}
    events = [START, *block(0, fallback), *block(1, TEXT), *end()]
    assert follow(*events)[1].model == "claude-b"
    whole = json.loads(MESSAGES.aggregate(b"".join(events)) or b"")
    assert (whole["model"], whole["content"][0]) == ("claude-b", fallback)


def merged(events: list[bytes]) -> dict[str, Any]:
    whole = MESSAGES.aggregate(b"".join(events))
    assert whole is not None
    assert MESSAGES.read_answer(200, whole) == follow(*events)[1]
    return dict(json.loads(whole))


def test_aggregate_plain() -> None:
    """The aggregate is the message that the same answer would have been, unknown fields included."""
    assert merged(PLAIN) == message(TEXT)
    odd = [START, *block(0, {"type": "new_kind", "a": 1}, delta(0, "new_delta", b="x"), delta(0, "new_delta", b="y", c=[1])),
           *block(1, TEXT), *end()]  # fmt: skip
    assert merged(odd)["content"][0] == {"type": "new_kind", "a": 1, "b": "xy", "c": [1]}


def test_aggregate_keeps_all_kinds_of_blocks() -> None:
    """Thinking with its signature, tools with their input, searches with what was found, texts with citations."""
    assert merged(THOUGHT)["content"] == [THINKING, {"type": "redacted_thinking", "data": "Eq"}, TEXT]
    assert merged(TOOLS)["content"] == [TEXT, TOOL, {**TOOL, "input": {}}]
    searched = merged(SEARCHED)
    assert searched["content"] == [
        {**SEARCH, "input": {"query": "Oslo"}},
        FOUND,
        {"type": "text", "text": "Oslo is a city.", "citations": [CITATION]},
    ]
    assert searched["usage"]["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    assert searched["usage"]["cache_read_input_tokens"] == 10_240


def test_broken_streams_have_no_aggregate() -> None:
    """Without its end, its start, or with half a tool call, a stream amounts to nothing."""
    whole = b"".join(PLAIN)
    assert MESSAGES.aggregate(whole.rstrip()) is not None
    for broken in (b"", b"".join(PLAIN[:-1]), b"".join(PLAIN[1:]), whole[:-40], whole.replace(b'"index": 0', b"", 1)):
        assert MESSAGES.aggregate(broken) is None
    assert MESSAGES.aggregate(b"".join([START, *tool_block(0, '{"city":'), *end("tool_use")])) is None


@pytest.mark.parametrize("events", [PLAIN, THOUGHT, TOOLS, SEARCHED], ids=["plain", "thinking", "tools", "search"])
def test_a_message_can_be_streamed(events: list[bytes]) -> None:
    """The events made of a stored message are judged like it, amount to it again, and the SDK accumulates it."""
    whole = merged(events)
    made = MESSAGES.synthesize(json.dumps(whole).encode())
    assert made is not None
    kinds, answer = follow(*made)
    assert answer == follow(*events)[1]
    assert kinds[-1] == "terminal"
    assert merged(made) == whole
    theirs = asyncio.run(sdk_message(b"".join(made))).to_dict()
    assert theirs == asyncio.run(sdk_message(b"".join(events))).to_dict()


def test_what_is_no_message_cannot_be_streamed() -> None:
    """Errors, other shapes and broken bytes give no events."""
    no_usage = {name: value for name, value in message(TEXT).items() if name != "usage"}
    odd = [
        no_usage,
        message({"a": 1}),
        message({"type": "text"}),
        {"type": "error", "error": {}},
        [],
        {"type": "message"},
    ]
    for body in (b"", b"{", b"\xff", *(json.dumps(one).encode() for one in odd)):
        assert MESSAGES.synthesize(body) is None


async def sdk_message(sse: bytes) -> Message:
    """What the official client makes of a recorded stream."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=sse)

    http = anthropic.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(answer))
    async with anthropic.AsyncAnthropic(api_key="k", base_url="http://sim", http_client=http) as client:
        asked: Any = [{"role": "user", "content": "?"}]
        async with client.messages.stream(model="m", max_tokens=9, messages=asked) as stream:
            return await stream.get_final_message()


@pytest.mark.parametrize("events", [PLAIN, THOUGHT, TOOLS, SEARCHED], ids=["plain", "thinking", "tools", "search"])
def test_the_sdk_sees_the_same(events: list[bytes]) -> None:
    """The aggregate, read by the SDK, is the message that the SDK itself accumulates from the stream."""
    theirs = asyncio.run(sdk_message(b"".join(events))).to_dict()
    ours = Message.model_validate(merged(events)).to_dict()
    for whole in (ours, theirs):
        for block_ in whole["content"]:
            block_.pop("parsed_output", None)
    assert {name: value for name, value in theirs.items() if value is not None} == {
        name: value for name, value in ours.items() if value is not None
    }


def test_an_sdk_body_is_read() -> None:
    """What the SDK itself writes as a request is read, streamed and by way of its beta client."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(PLAIN))

    with anthropic.Anthropic(
        api_key="k",
        base_url="http://sim",
        http_client=anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(answer)),
    ) as client:
        tools: Any = [{"name": "f", "input_schema": {"type": "object"}}]
        with client.beta.messages.stream(
            model="claude-sonnet-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], tools=tools
        ) as stream:
            stream.until_done()
    view = MESSAGES.read_request(seen[0].content, ())
    assert reader_for(seen[0].url.raw_path.decode()) is MESSAGES
    assert (view.model, view.stream, view.output_tokens_max, view.reusable) == ("claude-sonnet-5", True, 9, True)


@given(cuts=st.lists(st.integers(0, 3000), max_size=8), events=st.sampled_from([PLAIN, THOUGHT, TOOLS, SEARCHED]))
def test_any_cut_reads_the_same(cuts: list[int], events: list[bytes]) -> None:
    """However the bytes are chunked, the answer is one."""
    whole, splitter, stream = b"".join(events), EventSplitter(1 << 20), MESSAGES.open_stream()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, stop in itertools.pairwise(places):
        for piece in splitter.feed(whole[start:stop]):
            stream.feed(piece)
    assert stream.answer() == follow(*events)[1]


types = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "error", "x"]
)


@given(text=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()), type_=types)
def test_no_event_raises(text: bytes, type_: str) -> None:
    """Whatever comes as an event, reading it never raises and never admits it."""
    wrapped = b"event: %b\ndata: %b\n\n" % (type_.encode(), text)
    posing = b'data: {"type":"%b","message":%b,"delta":%b,"content_block":%b,"usage":%b,"index":%b}\n\n' % (
        type_.encode(), text, text, text, text, text,
    )  # fmt: skip
    stream = MESSAGES.open_stream()
    for piece in (wrapped, posing, text):
        stream.feed(piece)
    assert not stream.answer().admissible
    MESSAGES.aggregate(START + wrapped + posing + STOP)


@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_wrong_byte_raises_nothing(place: int, byte: int) -> None:
    """A recorded stream with one byte changed anywhere is read or refused, and never raises."""
    whole = bytearray(b"".join(TOOLS))
    whole[place % len(whole)] = byte
    stream = MESSAGES.open_stream()
    for piece in bytes(whole).split(b"\n\n"):
        stream.feed(piece + b"\n\n")
    stream.answer()
    MESSAGES.aggregate(bytes(whole))
