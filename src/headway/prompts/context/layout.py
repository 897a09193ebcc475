"""A text's structure: what may not be cut, its headings, and the places where the rest may be cut.

Fenced code blocks (that are closed) and JSON objects and arrays go whole or not at all. All else may be cut, at
the largest unit that does: paragraphs, then sentences, words, graphemes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from headway.prompts.context.graphemes import JOINS, after, before, ends
from headway.prompts.context.regexes import pattern

__all__ = ["LEVELS", "Heading", "Part", "Span", "cuts", "hard_spans", "headings", "merged", "parts_of"]

Span = tuple[int, int]

LEVELS: Final = ("paragraph", "sentence", "word", "grapheme")
"""From the largest unit to the smallest."""
_FENCE: Final = re.compile(r"[ \t>]*(`{3,}|~{3,})([^\n]*)")
_JSON: Final = re.compile(r'\{\s*["}]|\[\s*["\[{\d\-\]tfn]')
_JSON_DEPTH_COST: Final = 5_000
_JSON_STEP: Final = 16_384
_HEADING: Final = re.compile(
    r"^ {0,3}(#{1,6})[ \t]+(\S[^\n]*)$"
    r"|^(?=\S)([^\n]{1,120})\n(=+|-{2,})[ \t]*\r?$"
    r"|^((?:CHAPTER|Chapter|PART|Part|SECTION|Section|ARTICLE|Article|APPENDIX|Appendix)"
    r"[ \t]+(?:[IVXLCDM]+|\d+|[A-Z])(?:[:.][^\n]{0,80})?)\r?$",
    re.MULTILINE,
)
_CUTS: Final = {
    "paragraph": r"\r?\n(?:[ \t]*+\r?\n)++",
    "sentence": r"""(?:(?<![.!?…])[.!?…]++["'”’»)\]]*+\s++|[。！？｡]++["'”’»」』）)\]]*+\s*+)"""
    r"|\n(?=[ \t]*+(?:[-*+•|]|\d{1,3}[.)])[ \t])",
    "word": r"\s++",
}


class Heading(NamedTuple):
    """A heading: where it stands, how deep it is (1 is the top), and what it says."""

    at: int
    level: int
    title: str


class Part(NamedTuple):
    """A stretch of the text; a hard one may not be cut, one to keep has to stay."""

    start: int
    end: int
    hard: bool
    keep: bool = False


def hard_spans(text: str) -> list[Span]:
    """Closed fenced code blocks and JSON objects and arrays, in order."""
    fences = list(_fences(text))
    spans: list[Span] = []
    at = 0
    for start, end in [*fences, (len(text), len(text))]:
        spans += _json(text, at, start)
        if end > start:
            spans.append((start, end))
        at = end
    return spans


def _fences(text: str) -> Iterator[Span]:
    """Fences by CommonMark's rules, at any indentation. One that is never closed is no block."""
    lines: list[tuple[int, int, str, str]] = []
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        found = _FENCE.match(text, at, end)
        if found is not None:
            lines.append((at, end, found[1], found[2].strip()))
        at = end
    behind: list[dict[str, int]] = []  # for each line, the longest fence behind it that could close one
    longest = {"`": 0, "~": 0}
    for _, _, ticks, info in reversed(lines):
        behind.append(dict(longest))
        if not info:
            longest[ticks[0]] = max(longest[ticks[0]], len(ticks))
    opened, mark = -1, ""
    for (start, end, ticks, info), closers in zip(lines, reversed(behind), strict=True):
        if opened < 0:
            inline = ticks[0] == "`" and "`" in info
            if not inline and closers[ticks[0]] >= len(ticks):
                opened, mark = start, ticks
        elif ticks.startswith(mark) and not info:
            yield opened, end
            opened = -1


def _json(text: str, start: int, end: int) -> Iterator[Span]:
    """JSON objects and arrays. The work that failures cost is bounded: behind thousands of brackets, none is found."""
    part = text[start:end]
    decoder, at, left = json.JSONDecoder(), 0, 8 * len(part) + 100_000
    step = max(_JSON_STEP, len(part) // 64)
    while left > 0 and (found := _JSON.search(part, at)) is not None:
        at = found.start()
        if at > step:  # a failure counts the lines in front of it
            part, start, at = part[at:], start + at, 0
        try:
            _, stop = decoder.raw_decode(part, at)
        except json.JSONDecodeError as error:
            unended = error.msg.startswith("Unterminated")
            left -= (len(part) if unended else error.pos) - at + 100
            at += 1
        except (RecursionError, ValueError):  # too deep, or a number of too many digits
            left -= _JSON_DEPTH_COST
            at += 1
        else:
            yield start + at, start + stop
            at = stop


def headings(text: str, hard: Iterable[Span]) -> list[Heading]:
    """Markdown's headings, and lines such as ``CHAPTER IV: A MARKET``, outside of what is hard."""
    found, at = [], 0
    for start, end in [*hard, (len(text), len(text))]:
        for match in _HEADING.finditer(text, at, start):
            level = len(match[1]) if match[1] else 2 if match[4] and match[4][0] == "-" else 1
            title = match[2] or match[3] or match[5]
            found.append(Heading(match.start(), level, title.strip().rstrip("#").rstrip()))
        at = end
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same ground in order, without overlaps."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        elif end > start:
            out.append((start, end))
    return out


def parts_of(text: str, hard: list[Span], keep: list[Span]) -> list[Part]:
    """The whole text in parts. What has to be kept takes the blocks that it touches with it."""
    kept = [(before(text, start), after(text, end)) for start, end in merged(keep)]
    whole = [(before(text, start), after(text, end)) for start, end in hard]
    parts: list[Part] = []
    at, k = 0, 0
    for start, end in merged([*kept, *whole]):
        if start > at:
            parts.append(Part(at, start, hard=False))
        while k < len(kept) and kept[k][1] <= start:
            k += 1
        parts.append(Part(start, end, hard=True, keep=k < len(kept) and kept[k][0] < end))
        at = end
    if at < len(text):
        parts.append(Part(at, len(text), hard=False))
    return parts


def cuts(text: str, start: int, end: int, level: str) -> list[int]:
    """The places behind which ``text[start:end]`` may be cut at this level, in order, `end` being the last."""
    if level == "grapheme":
        return ends(text, start, end)
    free = pattern(JOINS)  # looked at here: in the patterns, each start in a long run would be tried in vain
    places = {at for match in pattern(_CUTS[level]).finditer(text, start, end) if free.match(text, at := match.end())}
    if level == "paragraph":
        places.update(match.start() for match in _HEADING.finditer(text, start, end))
    places -= {start}
    return sorted(places | {end})
