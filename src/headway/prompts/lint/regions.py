"""What a text is made of: code, JSON, quotations, columns, tables and other layout that no fix may touch."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["LIST", "Kind", "Region", "json_view", "masked", "regions_of"]

Kind: TypeAlias = Literal["code", "json", "quote", "column", "layout"]

JSON_TRIES_MAX: Final = 500
"""Opening brackets of one text that are tried: prompts have dozens."""

_MASK: Final = "\x00"
_COLUMN: Final = re.compile(r"\$?\{\{\s*[^{}\"\n]{1,80}\s*\}\}|\{%[^\n]{1,200}?%\}|\$?\{[A-Za-z_][\w .\[\]'-]{0,60}\}")
_ONE_BRACE: Final = re.compile(r"(?<!\{)\{(?:\{\{)*[^{}\n]{1,200}\}")
_FENCE: Final = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_INLINE: Final = re.compile(r"(`+)(?!`)[^\n]+?(?<!`)\1(?!`)")
_HEREDOC: Final = re.compile(r'("""|\'\'\').*?\1', re.DOTALL)
_QUOTES: Final = re.compile(
    r'"(?:[^"\n]|\n(?![ \t]*\n)){1,1000}"'
    r"|(?<!\w)'[^'\n]{1,200}'(?!\w)"
    "|\u201c[^\u201d]{1,1000}\u201d|\u201e[^\u201c\u201d]{1,1000}[\u201c\u201d]|\u00ab[^\u00bb]{1,1000}\u00bb"
    "|\u300c[^\u300d]{1,1000}\u300d|\u2018[^\u2019\n]{1,200}\u2019(?!\\w)"
)
_BLOCKQUOTE: Final = re.compile(r"^[ \t]*>[^\n]*(?:\n[ \t]*>[^\n]*)*", re.MULTILINE)
_BLOCK: Final = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
LIST: Final = re.compile(r"[ \t]*(?P<mark>[-*+\u2022\u2013]|(?P<number>\d{1,3}[.)]))[ \t]+")
"""What a list item begins with."""

_KEYED: Final = re.compile(r"[ \t]*(?:- )?[\w.-]+:(?:\s|$)")
_SENTENCE_END: Final = re.compile(r"[.!?:\u3002\uff01\uff1f\uff1a][\"')\]\x00]*$")
_CODE_END: Final = re.compile(r"[{};\\(]$|\\$")
_RUN: Final = re.compile(r"\S(?P<run>[ \t]{2,})\S")
_SHORT_CHARS: Final = 50


class Region(NamedTuple):
    """Characters `start` to `end` of a text."""

    start: int
    end: int
    kind: Kind


def regions_of(text: str, *, template: bool) -> list[Region]:
    """Every protected stretch of a text, in order; they do not overlap.

    Args:
        text: A prompt.
        template: Whether it is a task's template, in which "{{" is a literal brace.
    """
    found: list[Region] = []
    hidden = text

    def add(spans: Iterator[tuple[int, int]] | list[tuple[int, int]], kind: Kind) -> None:
        nonlocal hidden
        new = [Region(start, end, kind) for start, end in spans if _MASK not in hidden[start:end]]
        found.extend(new)
        hidden = masked(hidden, new)

    add(_fences(text), "code")
    add(_json_values(hidden, template=template), "json")
    add((match.span() for match in _HEREDOC.finditer(hidden)), "quote")
    add((match.span() for match in _BLOCKQUOTE.finditer(hidden)), "quote")
    add((match.span() for match in _INLINE.finditer(hidden)), "code")
    add(list(_columns(hidden, template=template)), "column")
    add((match.span() for match in _QUOTES.finditer(hidden)), "quote")
    found.sort()
    return sorted(found + list(_layout(hidden, found)))


def masked(text: str, regions: list[Region]) -> str:
    """The text with regions overwritten by NUL, line ends excepted: as long as before, line by line."""
    pieces, at = [], 0
    for region in sorted(regions):
        pieces.append(text[at : region.start])
        pieces.append(re.sub(r"[^\n]", _MASK, text[region.start : region.end]))
        at = max(at, region.end)
    return "".join([*pieces, text[at:]])


