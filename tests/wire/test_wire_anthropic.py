"""Messages requests and answers: what decisions need of them, in our convention."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import Answer
from headway.wire import reader_for
from headway.wire.anthropic_messages_request import MEDIA_TOKENS
from tests.wire.anthropic_bytes import HELLO, MESSAGES, READ, TEXT, THINKING, TOOL, message, read, request, view

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 1000}}


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages?beta=true", "/anthropic/v1/messages", "/proxy/anthropic/v1/messages"]
)
def test_paths(path: str) -> None:
    """Messages are known by the end of their path, whoever serves them."""
    reader = reader_for(path)
    assert reader is not None
    assert reader.format == "anthropic_messages"


@pytest.mark.parametrize(
    "path",
    ["/v1/messages/batches", "/v1/messages/count_tokens", "/v1/threads/t_1/messages", "/v1/messages/batches/b/results"],
)
def test_other_paths(path: str) -> None:
    """Batches, token counts and another provider's threads are other formats."""
    assert reader_for(path) is None


def test_view() -> None:
    """Model, bound, stream and size are read as they stand; streams always carry usage."""
    seen = view(system="x" * 40, messages=[{"role": "user", "content": "y" * 40}], stream=True, max_tokens=1024)
    assert (seen.format, seen.model, seen.output_tokens_max) == ("anthropic_messages", "claude-sonnet-4-5", 1024)
    assert (seen.stream, seen.wants_usage, seen.input_tokens, seen.answers) == (True, True, 20, 1)
    assert (seen.reusable, seen.why_not_reusable) == (True, "")
    assert not view().wants_usage


def test_size() -> None:
    """System blocks, tools, tool inputs and results count; images by the piece; signatures and ids do not."""
    bare = view(messages=[{"role": "user", "content": "?"}]).input_tokens
    long = "z" * 400
    blocks = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    assert view(system=blocks).input_tokens >= bare + 100
    assert view(tools=[{"name": "f", "description": long, "input_schema": {}}]).input_tokens >= bare + 100
    turn = {"role": "assistant", "content": [{**TOOL, "input": {"q": long}}, {**THINKING, "signature": long * 100}]}
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": long}]}
    seen = view(messages=[*HELLO, turn, {"role": "user", "content": [result]}])
    assert bare + 200 <= seen.input_tokens <= bare + 230
    assert view(messages=[{"role": "user", "content": [IMAGE]}]).input_tokens == MEDIA_TOKENS
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": long}}
    assert view(messages=[{"role": "user", "content": [document]}]).input_tokens == 100


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (IMAGE, ""),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, "remote URL"),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "file id"),
        ({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, "remote URL"),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, "file id"),
        ({"type": "document", "source": {"type": "something_new"}}, "unknown source"),
        ({"type": "document", "source": {"type": "content", "content": [IMAGE]}}, ""),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            },
            "remote URL",
        ),
        ({"type": "container_upload", "file_id": "file_1"}, "file id"),
        ({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "remote URL"),
        ({"type": "search_result", "source": "https://x", "title": "t", "content": [TEXT]}, ""),
        ({**TOOL, "input": {"source": {"type": "url", "url": "u"}, "file_id": "file_1"}}, ""),
        ({"type": "text", "text": '{"source": {"type": "url"}, "file_id": "file_1"}'}, ""),
    ],
)
def test_what_lies_elsewhere_forbids_reuse(part: dict[str, Any], why: str) -> None:
    """A block that refers to what the body does not hold forbids reuse; words and tools' inputs do not."""
    seen = view(messages=[{"role": "user", "content": [part]}])
    assert (seen.reusable, seen.why_not_reusable) == (not why, why)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tools": [{"name": "f", "input_schema": {}}]}, ""),
        ({"tools": [{"type": "custom", "name": "f", "input_schema": {}}]}, ""),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}]}, ""),
        ({"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]}, ""),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "server-side tool web_search_20250305"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "w"}]}, "server-side tool web_fetch_20250910"),
        ({"tools": [{"type": "code_execution_20250825"}]}, "server-side tool code_execution_20250825"),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, "server-side tool computer_20250124"),
        ({"tools": [{"type": "mcp_toolset"}]}, "server-side tool mcp_toolset"),
        ({"tools": "x"}, "unreadable tools"),
        ({"tools": None}, ""),
        ({"container": "container_1"}, "container"),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, "mcp_servers"),
        ({"mcp_servers": []}, ""),
        ({"thread": {"type": "create"}}, "thread"),
    ],
)
def test_server_state_forbids_reuse(fields: dict[str, Any], why: str) -> None:
    """Tools that the provider runs, and what it keeps, forbid reuse; tools of the caller do not."""
    seen = view(**fields)
    assert (seen.reusable, seen.why_not_reusable) == (not why, why)


