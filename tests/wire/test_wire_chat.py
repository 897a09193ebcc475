"""Chat Completions answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headway.types import Answer, Usage

from .chat_bytes import CALL, CHAT, READ, USAGE


def whole(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    return json.dumps({**head, "choices": [choice], "usage": USAGE, **fields}).encode()


def test_whole_answer() -> None:
    """A plain answer is complete, may be kept, and its usage is normalised."""
    answer = CHAT.read_answer(200, whole({"content": "billing", "refusal": None}))
    assert answer == Answer(complete=True, admissible=True, finish="stop", model="gpt-4o-mini-2024-07-18", usage=READ)


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
        ({"content": "Sorry.", "refusal": "I cannot"}, "stop", False),
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
    """Kept is what ended well, is not empty, refuses nothing and calls tools with valid JSON, in a 200."""
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


def test_finish_is_the_first_choices() -> None:
    """Of choices that may all be kept the first one's reason counts, not the last one's."""
    choices = [
        {"index": at, "message": {"content": "a"}, "finish_reason": reason}
        for at, reason in enumerate(("tool_calls", "stop"))
    ]
    answer = CHAT.read_answer(200, json.dumps({"choices": choices}).encode())
    assert (answer.admissible, answer.finish) == (True, "tool_calls")


def test_odd_usage_does_not_hide_the_answer() -> None:
    """Usage in a shape of its own reads as far as it can be read."""
    answer = CHAT.read_answer(200, whole({"content": "x"}, usage={"prompt_tokens": 3, "prompt_tokens_details": []}))
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
    assert CHAT.text(whole({"content": [{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}]})) == "ab"
    assert CHAT.text(whole({"content": None})) == ""
    assert CHAT.text(b'{"choices":[]}') == CHAT.text(b"{") == ""
