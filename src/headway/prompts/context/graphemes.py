"""Where text may be cut without cutting what a reader sees as one character (a grapheme, Unicode's UAX 29)."""

from __future__ import annotations

from headway.prompts.context.regexes import pattern

__all__ = ["JOINS", "after", "before", "ends"]

JOINS = r"(?![\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}])"
"""Behind white space or a full stop: what follows is not joined to it."""
_SAFE = r"(?<![\r\p{GCB=Prepend}])[\x00-\x7f\p{White_Space}\p{Han}\p{Hiragana}\p{Katakana}](?!\p{GCB=Extend})"
_STEP = 64


def after(text: str, at: int) -> int:
    """The first grapheme boundary at or behind `at`."""
    if at <= 0 or at >= len(text) or _plain(text, at):
        return min(max(at, 0), len(text))
    for match in pattern(r"\X").finditer(text, _begin(text, at)):
        if match.end() >= at:
            return int(match.end())
    return len(text)


def before(text: str, at: int) -> int:
    """The last grapheme boundary at or before `at`."""
    if at <= 0 or at >= len(text) or _plain(text, at):
        return min(max(at, 0), len(text))
    begin = _begin(text, at)
    for match in pattern(r"\X").finditer(text, begin):
        if match.end() == at:
            return at
        if match.end() > at:
            return int(match.start())
    return begin


def ends(text: str, start: int, end: int) -> list[int]:
    """Every grapheme's end in ``text[start:end]``; both are boundaries."""
    return [match.end() for match in pattern(r"\X").finditer(text, start, end)]


def _plain(text: str, at: int) -> bool:
    """Whether there is surely a boundary: two ASCII characters meet, and they are no CR LF."""
    return text[at].isascii() and text[at - 1].isascii() and text[at - 1 : at + 1] != "\r\n"


def _begin(text: str, at: int) -> int:
    """A boundary before `at`, near it: where a character stands that joins nothing in front of it."""
    safe, begin = pattern(_SAFE), at
    while begin > 0:
        begin = max(0, begin - _STEP)
        found = safe.search(text, begin, at)
        if found is not None:
            return int(found.start())
    return 0
