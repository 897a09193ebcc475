"""Where the values of a TOML text stand, and how a value is written: enough for editing one in place."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["Span", "Spans", "encoded", "spans_of"]

_HEADER: Final = re.compile(r"[ \t]*\[\[?[ \t]*([^\]\n]+?)[ \t]*\]\]?")
_KEY: Final = re.compile(r"[ \t]*([A-Za-z0-9_.\"' -]+?)[ \t]*=[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH: Final = 118


class Span(msgspec.Struct, frozen=True):
    """A value's characters, and those of the lines it takes with its key."""

    start: int
    end: int
    line_start: int
    line_end: int


class Spans(msgspec.Struct, frozen=True):
    """All values by dotted key, and where each table's keys end ("" is the one at the top)."""

    values: dict[str, Span]
    table_ends: dict[str, int]


def spans_of(text: str) -> Spans:
    """Find them in a text that is valid TOML."""
    values: dict[str, Span] = {}
    ends: dict[str, int] = {"": 0}
    table, at = "", 0
    while at < len(text):
        line_end = _line_end(text, at)
        if header := _HEADER.match(text, at, line_end):
            table = re.sub(r"[\s\"']", "", header[1])
            ends[table] = at = line_end
            continue
        key = _KEY.match(text, at, line_end)
        if key is None or text[at:line_end].lstrip()[:1] in ("#", ""):
            at = line_end
            continue
        end = _value_end(text, key.end())
        line_end = _line_end(text, end)
        name = re.sub(r"[\s\"']", "", key[1])
        values[f"{table}.{name}" if table else name] = Span(key.end(), end, at, line_end)
        ends[table] = at = line_end
    return Spans(values, ends)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, at: int) -> int:
    """Behind the value that starts at `at`."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            at = _string_end(text, at)
            if depth == 0:
                return at
            continue
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
            if depth == 0:
                return at + 1
        elif char == "#" or (char == "\n" and depth == 0):
            if depth == 0:
                break
            at = _line_end(text, at)
            continue
        at += 1
    return len(text[:at].rstrip())


def _string_end(text: str, at: int) -> int:
    quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
    at += len(quote)
    while at < len(text):
        if text[at] == "\\" and quote[0] == '"':
            at += 2
            continue
        if text.startswith(quote, at):
            at += len(quote)
            while len(quote) == 3 and text.startswith(quote[0], at):
                at += 1  # up to two quotes may stand before the closing ones
            return at
        at += 1
    return at


def encoded(value: Any, before: str) -> str:
    """A value as TOML; texts of several lines, and those that were, stand between triple quotes.

    Args:
        value: Text, bool, number, list or mapping.
        before: How the value that it replaces was written; "" for none.
    """
    if isinstance(value, str):
        long = "\n" in value or before.startswith(('"""', "'''")) or len(value) > _WIDTH
        return _block(value) if long else _line(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = (f"{_name(key)} = {encoded(one, 'inline')}" for key, one in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(encoded(one, "inline") for one in value) + "]"
    return repr(value)


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _line(key)


def _line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _block(text: str) -> str:
    """Between triple quotes; long lines are wrapped with a backslash, which TOML takes out again."""
    lines = []
    for line in text.split("\n"):
        safe = _line(line)[1:-1].replace('\\"', '"').replace('""', '"\\"')
        safe = safe[:-1] + '\\"' if safe.endswith('"') else safe
        plain = len(safe) > _WIDTH and "  " not in safe and safe == safe.strip() and "\\" not in safe
        lines.append(
            " \\\n".join(textwrap.wrap(safe, _WIDTH - 2, break_on_hyphens=False, break_long_words=False))
            if plain
            else safe
        )
    return '"""\n' + "\n".join(lines) + '"""'
