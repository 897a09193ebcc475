"""What must be kept: marked passages, sections named by their heading, literal texts, lines by a pattern."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from headway.errors import ConfigError
from headway.prompts.context.layout import Heading, Span

__all__ = ["check_keep", "keep_spans", "unmarked"]

_TAG: Final = re.compile(r"</?keep>")
_PATTERN: Final = "re:"
_HEADED: Final = re.compile(r"(#{1,6})[ \t]+(\S.*)")


def check_keep(keep: Sequence[str], where: str = "keep") -> None:
    """Find out before the first row what is no rule.

    Raises:
        ConfigError: One is empty, or no regular expression.
    """
    for rule in keep:
        if not rule.removeprefix(_PATTERN).strip():
            raise ConfigError(f"{where} holds an empty rule; name a heading, a text, or re: and a regular expression")
        if rule.startswith(_PATTERN):
            try:
                re.compile(rule.removeprefix(_PATTERN))
            except re.error as error:
                raise ConfigError(f"{where}: {rule!r} is no regular expression: {error}") from None


def unmarked(text: str) -> tuple[str, list[Span]]:
    """The text without its ``<keep>`` and ``</keep>``, and what stood between them, as spans of that text.

    Of marks in one another the outermost count; a mark without a partner is text.
    """
    open_, pairs = [], {}
    for tag in _TAG.finditer(text):
        if tag[0] == "<keep>":
            open_.append(tag)
        elif open_:
            first = open_.pop()
            pairs[first.start()], pairs[tag.start()] = tag, first
    if not pairs:
        return text, []
    out, spans, at, length, depth, began = [], [], 0, 0, 0, 0
    for tag in _TAG.finditer(text):
        if tag.start() not in pairs:
            continue
        out.append(text[at : tag.start()])
        length += tag.start() - at
        at = tag.end()
        if tag[0] == "<keep>":
            began = began if depth else length
            depth += 1
        else:
            depth -= 1
            if not depth and length > began:
                spans.append((began, length))
    out.append(text[at:])
    return "".join(out), spans


def keep_spans(text: str, keep: Sequence[str], headings: Sequence[Heading]) -> Iterator[Span]:
    """Where the rules apply, in no order. A rule that applies nowhere keeps nothing."""
    for rule in keep:
        if rule.startswith(_PATTERN):
            yield from _lines(text, re.compile(rule.removeprefix(_PATTERN), re.MULTILINE))
        elif headed := _HEADED.fullmatch(rule.strip()):
            yield from _sections(text, len(headed[1]), headed[2].strip(), headings)
        else:
            at = text.find(rule)
            while at >= 0:
                yield at, at + len(rule)
                at = text.find(rule, at + len(rule))


def _lines(text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    """The lines in which the pattern is found."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        if pattern.search(text[at:end].rstrip("\r\n")):
            yield at, end
        at = end


def _sections(text: str, level: int, title: str, headings: Sequence[Heading]) -> Iterator[Span]:
    """The heading and all below it, up to the next one that is as high."""
    places = [heading.at for heading in headings]
    for heading in headings:
        if heading.level == level and heading.title.casefold() == title.casefold():
            behind = range(bisect_right(places, heading.at), len(headings))
            yield heading.at, next((headings[i].at for i in behind if headings[i].level <= level), len(text))
