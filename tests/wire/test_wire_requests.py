"""What is read of a request, and the canonical body that a cache key is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import RequestView
from headway.wire import reader_for
from headway.wire.blocks import BLOCKS_MAX, block_hashes
from headway.wire.openai_request import MEDIA_TOKENS

CHAT = reader_for("/v1/chat/completions")
RESPONSES = reader_for("/v1/responses")
assert CHAT is not None
assert RESPONSES is not None

HELLO = [{"role": "user", "content": "Hello"}]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def chat(messages: Any = None, **fields: Any) -> RequestView:
    body = {"model": "gpt-4o-mini", "messages": HELLO if messages is None else messages, **fields}
    return CHAT.read_request(json.dumps(body).encode(), ())


def responses(input_: Any = "Hello", **fields: Any) -> RequestView:
    return RESPONSES.read_request(
        json.dumps({"model": "gpt-5.4-mini", "input": input_, **fields}).encode(), ()
    )


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
    view = chat(
        max_completion_tokens=64, max_tokens=99, n=3, stream=True, stream_options={"include_usage": True}
    )
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
    words = (
        "file_id image_url previous_response_id store: true background conversation item_reference web_search"
    )
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
    """A character counts a quarter of a token wherever it stands; an inline image counts flat, not by its size."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
    assert MEDIA_TOKENS < chat([{"role": "user", "content": [image]}]).input_tokens < MEDIA_TOKENS + 20
    assert (
        chat([{"role": "system", "content": "a" * 400}, {"role": "user", "content": "b" * 400}]).input_tokens
        == 200
    )
    assert chat(tools=[{"type": "function", "function": {"name": "f" * 400}}]).input_tokens > 100


def test_canonical_drops_what_does_not_change_the_answer() -> None:
    """A stream and its plain twin share a key, however their keys are ordered and whoever the user is."""
    bare = {"model": "m", "messages": HELLO, "temperature": 0}
    noise = {
        "user": "u",
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "explicit"},
        "cache_control": {"type": "ephemeral"},
    }
    for reader in (CHAT, RESPONSES):
        key = reader.canonical(json.dumps(bare).encode())
        assert key == b'{"messages":[{"content":"Hello","role":"user"}],"model":"m","temperature":0}'
        assert reader.canonical(json.dumps({**noise, **bare}, indent=2).encode()) == key
        for name, value in noise.items():
            assert reader.canonical(json.dumps({**bare, name: value}).encode()) == key


def test_canonical_drops_breakpoints_inside_the_prompt_only() -> None:
    """Cache breakpoints on blocks and tools go, also when spelled with escapes; a schema's property stays."""
    part = {"type": "text", "text": "Hi"}

    def key(part: dict[str, Any], tool: dict[str, Any]) -> bytes | None:
        return CHAT.canonical(
            json.dumps({"messages": [{"role": "user", "content": [part]}], "tools": [tool]}).encode()
        )

    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}
    bare = key(part, tool)
    assert key({**part, "cache_control": {"type": "ephemeral"}}, tool) == bare
    assert key({**part, "prompt_cache_breakpoint": {"mode": "explicit"}}, tool) == bare
    assert key(part, {**tool, "cache_control": {"type": "ephemeral"}}) == bare
    escaped = (
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache\\u005fcontrol":{}}]}]}'
    )
    assert CHAT.canonical(escaped) == CHAT.canonical(escaped.replace(b',"cache\\u005fcontrol":{}', b""))
    schema = {"properties": {"cache_control": {"type": "string"}}}
    assert key(part, {"type": "function", "function": {"name": "f", "parameters": schema}}) != bare
    assert key({**part, "text": '"cache_control":{}'}, tool) != bare
    nested = json.dumps({"messages": HELLO, "guided_json": {"cache_control": {"type": "string"}}}).encode()
    assert CHAT.canonical(nested) != CHAT.canonical(
        json.dumps({"messages": HELLO, "guided_json": {}}).encode()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b"1.0"),
        (b"1", b"true"),
        (b"0", b"-0.0"),
        (b"0", b"null"),
        (b"9007199254740993", b"9007199254740992"),
        (b"123456789012345678901234567890", b"123456789012345678901234567891"),
        (b"0.1", b"0.10000000000000002"),
        ('"\u00e9"'.encode(), '"e\u0301"'.encode()),
        (b'"a"', b'"a "'),
        (b'["a","b"]', b'["b","a"]'),
        (b'{"a":null}', b"{}"),
        (b'"1"', b"1"),
    ],
)
def test_canonical_keeps_values_apart(one: bytes, other: bytes) -> None:
    """Numbers, text and arrays that differ never share a key."""
    assert CHAT.canonical(b'{"seed":%b}' % one) != CHAT.canonical(b'{"seed":%b}' % other)


@given(body=st.dictionaries(st.text(max_size=6), json_values, max_size=5), data=st.data())
def test_canonical_depends_on_content_only(body: dict[str, Any], data: st.DataObject) -> None:
    """Any order of keys gives the same bytes, any other value or unknown field gives others."""
    key = CHAT.canonical(json.dumps(body).encode())
    shuffled = dict(data.draw(st.permutations(list(body.items()))))
    assert key is not None
    assert CHAT.canonical(json.dumps(shuffled, indent=1, ensure_ascii=False).encode()) == key
    assert CHAT.canonical(key) == key
    assert CHAT.canonical(json.dumps({**body, "an unknown field": 1}).encode()) != key
    if body:
        name = data.draw(st.sampled_from(sorted(body)))
        assert CHAT.canonical(json.dumps({**body, name: [body[name]]}).encode()) != key


def test_block_hashes_stand_for_prefixes() -> None:
    """Equal prefixes have equal hashes, and from the first difference on all differ."""

    def hashes(*messages: str, **fields: Any) -> tuple[str, ...]:
        items = [{"role": "user", "content": message} for message in messages]
        return block_hashes(json.dumps({"model": "m", "messages": items, **fields}).encode())

    one, other = hashes("a", "b", "c"), hashes("a", "x", "c")
    assert len(one) == 3
    assert all(len(hash_) == 16 and int(hash_, 16) >= 0 for hash_ in one)
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])
    assert hashes("a", "b") == one[:2]
    assert len(hashes("a", tools=[{"type": "function"}])) == 2
    assert len(hashes(*["a"] * 100)) == BLOCKS_MAX
    assert len(block_hashes(b'{"instructions":"i","input":"text"}')) == 2
    assert len(block_hashes(b'{"instructions":null,"input":[{"a":1},{"b":2}]}')) == 2


def test_block_hashes_ignore_breakpoints() -> None:
    """A cache breakpoint that moves along a conversation leaves the hashes of what it passed as they were."""
    plain = b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}'
    marked = plain.replace(b'"text":"a"', b'"text":"a","cache_control":{"type":"ephemeral"}')
    assert block_hashes(marked) == block_hashes(plain)


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
    """Usage is asked for by a splice that leaves all other bytes alone, and only where nothing was said of it."""
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
        st.sampled_from(
            ["model", "messages", "input", "tools", "stream", "n", "store", "instructions", "system"]
        ),
        json_values
        | st.lists(st.dictionaries(st.sampled_from(["role", "content", "type", "audio"]), json_values)),
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
