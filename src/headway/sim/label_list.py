"""The list of labels in a prompt, however it is written: inline, in bullets with or without descriptions, as JSON."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

__all__ = ["find_labels"]

_LEAD: Final = re.compile(
    r"\b(?:one of(?: (?:the following|the|these|those|following)){0,3}(?: \d{1,4})?(?: [a-z]{1,20}){0,2}"
    r"|(?:labels?|categor(?:y|ies)|class(?:es)?|intents?|options?|topics?)(?: list| names?)?(?: are| is)?)"
    r" ?(?P<colon>[:=]|\()\s{0,8}",
    re.IGNORECASE,
)
_BARE: Final = re.compile(
    r"\b(?:one of|into|as|either|(?:is|are) (?:this|it|these|the \w{1,20}))(?: one of| either)? "
    r"(?P<list>[\w'\"`-]{1,40}(?: [\w'\"`-]{1,40}){0,2}(?:, [\w'\"` -]{1,40}){0,50}"
    r",? or [\w'\"`-]{1,40}(?: [\w'\"`-]{1,40}){0,2})",
    re.IGNORECASE,
)
_CHOICE: Final = re.compile(r"\b(?:classif|categori|label|decide|choose|pick|sentiment|route|is (?:this|it|the))", re.I)
_LINE: Final = re.compile(r"[ \t]*(?:[-*\u2022]|\d{1,3}[.)])[ \t]+(?P<body>[^\n]+)")
_NAME: Final = re.compile(r"[\"'`*]*(?P<name>[^\"'`*:–—]{1,60}?)[\"'`*]* ?(?:(?::|- |– |— ) ?(?P<hint>.+))?")
_EDGE: Final = " \t\r\n\"'`*"
_LABELS_MAX: Final = 1_000
_WORDS_MAX: Final = 6
_LISTS_MAX: Final = 50
_LIST_CHARS_MAX: Final = 40_000


def find_labels(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The longest list of two or more labels in the text, and their descriptions; empty when there is none."""
    best: tuple[tuple[str, ...], dict[str, str]] = ((), {})
    for lead in islice(_LEAD.finditer(text), _LISTS_MAX):
        rest = text[lead.end() : lead.end() + _LIST_CHARS_MAX]
        found = _lines(rest) or (_inline(rest, closing=lead["colon"] == "("), {})
        if len(found[0]) > len(best[0]):
            best = found
    if not best[0] and _CHOICE.search(text):
        for bare in islice(_BARE.finditer(text), _LISTS_MAX):
            names = _split(bare["list"])
            if len(names) > len(best[0]):
                best = (names, {})
    return best


def _lines(rest: str) -> tuple[tuple[str, ...], dict[str, str]] | None:
    """Bullets, one label each, that follow at once."""
    names: list[str] = []
    hints: dict[str, str] = {}
    for line in rest.lstrip("\n").split("\n"):
        bullet = _LINE.match(line)
        if bullet is None:
            break
        named = _NAME.fullmatch(bullet["body"].strip())
        if named is None or len(names) >= _LABELS_MAX or len(named["name"].split()) > _WORDS_MAX:
            break
        name = named["name"].strip(_EDGE)
        names.append(name)
        if named["hint"]:
            hints[name] = named["hint"]
    return (tuple(names), hints) if len(names) > 1 else None


def _inline(rest: str, *, closing: bool) -> tuple[str, ...]:
    """Everything up to the end of the sentence, of the line or of the brackets."""
    if rest[:1] in "[{(":
        end = rest.find({"[": "]", "{": "}", "(": ")"}[rest[:1]]) if rest else -1
        return _split(rest[1:end]) if end > 0 else ()
    if closing:
        return _split(rest[: rest.find(")")]) if ")" in rest else ()
    stop = re.search(r"\.(?:\s|\Z)|\n|; (?=[A-Z])", rest)
    return _split(rest[: stop.start()] if stop else rest)


def _split(listed: str) -> tuple[str, ...]:
    """The members of "a, b, or c", "a | b", "a / b", "a; b"; empty when they are no labels."""
    for mark in ("|", ";", ",", " / ", "/"):
        if mark in listed:
            parts = listed.split(mark)
            break
    else:
        parts = re.split(r"\s(?:or|and)\s", listed)
    *front, last = (re.sub(r"^ ?(?:or|and) ", "", part) for part in parts)
    names = [*front, *re.split(r"\sor\s", last)]
    cleaned = tuple(dict.fromkeys(name.strip(_EDGE).rstrip(".") for name in names if name.strip(_EDGE)))
    fits = len(cleaned) > 1 and all(len(n.split()) <= _WORDS_MAX and len(n) <= 60 for n in cleaned)
    return cleaned[:_LABELS_MAX] if fits else ()
