"""Where the strings of a TOML file stand in it, character by character, so that they can be edited in place.

`tomllib` says what a value is, but not where it was written. This reads just enough of TOML's grammar (tables, keys,
the four kinds of strings) to find that out; whoever uses it checks the text against `tomllib`'s own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Spelled", "json_strings", "toml_strings"]

_KEY: Final = re.compile(
    r"""[ \t]*(?P<key>(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[ \t]*[\w-]+)*)[ \t]*=[ \t]*"""
)
_TABLE: Final = re.compile(r"[ \t]*\[+[ \t]*(?P<table>[^\]\n]+?)[ \t]*\]+")
_ESCAPE: Final = re.compile(
    r"\\(?:u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|x(?P<x>[0-9A-Fa-f]{2})|(?P<c>[btnfre\"\\/]))"
)
_CONTINUED: Final = re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*")
_PLAIN: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\", "/": "/"}
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Spelled(NamedTuple):
    """A string and how it is written: character i of `text` is written from `starts[i]` to `ends[i]` of the file."""

    text: str
    starts: list[int]
    ends: list[int]
    quote: str
    at: int
    """Where its first character is, or would be."""


def toml_strings(raw: str) -> dict[str, Spelled]:
    """Dotted key -> its string; keys with other values, and strings in arrays and inline tables, are left out."""
    found: dict[str, Spelled] = {}
    table, at = "", 1 if raw.startswith("\ufeff") else 0
    while at < len(raw):
        if header := _TABLE.match(raw, at):
            table, at = header["table"] + ".", header.end()
        elif entry := _KEY.match(raw, at):
            at = entry.end()
            if raw[at : at + 1] in ('"', "'"):
                string = _string(raw, at)
                found[table + entry["key"].strip("\"'")] = string
                at = (string.ends[-1] if string.ends else string.at) + len(string.quote)
            else:
                at = _skip(raw, at)
        at = _line_end(raw, at)
    return found


def json_strings(raw: str) -> Iterator[Spelled]:
    """Every string of a JSON text, keys included, in order."""
    for match in _JSON_STRING.finditer(raw):
        yield _spelled(raw, match.start() + 1, match.end() - 1, '"', escapes=True)


def _line_end(raw: str, at: int) -> int:
    """Behind the line's end."""
    end = raw.find("\n", at)
    return len(raw) if end < 0 else end + 1


def _skip(raw: str, at: int) -> int:
    """Behind a value that is no string: its brackets are closed, strings and comments in it are stepped over."""
    depth = 0
    while at < len(raw):
        char = raw[at]
        if char in "\"'":
            string = _string(raw, at)
            at = (string.ends[-1] if string.ends else string.at) + len(string.quote)
            continue
        if char == "#":
            at = _line_end(raw, at) - 1
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "\n" and depth <= 0:
            return at
        at += 1
    return at


def _string(raw: str, at: int) -> Spelled:
    quote = raw[at] * 3 if raw.startswith(raw[at] * 3, at) else raw[at]
    start = at + len(quote)
    escapes = quote[0] == '"'
    if len(quote) == 3:
        start += len(re.compile(r"\r?\n|").match(raw, start).group())  # type: ignore[union-attr] # it matches nothing, too
    end = start
    while end < len(raw) and not raw.startswith(quote, end):
        end += 2 if escapes and raw[end] == "\\" else 1
    while len(quote) == 3 and raw.startswith(quote, end + 1):
        end += 1  # up to two quotes may stand before the closing three
    return _spelled(raw, start, min(end, len(raw)), quote, escapes=escapes)


def _spelled(raw: str, start: int, end: int, quote: str, *, escapes: bool) -> Spelled:
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = start
    while at < end:
        if escapes and len(quote) == 3 and (gap := _CONTINUED.match(raw, at, end)):
            at = gap.end()
            continue
        char, width = raw[at], 1
        if escapes and (escape := _ESCAPE.match(raw, at, end)):
            code = escape["u"] or escape["U"] or escape["x"]
            char, width = chr(int(code, 16)) if code else _PLAIN[escape["c"]], len(escape.group())
        elif raw.startswith("\r\n", at):
            char, width = "\n", 2  # as tomllib reads it
        chars.append(char)
        starts.append(at)
        ends.append(at + width)
        at += width
    return Spelled("".join(chars), starts, ends, quote, start)
