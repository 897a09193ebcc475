"""The edits made in requests: the field asked for changes, and no other byte does."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.wire import reader_for
from headway.wire.splice import with_cache_breakpoint, with_model, with_output_bound, with_prompt_cache_key
from tests.wire.anthropic_bytes import MESSAGES, TEXT, request

NAMES = [
    "model",
    "max_tokens",
    "max_completion_tokens",
    "prompt_cache_key",
    "system",
    "tools",
    "messages",
    "a",
    "\u00e9\n",
]
MARK = {"cache_control": {"type": "ephemeral"}}
space = st.text(" \t\r\n", max_size=3).map(str.encode)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('"\\{}[],:a\u00e9', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def escaped(text: str) -> bytes:
    """The same string, every character an escape."""
    units = text.encode("utf-16-be")
    return b'"' + b"".join(b"\\u%02x%02x" % pair for pair in zip(units[::2], units[1::2], strict=True)) + b'"'


class Drawn(NamedTuple):
    """A body as its pieces: head, then of each member what stands before its value, the name, the value; then the tail."""

    head: bytes
    members: list[tuple[bytes, str, bytes]]
    tail: bytes

    def body(self, *edits: tuple[int, bytes]) -> bytes:
        """The body, with some members' values replaced."""
        replaced = dict(edits)
        parts = [before + replaced.get(at, value) for at, (before, _, value) in enumerate(self.members)]
        return self.head + b"".join(parts) + self.tail


