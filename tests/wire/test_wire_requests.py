"""What is read of a request, and the one splice that is made in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import RequestView
from headway.wire import reader_for
from headway.wire.blocks import block_hashes
from headway.wire.openai_request import MEDIA_TOKENS

CHAT = reader_for("/v1/chat/completions")
RESPONSES = reader_for("/v1/responses")
assert CHAT is not None
assert RESPONSES is not None

HELLO = [{"role": "user", "content": "Hello"}]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def chat(messages: Any = None, **fields: Any) -> RequestView:
    body = {"model": "gpt-4o-mini", "messages": HELLO if messages is None else messages, **fields}
    return CHAT.read_request(json.dumps(body).encode(), ())


def responses(input_: Any = "Hello", **fields: Any) -> RequestView:
    return RESPONSES.read_request(json.dumps({"model": "gpt-5.4-mini", "input": input_, **fields}).encode(), ())


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("/v1/responses", "openai_responses"),
        ("/v1/responses?x=1", "openai_responses"),
        ("/openai/v1/chat/completions", "openai_chat"),
        ("/openai/deployments/d/chat/completions?api-version=2024-10-21", "openai_chat"),
        ("/v1/responses/resp_1", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/responses/input_tokens", None),
        ("/v1/chat/completions/chatcmpl-1", None),
        ("/v1/models?next=/v1/responses", None),
        ("/v1/completions", None),
        ("", None),
    ],
)
def test_reader_for(path: str, format_: str | None) -> None:
    """The end of the path finds the reader, whatever the prefix or the query; retrieval paths find none."""
    reader = reader_for(path)
    assert (reader.format if reader else None) == format_


def test_chat_view() -> None:
    """A chat request's bounds, stream and usage wishes are read as they stand."""
    view = chat(max_completion_tokens=64, max_tokens=99, n=3, stream=True, stream_options={"include_usage": True})
    assert (view.format, view.model, view.stream, view.output_tokens_max) == (
        "openai_chat",
        "gpt-4o-mini",
        True,
        64,
    )
    assert (view.answers, view.wants_usage, view.reusable, view.input_tokens) == (3, True, True, 2)
    assert chat(max_tokens=99).output_tokens_max == 99
    assert chat().output_tokens_max is None
    assert not chat(stream_options={"include_usage": True}).wants_usage


def test_responses_view() -> None:
    """A Responses request is read likewise; its streams always carry usage."""
    view = responses("x" * 41, instructions="y" * 39, max_output_tokens=16, stream=True)
    assert (view.format, view.model, view.output_tokens_max) == ("openai_responses", "gpt-5.4-mini", 16)
    assert (view.stream, view.wants_usage, view.input_tokens, view.reusable) == (True, True, 20, True)
    assert not responses().wants_usage