def test_canonical() -> None:
    """Cache breakpoints go wherever they may stand, and so does what does not change the answer; all else stays."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}

    def body(*, mark: dict[str, Any], **fields: Any) -> bytes | None:
        inner = {"type": "text", "text": "a", **mark}
        content = [
            {**IMAGE, **mark},
            {"type": "tool_result", "tool_use_id": "t", "content": [inner], **mark},
            {"type": "document", "source": {"type": "content", "content": [inner]}, **mark},
            {**TOOL, "input": {"cache_control": {"mine": 1}}, **mark},
        ]
        return MESSAGES.canonical(
            request(
                system=[inner],
                tools=[{"name": "f", "input_schema": {"properties": {"cache_control": {"type": "string"}}}, **mark}],
                messages=[{"role": "user", "content": content}],
                **fields,
            )
        )

    key = body(mark={})
    assert key is not None
    assert body(mark=mark) == key
    assert body(mark=mark, **mark) == key
    assert body(mark={}, stream=True, metadata={"user_id": "u"}, service_tier="auto") == key
    assert key.count(b"cache_control") == 2  # the tool's input and its schema are the caller's own
    assert body(mark={}, temperature=0.0) != key
    assert body(mark={}, thinking={"type": "adaptive"}) != key
    for bad in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
        assert MESSAGES.canonical(bad) is None


def test_answer() -> None:
    """A whole answer is read, its tokens in our convention: everything in, with cache reads and writes as parts."""
    whole = Answer(complete=True, admissible=True, finish="end_turn", model="claude-sonnet-4-5-20250929", usage=READ)
    assert read(THINKING, TEXT) == whole
    assert MESSAGES.text(json.dumps(message(THINKING, TEXT, {"type": "text", "text": "!"})).encode()) == "billing!"


@pytest.mark.parametrize(
    ("blocks", "stop", "admissible"),
    [
        ([TEXT], "end_turn", True),
        ([TEXT], "stop_sequence", True),
        ([TOOL], "tool_use", True),
        ([TEXT, TOOL], "tool_use", True),
        ([{**TOOL, "input": {}}], "tool_use", True),
        ([{**TOOL, "input": "city"}], "tool_use", False),
        ([TEXT], "max_tokens", False),
        ([TEXT], "refusal", False),
        ([TEXT], "pause_turn", False),
        ([TEXT], "model_context_window_exceeded", False),
        ([TEXT], "compaction", False),
        ([TEXT], None, False),
        ([], "end_turn", False),
        ([THINKING], "end_turn", False),
        ([{"type": "text", "text": " \n"}], "end_turn", False),
    ],
)
def test_admissible(blocks: list[dict[str, Any]], stop: str | None, admissible: bool) -> None:
    """Kept is what ended by itself and is not empty; never what was cut, refused or paused."""
    answer = read(*blocks, stop=stop)
    assert (answer.complete, answer.admissible, answer.finish) == (True, admissible, stop or "")
    assert not read(*blocks, stop=stop, status=201).admissible


@pytest.mark.parametrize(
    ("status", "type_", "outcome", "retryable"),
    [
        (400, "invalid_request_error", "client_error", False),
        (401, "authentication_error", "auth", False),
        (402, "billing_error", "billing", False),
        (403, "permission_error", "auth", False),
        (404, "not_found_error", "client_error", False),
        (413, "request_too_large", "client_error", False),
        (429, "rate_limit_error", "throttled", True),
        (500, "api_error", "server_error", True),
        (504, "timeout_error", "server_error", True),
        (529, "overloaded_error", "overloaded", True),
        (200, "overloaded_error", "overloaded", True),
        (200, "api_error", "server_error", True),
        (200, "rate_limit_error", "throttled", True),
        (200, "billing_error", "billing", False),
        (200, "authentication_error", "auth", False),
        (200, "invalid_request_error", "client_error", False),
    ],
)
def test_errors(status: int, type_: str, outcome: str, retryable: bool) -> None:
    """Errors of every kind, and inside a 200, become what the engine acts on."""
    error = {"type": "error", "error": {"type": type_, "message": "m"}, "request_id": "req_1"}
    answer = MESSAGES.read_answer(status, json.dumps(error).encode())
    assert answer.error is not None
    assert (answer.error.outcome, answer.error.retryable, answer.error.code) == (outcome, retryable, type_)
    assert (answer.complete, answer.admissible, answer.error.message) == (True, False, "m")


@pytest.mark.parametrize(
    ("message_", "details", "outcome"),
    [
        ("Your credit balance is too low to access the Anthropic API.", None, "billing"),
        ("You have reached your specified API usage limits. You will regain access on 2026-12-01.", None, "billing"),
        ("You have reached your specified workspace API usage limits.", None, "billing"),
        ("This request would exceed the contract.", {"error_code": "contract_spend_limit_reached"}, "billing"),
        ("Slower, please.", {"error_code": "ramp_limit_exceeded"}, "throttled"),
        ("max_tokens: must be at least 1", None, "client_error"),
    ],
)
def test_spent_money_is_told_apart(message_: str, details: Any, outcome: str) -> None:
    """A budget that is spent comes as a bad request or a rate limit; its code or its words tell."""
    status = 400 if details is None else 429
    error = {"type": "invalid_request_error" if details is None else "rate_limit_error", "message": message_}
    body = json.dumps({"type": "error", "error": {**error, "details": details}}).encode()
    read_ = MESSAGES.read_answer(status, body).error
    assert read_ is not None
    assert (read_.outcome, read_.retryable) == (outcome, outcome == "throttled")


def test_a_429_names_its_bucket() -> None:
    """The text says which kind of limit it was."""
    text = "This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: x)."
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": text}}).encode()
    error = MESSAGES.read_answer(429, body).error
    assert error is not None
    assert (error.limit_kind, error.limit) == ("tokens", None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "message", "content", "source", "text", "input", "usage", "error", "tools", "system", "delta"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever comes, reading it never raises and never admits it."""
    seen = MESSAGES.read_request(body, ())
    assert seen.format == "anthropic_messages"
    assert not MESSAGES.read_answer(200, body).admissible
    assert MESSAGES.read_answer(500, body).error is not None
    assert isinstance(MESSAGES.text(body), str)
    assert MESSAGES.ask_usage(body) is None
    MESSAGES.canonical(body)
    MESSAGES.aggregate(body)