def json_view(text: str, *, template: bool) -> str:
    """The text as JSON might read it, as long as before: columns are numbers, doubled braces single ones."""
    if template or re.search(r"\{\{\s*[\"\n]", text):
        text = re.sub(r"\{\{|\}\}|\{[^{}\n]*\}", _single, text)
    return re.sub(r"\{[A-Za-z_]\w*\}", lambda match: "0".ljust(len(match.group())), text)


def _single(match: re.Match[str]) -> str:
    found = match.group()
    if found in ("{{", "}}"):
        return found[0] + " "
    return "0".ljust(len(found))


def _fences(text: str) -> Iterator[tuple[int, int]]:
    start, mark = -1, ""
    for match in _FENCE.finditer(text):
        if start < 0:
            start, mark = match.start(), match["mark"]
        elif match["mark"].startswith(mark) and match.group().strip() == match["mark"]:
            yield start, match.end()
            start = -1
    if start >= 0:
        yield start, len(text)


def _columns(hidden: str, *, template: bool) -> Iterator[tuple[int, int]]:
    pattern = _ONE_BRACE if template else _COLUMN
    return (match.span() for match in pattern.finditer(hidden))


def _json_values(hidden: str, *, template: bool) -> Iterator[tuple[int, int]]:
    """Objects with a key, and arrays with a text or an object in them."""
    view = json_view(hidden, template=template)
    decoder, at = json.JSONDecoder(strict=False), 0
    for _ in range(JSON_TRIES_MAX):
        opening = re.compile(r"[{\[]").search(view, at)
        if opening is None:
            return
        at = opening.start() + 1
        try:
            value, end = decoder.raw_decode(view, opening.start())
        except (ValueError, RecursionError):
            continue
        if value and (isinstance(value, dict) or any(isinstance(one, str | dict | list) for one in value)):
            if hidden.startswith("}", end) and view[end - 1 : end] == "}" and hidden.startswith("}}", end - 1):
                end += 1  # the second half of a doubled brace
            yield opening.start(), end
            at = end


def _layout(hidden: str, found: list[Region]) -> Iterator[Region]:
    """Blocks of lines whose white space and repetitions mean something: code, tables, data, verse, columns."""
    before = ""
    for match in _BLOCK.finditer(hidden):
        lines = match.group().split("\n")
        if _indented_code(lines, before) or _is_layout([line for line in lines if line.strip(_MASK + " \t")]):
            yield from _between(found, match.start(), match.end())
        before = lines[-1]


def _between(found: list[Region], start: int, end: int) -> Iterator[Region]:
    """The stretch without what is protected already."""
    at = bisect_right(found, start, key=lambda region: region.end)
    for region in found[at:]:
        if region.start >= end:
            break
        if region.start > start:
            yield Region(start, region.start, "layout")
        start = max(start, region.end)
    if start < end:
        yield Region(start, end, "layout")


def _indented_code(lines: list[str], before: str) -> bool:
    """Four spaces or a tab in front of every line, and no list above it that goes on."""
    indented = all(line.startswith(("    ", "\t")) for line in lines)
    return indented and not LIST.match(before) and not LIST.match(lines[0]) and not before.startswith(("  ", "\t"))


def _is_layout(lines: list[str]) -> bool:
    many = len(lines)
    if many < 2:
        return False
    half = many / 2
    if sum(line.count("|") >= 2 or "\t" in line.strip() for line in lines) > half:
        return True
    if sum(bool(_CODE_END.search(line.rstrip())) for line in lines) > half or _aligned(lines):
        return True
    if many < 3:
        return False
    if sum(bool(_KEYED.match(line)) for line in lines) >= 0.6 * many or _is_csv(lines):
        return True
    listed = sum(bool(LIST.match(line)) for line in lines)
    short = sum(map(len, lines)) < _SHORT_CHARS * many
    ended = sum(bool(_SENTENCE_END.search(line.rstrip())) for line in lines)
    return not listed and short and ended <= half


def _is_csv(lines: list[str]) -> bool:
    counts = {line.count(",") for line in lines[-3:]}
    return len(counts) == 1 and counts.pop() >= 2 and not any(", " in line for line in lines[-3:])


def _aligned(lines: list[str]) -> bool:
    """Two lines in a row, most of whose wide gaps end at the same columns."""
    ends = [{match.end("run") for match in _RUN.finditer(line)} for line in lines]
    return any(2 * len(one & other) > len(one | other) for one, other in pairwise(ends))
