"""The edits that optimisations make in a request: spans are put in or replaced, every other byte stays as it was.

Bodies are any JSON: fields of the same name may stand deeper, names may hold escapes, or stand twice (then every one is
replaced, so that it does not matter which of them a provider believes). What is no JSON object is left alone: None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from headway.wire.anthropic_messages_request import blocks_of
from headway.wire.decoding import UNREADABLE, has_markers

__all__ = ["with_cache_breakpoint", "with_model", "with_output_bound", "with_prompt_cache_key"]

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_WORD: Final = re.compile(rb"[^\s,\]}]++")
_STRUCTURE: Final = re.compile(rb'["\[\]{}]')
_BACKSLASH: Final = ord("\\")
_MARKER: Final = b'"cache_control":'

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class _Member(NamedTuple):
    """One member of an object or an array: its name ("" in an array), and the span of its value."""

    name: str
    start: int
    end: int


def with_model(body: bytes, model: str) -> bytes | None:
    """The body asking for `model`; the field is added where there is none. None if it is no JSON object."""
    return _with_field(body, "model", _encode(model))


def with_output_bound(body: bytes, fields: Sequence[str], tokens_max: int) -> bytes | None:
    """The body with its output bounded; None if it is no JSON object.

    Args:
        body: The request.
        fields: The format's names for the bound (`Reader.bound_fields`), none for one that has none: then None. The
            first that the body sets is replaced; where it sets none, the first of all is.
        tokens_max: The bound in tokens, >= 1.
    """
    tree = _object(body)
    if tree is None or not fields:
        return None
    field = next((field for field in fields if tree.get(field) is not None), fields[0])
    return _with_field(body, field, b"%d" % tokens_max)


def with_prompt_cache_key(body: bytes, key: str) -> bytes | None:
    """The body with ``prompt_cache_key``; None if its client set one, which stands, or it is no JSON object."""
    tree = _object(body)
    if tree is None or tree.get("prompt_cache_key") is not None:
        return None
    return _with_field(body, "prompt_cache_key", _encode(key))


def with_cache_breakpoint(body: bytes, ttl: Literal["5m", "1h"] = "5m") -> bytes | None:
    """A Messages body whose stable prefix is to be cached: the last system block is marked, else the last tool.

    The prefix is cached in the order tools, system, messages, so one mark covers both. A system prompt that is a string
    becomes a block, for a string cannot be marked. None where nothing can be, or where the client set a breakpoint
    anywhere itself: it knows better, and four are all there may be.

    Source: Anthropic, "Prompt caching" (empty text blocks and tools that load later cannot be marked).
    """
    tree = _object(body)
    if tree is None or (has_markers(body) and any(block.get("cache_control") is not None for block in blocks_of(tree))):
        return None
    mark = _MARKER + (b'{"type":"ephemeral"}' if ttl == "5m" else b'{"type":"ephemeral","ttl":"1h"}')
    system, tools = tree.get("system"), tree.get("tools")
    if type(system) is str and system.strip():
        span = _last(_members(body, _start(body)), "system")
        block = b'[{"type":"text","text":' + body[span.start : span.end] + b"," + mark + b"}]"
        return body[: span.start] + block + body[span.end :]
    if type(system) is list and system:
        last = system[-1]
        text = last.get("text") if type(last) is dict else None
        return _with_mark(body, "system", -1, mark) if type(text) is str and text.strip() else None
    for at, tool in reversed(list(enumerate(tools))) if type(tools) is list else ():
        if type(tool) is dict and tool.get("defer_loading") is not True:
            return _with_mark(body, "tools", at, mark)
    return None


def _object(body: bytes) -> dict[str, Any] | None:
    """The decoded body; None if it is no JSON object. From here on the scanner may take it for sound."""
    try:
        tree = _decode(body)
    except UNREADABLE:
        return None
    return tree if type(tree) is dict else None


def _with_field(body: bytes, name: str, value: bytes) -> bytes | None:
    """The body with a top-level field: every one of that name replaced, or one added behind the last member."""
    if _object(body) is None:
        return None
    start = _start(body)
    members = _members(body, start)
    spans = [member for member in members if member.name == name]
    if not spans:
        return _inserted(body, start, members, _encode(name) + b":" + value)
    pieces, at = [], 0
    for span in spans:
        pieces += [body[at : span.start], value]
        at = span.end
    return b"".join([*pieces, body[at:]])


def _with_mark(body: bytes, field: str, index: int, mark: bytes) -> bytes:
    """The body with `mark` behind the last member of an object in the last array of that name."""
    array = _last(_members(body, _start(body)), field)
    item = _members(body, array.start)[index]
    members = _members(body, item.start)
    null = [member for member in members if member.name == "cache_control"]
    if null:  # set to null is as good as absent, and twice would not do
        value = mark[len(_MARKER) :]
        return body[: null[-1].start] + value + body[null[-1].end :]
    return _inserted(body, item.start, members, mark)


def _inserted(body: bytes, start: int, members: list[_Member], member: bytes) -> bytes:
    """The body with one more member in the object that opens at `start`."""
    if not members:
        return body[: start + 1] + member + body[start + 1 :]
    at = members[-1].end
    return body[:at] + b"," + member + body[at:]


def _last(members: list[_Member], name: str) -> _Member:
    """The one that decoding keeps when a name stands twice."""
    return next(member for member in reversed(members) if member.name == name)


def _start(body: bytes) -> int:
    return _skip(body, 0)


def _skip(body: bytes, at: int) -> int:
    """The next offset from `at` on that is no white space."""
    found = _SPACE.match(body, at)
    return found.end() if found else at


def _members(body: bytes, start: int) -> list[_Member]:
    """The members of the object or array that opens at `start`, in order; the body is sound JSON."""
    named = body[start : start + 1] == b"{"
    members: list[_Member] = []
    at = _skip(body, start + 1)
    while body[at : at + 1] not in (b"}", b"]", b""):
        name = ""
        if named:
            end = _end(body, at)
            name = _decode(body[at:end])
            at = _skip(body, _skip(body, end) + 1)  # over the colon
        end = _end(body, at)
        members.append(_Member(name, at, end))
        at = _skip(body, end)
        if body[at : at + 1] == b",":
            at = _skip(body, at + 1)
    return members


def _end(body: bytes, at: int) -> int:
    """Where the value that starts at `at` ends."""
    first = body[at : at + 1]
    if first == b'"':
        return _string_end(body, at)
    if first not in (b"{", b"["):
        word = _WORD.match(body, at)
        return word.end() if word else len(body)
    depth = 0
    while (found := _STRUCTURE.search(body, at)) is not None:
        byte = found[0]
        if byte == b'"':
            at = _string_end(body, found.start())
            continue
        at = found.end()
        depth += 1 if byte in b"{[" else -1
        if depth == 0:
            break
    return at


def _string_end(body: bytes, at: int) -> int:
    """Where the string that opens at `at` ends: at the first quote behind an even run of backslashes."""
    while (at := body.find(b'"', at + 1)) >= 0:
        run = at
        while body[run - 1] == _BACKSLASH:
            run -= 1
        if (at - run) % 2 == 0:
            return at + 1
    return len(body)
