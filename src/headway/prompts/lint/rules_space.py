"""Rules on white space: pretty-printed JSON, ends of lines, wide gaps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.passages import Text
from headway.prompts.lint.regions import LIST, json_view
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source
from headway.wire.tokens import count_tokens

__all__ = ["RULES"]

_TRAILING: Final = re.compile(r"(?<![ \t])[ \t]+(?=\r?\n|\Z)")
_WIDE: Final = re.compile(r"(?<=\S)[ \t]{2,}(?=[^\s|])")
_EMPTY_LINES: Final = re.compile(r"(?<=\n)[ \t\r]*\n(?P<surplus>(?:[ \t\r]*\n)+)")
_LAYOUT_WISHED: Final = re.compile(
    r"indent|pretty[- ]?print|white ?space|line breaks|exactly (?:as|like|this|in this)|same (?:layout|format)|"
    r"einger\u00fcckt|einr\u00fcckung|sangr\u00eda",
    re.IGNORECASE,
)
_MEMBER: Final = re.compile(r"[\"'\w][ \t]*[:=][ \t]*\Z|,[ \t]*\Z")
_NEAR_CHARS: Final = 160
_SAVED_MIN: Final = 4


def _pretty_json(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        for region in text.regions:
            if region.kind != "json" or "\n" not in text.text[region.start : region.end]:
                continue
            if _MEMBER.search(text.text[max(0, region.start - 80) : region.start]):
                continue  # a part of something larger that is no JSON
            if _LAYOUT_WISHED.search(text.text[max(0, region.start - _NEAR_CHARS) : region.start]):
                continue
            before = text.text[region.start : region.end]
            after = _minified(text, region.start, region.end)
            if len(before) - len(after) < _SAVED_MIN:
                continue
            yield Hit(
                message=f"JSON over {before.count(chr(10)) + 1} lines; the model reads it as well on one",
                key=text.key,
                start=region.start,
                end=region.end,
                fix=Edit(key=text.key, start=region.start, end=region.end, replacement=after),
            )


def _pretty_json_in_code(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        for region in text.regions:
            if region.kind != "code":
                continue
            inner = text.text[region.start : region.end]
            opening = re.search(r"^[ \t]*(?P<at>[{\[])[^\n]*\n", inner, re.MULTILINE)
            if opening is None:
                continue
            at = opening.start("at")
            try:
                value, end = json.JSONDecoder(strict=False).raw_decode(json_view(inner, template=text.template), at)
            except (ValueError, RecursionError):
                continue
            short = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            if not isinstance(value, dict | list) or end - at - len(short) < 2 * _SAVED_MIN:
                continue
            yield Hit(
                message="JSON over several lines in a code block: a sample of this shape is answered in this shape",
                key=text.key,
                start=region.start + at,
                end=region.start + end,
                input_tokens=max(0, count_tokens(inner[at:end], source.model) - count_tokens(short, source.model)),
            )


def _minified(text: Text, start: int, end: int) -> str:
    """A JSON value without the white space outside its texts; numbers, names and escapes as they were spelled."""
    view = json_view(text.text, template=text.template)
    kept, in_text, escaped = [], False, False
    for at in range(start, end):
        char = text.text[at]
        if in_text:
            in_text, escaped = escaped or view[at] != '"', view[at] == "\\" and not escaped
        elif view[at] == '"':
            in_text = True
        elif char.isspace():
            continue
        kept.append(char)
    return "".join(kept)


def _trailing(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        for match in _TRAILING.finditer(text.text):
            if text.within(match.start(), match.end(), "code", "quote", "json") or _ends_in_column(text, match):
                continue
            yield Hit(
                message="white space at the end of the line",
                key=text.key,
                start=match.start(),
                end=match.end(),
                fix=Edit(key=text.key, start=match.start(), end=match.end()),
            )


def _ends_in_column(text: Text, match: re.Match[str]) -> bool:
    """Space behind the text's last word: a prompt that is continued ("Answer: ") may want it."""
    return match.end() == len(text.text) and text.text[: match.start()].rstrip().endswith((":", "=", ">"))


def _wide(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        for match in _WIDE.finditer(text.text):
            line_start = text.text.rfind("\n", 0, match.start()) + 1
            if LIST.fullmatch(text.text[line_start : match.end()]):
                continue
            yield from _surplus(text, match.start() + 1, match.end(), "more than one space between two words")
        for match in _EMPTY_LINES.finditer(text.text):
            start, end = match.span("surplus")
            yield from _surplus(text, start, end, "more than one empty line")


def _surplus(text: Text, start: int, end: int, message: str) -> Iterator[Hit]:
    """White space that can go, but for the first of it: unless what it stands in is layout."""
    gap = text.text[start - 1 : end]
    if text.within(start - 1, end, "code", "quote", "json", "layout", "column"):
        return
    fix = Edit(key=text.key, start=start, end=end)
    if "\n" not in gap and gap[0] == "\t":
        fix = Edit(key=text.key, start=start - 1, end=end, replacement=" ")
    yield Hit(message=message, key=text.key, start=start, end=end, fix=fix)


RULES: Final = (
    Rule(
        id="HW101",
        name="pretty-json",
        tier="auto",
        title="JSON spread over lines",
        reason="Indentation is paid for as tokens and tells a model nothing; minified JSON takes about a third less "
        "(measured: -32 %).",
        find=_pretty_json,
    ),
    Rule(
        id="HW102",
        name="trailing-space",
        tier="auto",
        title="white space at the ends of lines",
        reason="It is paid for, says nothing, and makes two prompts differ that look the same, so that caches miss.",
        find=_trailing,
    ),
    Rule(
        id="HW103",
        name="wide-space",
        tier="auto",
        title="several spaces or empty lines in a row",
        reason="It is paid for, says nothing, and makes two prompts differ that look the same, so that caches miss.",
        find=_wide,
    ),
    Rule(
        id="HW105",
        name="pretty-json-in-code",
        tier="suggest",
        title="JSON spread over lines in a code block",
        reason="A sample is imitated: answers come indented as well, and output is the dear and slow part. Code is "
        "never edited for you.",
        find=_pretty_json_in_code,
    ),
)