@st.composite
def bodies(draw: st.DrawFn) -> Drawn:
    """Any object, with any white space, escapes in names, and names that stand twice or deeper down."""
    members = []
    for at in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(NAMES))
        spelled = draw(st.sampled_from([json.dumps(name).encode(), escaped(name)]))
        comma = draw(space) + b"," if at else b""
        before = comma + draw(space) + spelled + draw(space) + b":" + draw(space)
        value = json.dumps(draw(values), indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
        members.append((before, name, value.encode()))
    return Drawn(draw(space) + b"{", members, draw(space) + b"}" + draw(space))


def check_field(drawn: Drawn, name: str, value: bytes, after: bytes | None) -> None:
    """Every member of that name has the value, or there is one more; all other bytes are as they were."""
    body, places = drawn.body(), [at for at, member in enumerate(drawn.members) if member[1] == name]
    assert after is not None
    assert json.loads(after) == {**json.loads(body), name: json.loads(value)}
    if places:
        assert after == drawn.body(*[(at, value) for at in places])
    else:
        comma = b"," if drawn.members else b""
        added = comma + json.dumps(name).encode() + b":" + value
        assert after == body[: len(body) - len(drawn.tail)] + added + drawn.tail


@given(drawn=bodies(), model=st.text(max_size=8))
def test_model(drawn: Drawn, model: str) -> None:
    """The model is replaced wherever it stands at the top, or added; a nested one is somebody else's."""
    check_field(drawn, "model", json.dumps(model, ensure_ascii=False).encode(), with_model(drawn.body(), model))


@given(drawn=bodies(), tokens_max=st.integers(1, 10**6))
def test_output_bound(drawn: Drawn, tokens_max: int) -> None:
    """The bound that the body sets is replaced, whatever its name; without one, the first name is used."""
    fields = ("max_completion_tokens", "max_tokens")
    tree = json.loads(drawn.body())
    name = next((field for field in fields if tree.get(field) is not None), fields[0])
    check_field(drawn, name, b"%d" % tokens_max, with_output_bound(drawn.body(), fields, tokens_max))


@given(drawn=bodies(), key=st.text(max_size=8))
def test_prompt_cache_key(drawn: Drawn, key: str) -> None:
    """The key is added where the client set none; a key of its own stands."""
    after = with_prompt_cache_key(drawn.body(), key)
    if json.loads(drawn.body()).get("prompt_cache_key") is not None:
        assert after is None
    else:
        check_field(drawn, "prompt_cache_key", json.dumps(key, ensure_ascii=False).encode(), after)


@pytest.mark.parametrize(
    ("path", "body", "bounded"),
    [
        ("/v1/chat/completions", b'{"max_tokens": 9}', b'{"max_tokens": 5}'),
        ("/v1/chat/completions", b'{"max_tokens":null}', b'{"max_tokens":null,"max_completion_tokens":5}'),
        ("/v1/chat/completions", b'{"messages":[]}', b'{"messages":[],"max_completion_tokens":5}'),
        ("/v1/responses", b'{ "max_output_tokens" : 9 }', b'{ "max_output_tokens" : 5 }'),
        (
            "/v1/messages",
            b'{"max_tokens":9,"tools":[{"max_tokens":9}]}',
            b'{"max_tokens":5,"tools":[{"max_tokens":9}]}',
        ),
        ("/v1/embeddings", b'{"input":"a"}', None),
    ],
)
def test_bounds_by_format(path: str, body: bytes, bounded: bytes | None) -> None:
    """Every reader names its format's field, and the reader sees the bound that was set."""
    reader = reader_for(path)
    assert reader is not None
    after = with_output_bound(body, reader.bound_fields, 5)
    assert after == bounded
    assert after is None or reader.read_request(after, ()).output_tokens_max == 5


@given(
    body=st.binary(max_size=60)
    | values.filter(lambda value: type(value) is not dict).map(lambda v: json.dumps(v).encode())
)
def test_what_is_no_object_is_left_alone(body: bytes) -> None:
    """Any bytes: an edit, or None; never an exception."""
    after = [with_model(body, "m"), with_output_bound(body, ("b",), 1), with_prompt_cache_key(body, "k")]
    try:
        readable = type(json.loads(body.decode())) is dict
    except (ValueError, RecursionError):
        readable = False
    assert readable or after == [None] * 3
    assert with_cache_breakpoint(body) is None


def test_deep_nesting_is_left_alone() -> None:
    """Brackets past all reason are refused, not followed."""
    assert with_model(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "m") is None


BLOCK = {"type": "text", "text": 'Be brief. {"}\\'}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("fields", "edited"),
    [
        ({"system": [BLOCK, BLOCK]}, {"system": [BLOCK, {**BLOCK, **MARK}]}),
        ({"system": [BLOCK], "tools": [TOOL]}, {"system": [{**BLOCK, **MARK}], "tools": [TOOL]}),
        ({"system": 'Be \u00e9 "brief"'}, {"system": [{"type": "text", "text": 'Be \u00e9 "brief"', **MARK}]}),
        ({"tools": [TOOL, TOOL]}, {"tools": [TOOL, {**TOOL, **MARK}]}),
        ({"system": " ", "tools": [TOOL]}, {"system": " ", "tools": [{**TOOL, **MARK}]}),
        ({"system": [], "tools": [TOOL]}, {"system": [], "tools": [{**TOOL, **MARK}]}),
        ({"system": None, "tools": [{}]}, {"system": None, "tools": [MARK]}),
        ({"tools": [{"cache_control": None}]}, {"tools": [MARK]}),
        (
            {"tools": [TOOL, {**TOOL, "defer_loading": True}]},
            {"tools": [{**TOOL, **MARK}, {**TOOL, "defer_loading": True}]},
        ),
        ({}, None),
        ({"system": [{"type": "text", "text": " "}], "tools": [TOOL]}, None),
        ({"system": "s", "cache_control": {"type": "ephemeral"}}, None),
        ({"system": "s", "tools": [{**TOOL, **MARK}]}, None),
        ({"system": [{**BLOCK, **MARK}, BLOCK]}, None),
        ({"system": "s", "messages": [{"role": "user", "content": [{**TEXT, **MARK}]}]}, None),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_cache_breakpoint(fields: dict[str, Any], edited: dict[str, Any] | None, indent: int | None) -> None:
    """The last stable block is marked; where the client marked one itself, or none can be, nothing happens."""
    body = json.dumps({"model": "m", **fields}, indent=indent).encode()
    after = with_cache_breakpoint(body)
    if edited is None:
        assert after is None
        return
    assert after is not None
    assert json.loads(after) == {"model": "m", **edited}
    assert MESSAGES.canonical(after) == MESSAGES.canonical(body) or "system" in edited  # a string became a block
    assert with_cache_breakpoint(after) is None
    if b'"cache_control": null' not in body:
        assert undone(after) == body


def undone(after: bytes) -> bytes:
    """The bytes without what was put in, compact as no client here writes."""
    mark, wrapped = b'"cache_control":{"type":"ephemeral"}', b'[{"type":"text","text":'
    after = after.replace(b"," + mark if b"," + mark in after else mark, b"", 1)
    if wrapped not in after:
        return after
    head, _, rest = after.partition(wrapped)
    return head + rest.replace(b"}]", b"", 1)


def test_cache_breakpoint_for_an_hour() -> None:
    """The longer life is asked for by name."""
    after = with_cache_breakpoint(request(system="s"), ttl="1h")
    assert after is not None
    assert json.loads(after)["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@given(drawn=bodies(), system=st.sampled_from([None, BLOCK]), spaces=st.lists(space, min_size=4, max_size=4))
def test_cache_breakpoint_leaves_the_rest(drawn: Drawn, system: dict[str, Any] | None, spaces: list[bytes]) -> None:
    """In any surroundings, the mark is one span and all else keeps its bytes."""
    block = spaces[0] + json.dumps(BLOCK).encode()[:-1]
    head, tail = b'{"system":[' + block, spaces[1] + b"}" + spaces[2] + b"]" + spaces[3]
    others = [m for m in drawn.members if m[1] not in ("system", "tools", "messages")]
    rest = b"".join(b"," + m[0].strip().removeprefix(b",") + m[2] for m in others) + b"}"
    assert with_cache_breakpoint(head + tail + rest) == head + b',"cache_control":{"type":"ephemeral"}' + tail + rest
