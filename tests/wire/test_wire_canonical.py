"""The canonical body that a cache key is made of, and the hashes of a prompt's blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.wire import reader_for
from headway.wire.blocks import BLOCKS_MAX, block_hashes

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


DROPPED = {"cache_control", "metadata", "safety_identifier", "service_tier", "stream", "stream_options", "user"}
kept_names = st.text(max_size=6).filter(lambda name: name not in DROPPED and not name.startswith("prompt_cache_"))


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
        return CHAT.canonical(json.dumps({"messages": [{"role": "user", "content": [part]}], "tools": [tool]}).encode())

    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}
    bare = key(part, tool)
    assert key({**part, "cache_control": {"type": "ephemeral"}}, tool) == bare
    assert key({**part, "prompt_cache_breakpoint": {"mode": "explicit"}}, tool) == bare
    assert key(part, {**tool, "cache_control": {"type": "ephemeral"}}) == bare
    escaped = b'{"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache\\u005fcontrol":{}}]}]}'
    assert CHAT.canonical(escaped) == CHAT.canonical(escaped.replace(b',"cache\\u005fcontrol":{}', b""))
    schema = {"properties": {"cache_control": {"type": "string"}}}
    assert key(part, {"type": "function", "function": {"name": "f", "parameters": schema}}) != bare
    assert key({**part, "text": '"cache_control":{}'}, tool) != bare
    found = b'{"input":[{"type":"tool_search_output","tools":[{"type":"function","parameters":{%b}}]}]}'
    assert RESPONSES.canonical(found % b'"cache_control":{"type":"string"}') != RESPONSES.canonical(found % b"")
    nested = json.dumps({"messages": HELLO, "guided_json": {"cache_control": {"type": "string"}}}).encode()
    assert CHAT.canonical(nested) != CHAT.canonical(json.dumps({"messages": HELLO, "guided_json": {}}).encode())


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


@given(body=st.dictionaries(kept_names, json_values, max_size=5), data=st.data())
def test_canonical_depends_on_content_only(body: dict[str, Any], data: st.DataObject) -> None:
    """Any order of keys gives the same bytes; of a field that is kept, any other value gives others."""
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
    assert block_hashes(b'{"input":[12,3]}')[-1] != block_hashes(b'{"input":[1,23]}')[-1]
    assert len(hashes("a", tools=[{"type": "function"}])) == 2
    assert len(hashes(*["a"] * 100)) == BLOCKS_MAX
    assert len(block_hashes(b'{"instructions":"i","input":"text"}')) == 2
    assert len(block_hashes(b'{"instructions":null,"input":[{"a":1},{"b":2}]}')) == 2


def test_block_hashes_ignore_breakpoints() -> None:
    """A cache breakpoint that moves along a conversation leaves the hashes of what it passed as they were."""
    plain = b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}'
    marked = plain.replace(b'"text":"a"', b'"text":"a","cache_control":{"type":"ephemeral"}')
    assert block_hashes(marked) == block_hashes(plain)
