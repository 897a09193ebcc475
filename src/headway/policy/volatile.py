"""What changes from request to request although it stands where all requests should be alike.

A timestamp or an id at the beginning of a prompt makes everything after it new to the provider's cache. Found by
comparing two requests, so that a date that merely stands there disturbs nobody; told, never rewritten.
"""

from __future__ import annotations

import re
from typing import AnyStr, Final, NamedTuple

__all__ = ["Volatile", "common_length", "volatile_between", "warning"]

_KINDS: Final = (
    ("a timestamp", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"),
    ("a UUID", r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"),
    ("a date", r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{4}"),
    (
        "a date",
        r"\d{1,2}\.? (?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
    ),
    ("a date", r"(?:January|February|March|April|May|June|July|August|September|October|November|December) \d{1,2}\b"),
    ("a time of day", r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"),
    ("a Unix time", r"1[5-9]\d{8}(?:\d{3})?(?:\.\d+)?"),
    ("an id", r"(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{16,64}"),
    ("a counter", r"\d{1,12}"),
)
_PATTERN: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:" + "|".join(f"(?P<k{i}>{text})" for i, (_, text) in enumerate(_KINDS)) + r")(?![0-9A-Za-z])"
)


class Volatile(NamedTuple):
    """Something that looks as if it changed each time: what, and from which character to which."""

    what: str
    start: int
    end: int


def volatile_between(before: str, after: str) -> Volatile | None:
    """Where two texts part, if that is inside something of the same kind in both; its place is that in `after`.

    None where one is the other's beginning, and where they differ in words: then they are simply two texts.
    """
    at = common_length(before, after)
    if at == len(before) or at == len(after):
        return None
    here, there = _around(after, at), _around(before, at)
    return here if here is not None and there is not None and here.what == there.what else None


def common_length(one: AnyStr, other: AnyStr) -> int:
    """How long the beginning is that two texts share, in characters or bytes; by bisection, for slices compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def warning(found: Volatile, *, where: str, tokens_after: int) -> str:
    """One sentence for whoever wrote the prompt.

    Args:
        found: From `volatile_between`.
        where: What the text is, "the system prompt".
        tokens_after: Tokens of the prefix behind it, about.
    """
    return (
        f"{where} holds {found.what} at character {found.start} that changes from request to request, so that the "
        f"provider's prompt cache cannot reuse the {tokens_after:,} tokens after it; move it to the end of the prompt"
    )


def _around(text: str, at: int) -> Volatile | None:
    for match in _PATTERN.finditer(text, max(0, at - 128), at + 128):
        if match.start() <= at < match.end():
            return Volatile(_what(match), match.start(), match.end())
    return None


def _what(match: re.Match[str]) -> str:
    return _KINDS[int((match.lastgroup or "k0")[1:])][0]