def test_odd_values_are_absent() -> None:
    """Bounds of a wrong type or sign are as good as absent, and do not hide the rest."""
    view = chat(max_tokens="12", n=0, stream="yes")
    assert (view.model, view.output_tokens_max, view.answers, view.stream) == ("gpt-4o-mini", None, 1, False)
    assert chat(max_tokens=True).output_tokens_max is None
    assert chat(max_completion_tokens=-1, max_tokens=7).output_tokens_max == 7


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"model":1e999}', b"[" * 100_000])
def test_unreadable(body: bytes) -> None:
    """A body that is no JSON object gives an empty view, no key and no splice."""
    for reader in (CHAT, RESPONSES):
        view = reader.read_request(body, ())
        assert (view.format, view.model, view.reusable) == (reader.format, "", False)
        assert reader.canonical(body) is None
        assert reader.ask_usage(body) is None
        assert block_hashes(body) == ()


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "remote URL"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, ""),
        ({"type": "input_image", "image_url": "https://x/y.png"}, "remote URL"),
        ({"type": "input_image", "image_url": "data:image/png;base64,AAAA"}, ""),
        ({"type": "input_image", "file_id": "file-1"}, "file id"),
        ({"type": "input_image", "file_id": None, "image_url": "data:,x"}, ""),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file id"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a"}}, ""),
        ({"type": "input_file", "file_url": "https://x/y.pdf"}, "remote URL"),
        ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, "remote URL"),
        ({"type": "text", "text": 'see "file_id" and https://x/y.png, image_url: {"url": "https://x"}'}, ""),
    ],
)
def test_parts_of_a_prompt(part: dict[str, Any], why: str) -> None:
    """What a part refers to outside the body forbids reuse, whoever says it in words does not."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}]
    for view in (chat(messages), responses(messages)):
        assert (view.reusable, view.why_not_reusable) == (not why, why)


def test_text_never_trips() -> None:
    """System prompts and tool schemas that name the words of the bypass list stay reusable."""
    words = "file_id image_url previous_response_id store: true background conversation item_reference web_search"
    schema = {
        "type": "object",
        "properties": {"file_id": {"type": "string"}, "image_url": {"type": "string"}},
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert chat([{"role": "system", "content": words}, *HELLO], tools=tools).reusable
    assert responses(
        words, instructions=words, tools=[{"type": "function", "name": "f", "parameters": schema}]
    ).reusable


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"store": True}, "store"),
        ({"web_search_options": {}}, "server-side search"),
        ({"model": "gpt-4o-search-preview"}, "server-side search"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "audio output"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "x_search"}]},
            "server-side tool x_search",
        ),
        ({"tools": {"a": 1}}, "unreadable tools"),
        ({"store": False, "tools": [], "functions": [{"name": "f"}]}, ""),
        ({"tools": None, "store": None}, ""),
        ({"tools": [{"type": "custom", "custom": {"name": "sql"}}]}, ""),
    ],
)
def test_chat_bypass(fields: dict[str, Any], why: str) -> None:
    """What depends on more than the body is not reusable, and says why."""
    view = chat(**fields)
    assert (view.reusable, view.why_not_reusable) == (not why, why)


def test_chat_stored_audio() -> None:
    """An earlier audio answer, referred to by its id, forbids reuse."""
    assert chat([{"role": "assistant", "audio": {"id": "audio_1"}}]).why_not_reusable == "stored audio"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "stored prompt"),
        ({"tools": [{"type": "web_search"}]}, "server-side tool web_search"),
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, "server-side tool mcp"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "item reference"),
        ({"input": [{"id": "msg_1"}]}, "item reference"),
        ({"previous_response_id": None, "conversation": None, "store": False, "background": False}, ""),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]}, ""),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "4"}]}, ""),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"file_id": "f"}]}]},
            "file id",
        ),
    ],
)
def test_responses_bypass(fields: dict[str, Any], why: str) -> None:
    """The same for Responses, whose requests can lean on the provider's memory in more ways."""
    view = RESPONSES.read_request(json.dumps({"model": "m", "input": "?", **fields}).encode(), ())
    assert (view.reusable, view.why_not_reusable) == (not why, why)


def test_input_estimate() -> None:
    """A character counts a quarter of a token wherever it stands; an image counts flat, not by its size."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
    assert MEDIA_TOKENS < chat([{"role": "user", "content": [image]}]).input_tokens < MEDIA_TOKENS + 20
    assert chat([{"role": "system", "content": "a" * 400}, {"role": "user", "content": "b" * 400}]).input_tokens == 200
    assert chat(tools=[{"type": "function", "function": {"name": "f" * 400}}]).input_tokens > 100


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"stream":true}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (
            b' {"stream" : true , "a":"}"}\r\n ',
            b' {"stream" : true , "a":"}","stream_options":{"include_usage":true}}\r\n ',
        ),
        (
            b'{"stream":true,"x":{"stream_options":1}}',
            b'{"stream":true,"x":{"stream_options":1},"stream_options":{"include_usage":true}}',
        ),
        (b'{"stream":true,"stream_options":{"include_usage":true}}', None),
        (b'{"stream":true,"stream_options":{"include_usage":false}}', None),
        (b'{"stream":true,"stream_options":null}', None),
        (b'{"stream":false}', None),
        (b'{"stream":"true"}', None),
        (b"{}", None),
    ],
)
def test_ask_usage(body: bytes, asked: bytes | None) -> None:
    """Usage is asked for by a splice that leaves all other bytes alone, where nothing was said of it."""
    assert CHAT.ask_usage(body) == asked
    assert RESPONSES.ask_usage(body) is None
    if asked is not None:
        assert json.loads(asked) == {**json.loads(body), "stream_options": {"include_usage": True}}
        assert CHAT.read_request(asked, ()).wants_usage


@given(body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever comes, reading a request never raises."""
    for reader in (CHAT, RESPONSES):
        assert reader.read_request(body, ()).format == reader.format
        reader.canonical(body)
        reader.ask_usage(body)
    block_hashes(body)


@given(
    fields=st.dictionaries(
        st.sampled_from(["model", "messages", "input", "tools", "stream", "n", "store", "instructions", "system"]),
        json_values | st.lists(st.dictionaries(st.sampled_from(["role", "content", "type", "audio"]), json_values)),
    )
)
def test_no_shape_raises(fields: dict[str, Any]) -> None:
    """Nor does JSON of any shape under the names that are read."""
    body = json.dumps(fields).encode()
    for reader in (CHAT, RESPONSES):
        view = reader.read_request(body, ())
        assert view.reusable is (view.why_not_reusable == "")
        assert reader.canonical(body) is not None
    block_hashes(body)
