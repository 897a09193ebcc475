"""Chat Completions streams, merged into one answer."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from headway.wire.sse import EventSplitter
from tests.wire.chat_bytes import CALL, CHAT, DONE, ROLE, USAGE, chunk, follow, tool_stream


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
        chunk({"refusal": "nnot", "mood": "sad"}, index=1),
        chunk({"refusal": None, "reasoning_content": None, "mood": None}, "stop", index=1),
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
    calls = [{"id": str(at), "type": "function", "function": {"name": "f", "arguments": "{}"}} for at in range(2)]
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
