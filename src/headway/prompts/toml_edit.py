"""TOML files as texts that can be edited in place: where each value stands, and how a value is written.

`tomllib` says what a value is, but not where it was written. This reads just enough of TOML's grammar (tables, keys,
where values end) to find that out; whoever uses it checks the text against `tomllib`'s own reading. Keys are dotted,
and their parts stand without quotes wherever TOML needs none: "output.labels", 'run."a b"'.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any, Final, NamedTuple

__all__ = ["Span", "Spans", "Spelled", "encoded", "json_strings", "put", "spans_of", "toml_strings", "with_value"]

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_NAME: Final = rf"(?P<key>{_PART}(?:[ \t]*\.[ \t]*{_PART})*)"
_HEADER: Final = re.compile(rf"[ \t]*\[\[?[ \t]*{_NAME}[ \t]*\]")
_KEY: Final = re.compile(rf"[ \t]*{_NAME}[ \t]*=[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_QUOTES: Final = ('"', "'")
_ESCAPE: Final = re.compile(
    r"\\(?:u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|x(?P<x>[0-9A-Fa-f]{2})|(?P<c>[btnfre\"\\/]))"
)
_CONTINUED: Final = re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*")
_PLAIN: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\", "/": "/"}
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_WIDTH: Final = 118


class Span(NamedTuple):
    """A value's characters, and those of the lines it takes with its key."""

    start: int
    end: int
    line_start: int
    line_end: int


class Spans(NamedTuple):
    """All values by dotted key, and where each table's keys end ("" is the one at the top)."""

    values: dict[str, Span]
    table_ends: dict[str, int]


class Spelled(NamedTuple):
    """A string and how it is written: character i of `text` is written from `starts[i]` to `ends[i]` of the file."""

    text: str
    starts: list[int]
    ends: list[int]
    quote: str
    at: int
    """Where its first character is, or would be."""


# -- where values stand ------------------------------------------------------------------------------------------------


def spans_of(text: str) -> Spans:
    """Find them in a text that is valid TOML; what stands in arrays and inline tables is not looked into."""
    table, at = "", 1 if text.startswith("\ufeff") else 0
    values: dict[str, Span] = {}
    ends = {"": at}
    while at < len(text):
        line_start, line_end = at, _line_end(text, at)
        if header := _HEADER.match(text, at, line_end):
            table = _dotted(header["key"])
            ends[table] = line_end
        elif entry := _KEY.match(text, at, line_end):
            end = _value_end(text, entry.end())
            line_end = _line_end(text, end)
            name = _dotted(entry["key"])
            values[f"{table}.{name}" if table else name] = Span(entry.end(), end, line_start, line_end)
            ends[table] = line_end
        at = line_end
    return Spans(values, ends)


def toml_strings(text: str) -> dict[str, Spelled]:
    """Dotted key -> its string; keys with other values, and strings in arrays and inline tables, are left out."""
    values = spans_of(text).values.items()
    return {key: _string(text, span.start) for key, span in values if text[span.start : span.start + 1] in _QUOTES}


def json_strings(text: str) -> Iterator[Spelled]:
    """Every string of a JSON text, keys included, in order."""
    for match in _JSON_STRING.finditer(text):
        yield _spelled(text, match.start() + 1, match.end() - 1, '"', escapes=True)


def _dotted(name: str) -> str:
    """A key as it is looked up."""
    parts = re.findall(_PART, name)
    return ".".join(part[1:-1] if part[0] in _QUOTES and _BARE.fullmatch(part[1:-1]) else part for part in parts)


def _line_end(text: str, at: int) -> int:
    """Behind the line's end."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, at: int) -> int:
    """Behind the value that starts at `at`."""
    depth = 0
    start = at
    while at < len(text):
        char = text[at]
        if char in _QUOTES:
            _, end, quote = _string_bounds(text, at)
            at = end + len(quote)
            if depth == 0:
                return at
            continue
        if char == "#" and depth:
            at = _line_end(text, at)
            continue
        if depth == 0 and char in "#\n":
            break
        depth += (char in "[{") - (char in "]}")
        at += 1
        if depth == 0 and char in "]}":
            return at
    return start + len(text[start:at].rstrip())


def _string_bounds(text: str, at: int) -> tuple[int, int, str]:
    """Where a string's characters begin and end, and its quote."""
    quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
    start = at + len(quote)
    if len(quote) == 3:  # a line end right behind it is not the string's
        start += 2 if text.startswith("\r\n", start) else int(text.startswith("\n", start))
    end = start
    while end < len(text) and not text.startswith(quote, end):
        end += 2 if quote[0] == '"' and text[end] == "\\" else 1
    while len(quote) == 3 and text.startswith(quote, end + 1):
        end += 1  # up to two quotes may stand before the closing three
    return start, min(end, len(text)), quote


def _string(text: str, at: int) -> Spelled:
    start, end, quote = _string_bounds(text, at)
    return _spelled(text, start, end, quote, escapes=quote[0] == '"')


def _spelled(text: str, start: int, end: int, quote: str, *, escapes: bool) -> Spelled:
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = start
    while at < end:
        if escapes and len(quote) == 3 and (gap := _CONTINUED.match(text, at, end)):
            at = gap.end()
            continue
        char, width = text[at], 1
        if escapes and (escape := _ESCAPE.match(text, at, end)):
            code = escape["u"] or escape["U"] or escape["x"]
            char, width = chr(int(code, 16)) if code else _PLAIN[escape["c"]], len(escape.group())
        elif text.startswith("\r\n", at):
            char, width = "\n", 2  # as tomllib reads it
        chars.append(char)
        starts.append(at)
        ends.append(at + width)
        at += width
    return Spelled("".join(chars), starts, ends, quote, start)


# -- how values are written --------------------------------------------------------------------------------------------


def with_value(text: str, key: str, value: Any) -> str:
    """The text with another value; only its characters change.

    A key that is not there yet goes below the keys of its table, and a table that is not there to the end.

    Args:
        text: Valid TOML, with plain line feeds.
        key: Dotted, of at most two parts.
        value: As for `encoded`; None takes the key out.
    """
    spans = spans_of(text)
    if span := spans.values.get(key):
        if value is None:
            return text[: span.line_start] + text[span.line_end :]
        return text[: span.start] + encoded(value, text[span.start : span.end]) + text[span.end :]
    parent, _, last = key.rpartition(".")
    if span := spans.values.get(parent):  # an inline table
        table = tomllib.loads(text)[parent]
        put(table, last, value)
        return text[: span.start] + encoded(table) + text[span.end :]
    return text if value is None else _added(text, spans, parent, f"{last} = {encoded(value)}\n")


def put(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of a table that was read; None takes it out."""
    *front, last = key.split(".")
    for part in front:
        table = table.setdefault(part, {})
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


def encoded(value: Any, before: str = "") -> str:
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
        pairs = (f"{_name(key)} = {encoded(one)}" for key, one in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(encoded, value)) + "]"
    return str(value.isoformat()) if isinstance(value, date | time) else repr(value)


def _added(text: str, spans: Spans, table: str, line: str) -> str:
    at = spans.table_ends.get(table)
    if at is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}\n[{table}]\n{line}"
    gap = "" if at == 0 or text[at - 1] == "\n" else "\n"
    return text[:at] + gap + line + text[at:]


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
