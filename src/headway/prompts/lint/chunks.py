"""Passages of several lines that stand in a text twice: examples with their JSON, letter by letter."""

from __future__ import annotations

from typing import Final, NamedTuple

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.passages import Text

__all__ = ["Chunk", "repeated_chunks"]

LINES_MIN, CHARS_MIN = 3, 40
"""Lines that are not empty, and characters: below it, layout such as a closing bracket would count."""
LINES_MAX: Final = 4_000
"""Of a text; longer ones hold somebody's data."""


class Chunk(NamedTuple):
    """A passage that was there before."""

    first: int
    """Where it stands for the first time."""
    start: int
    end: int
    lines: int
    fix: Edit


def repeated_chunks(text: Text) -> list[Chunk]:
    """Later occurrences of whole blocks of lines with JSON or code in them, and no row's text in or between."""
    lines = text.text.split("\n")
    if len(lines) > LINES_MAX or not text.fixed:
        return []
    bare = [line.rstrip() for line in lines]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    seen: dict[str, list[int]] = {}
    found: list[Chunk] = []
    at = 0
    while at < len(bare):
        many, first = 0, -1
        if bare[at] and _begins(bare, at):
            many, first = max(((_alike(bare, one, at), one) for one in seen.get(bare[at], ())), default=(0, -1))
            seen.setdefault(bare[at], []).append(at)
        chunk = _chunk(text, bare, starts, first, at, many) if many else None
        if chunk is not None:
            found.append(chunk)
        at += max(1, many if chunk is not None else 1)
    return found


def _begins(bare: list[str], at: int) -> bool:
    return at == 0 or not bare[at - 1]


def _alike(bare: list[str], first: int, later: int) -> int:
    """How many lines from `later` on are those from `first` on, up to the end of a block in both places."""
    many = whole = 0
    while later + many < len(bare) and first + many < later and bare[first + many] == bare[later + many]:
        many += 1
        after = bare[later + many] if later + many < len(bare) else ""
        if bare[later + many - 1] and not after and not bare[first + many]:
            whole = many
    return whole


def _chunk(text: Text, bare: list[str], starts: list[int], first: int, later: int, many: int) -> Chunk | None:
    said = [line for line in bare[later : later + many] if line]
    start, end = starts[later], starts[later + many] - 1
    if len(said) < LINES_MIN or sum(map(len, said)) < CHARS_MIN or not _is_example(text, start, end):
        return None
    if text.within(starts[first], end, "column") or not any(line[:1].isalpha() for line in said):
        return None
    stop = end
    while stop < len(text.text) and text.text[stop] == "\n":
        stop += 1
    begin = start
    if stop == len(text.text):  # the end of the text: what is in front of it goes, one line's end stays
        begin = len(text.text[:start].rstrip("\n"))
        stop = end
    kept = text.text[starts[first] : starts[first + many]]
    edit = Edit(key=text.key, start=begin, end=stop, kept=kept)
    return Chunk(starts[first], start, end, len(said), edit)


def _is_example(text: Text, start: int, end: int) -> bool:
    """Whether it holds a whole piece of JSON or code, and cuts none in two."""
    inside = [one for one in text.regions if one.kind in ("json", "code") and one.start < end and one.end > start]
    return bool(inside) and all(start <= one.start and one.end <= end for one in inside)
