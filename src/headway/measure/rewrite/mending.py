"""What a text needs after something was taken out: articles that fit, numbers without gaps, lists without holes.

And what cannot be mended: an introduction that is gone while its example stays, or a number that something refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from headway.measure.rewrite.words import MARK
from headway.prompts.lint.articles import with_articles
from headway.prompts.lint.regions import regions_of

__all__ = ["broken", "mended"]

_NUMBERED: Final = re.compile(r"(?P<indent>[ \t]*)(?P<open>\(?)(?P<number>\d{1,2})(?P<end>[.)])(?P<gap>[ \t]+)")
_ITEM: Final = re.compile(rf"[ \t]*{MARK}[ \t]+\S")
_FENCE: Final = re.compile(r"[ \t]*(?:```|~~~)")
_REFERS: Final = re.compile(
    r"\b(?:steps?|rules?|items?|points?|numbers?|no\.|instructions?|sections?|cases?|conditions?|questions?|bullets?"
    r"|entry|entries|parts?|tasks?)[ \t]+(?:\(|#|number )?\d"
    r"|#\d|\b(?:first|second|third|fourth|fifth|sixth|last|previous|next|preceding)[ \t]+(?:two |three |four )?"
    r"(?:steps?|rules?|items?|points?|instructions?|conditions?|entry|entries)\b",
    re.IGNORECASE,
)
_INTRODUCES: Final = re.compile(
    r":[ \t*_]*\Z|\b(?:examples?|samples?|following|below|here is|here are|looks? like|as follows)\b", re.IGNORECASE
)


class _Number(NamedTuple):
    """A numbered line: where, how deep, and its number."""

    line: int
    indent: str
    value: int


def mended(before: str, after: str) -> str:
    """`after` with what a removal leaves behind put right; where nothing is to be done it comes back as it is."""
    if after == before:
        return after
    text = _closed(before, with_articles(before, after))
    return _renumbered(text) if _plain(before) and not _REFERS.search(after) else text


def broken(before: str, after: str) -> str:
    """Why `after`, once mended, reads wrong; "" when it does not."""
    if _plain(before) and not _plain(after):
        return "a numbered list has a gap now, and something refers to its numbers"
    had, has = _introduced(before), _introduced(after)
    if len(had) == len(has) and any(old and not new for old, new in zip(had, has, strict=True)):
        return "an example stands without its introduction now"
    if _dangling(after) > _dangling(before):
        return "an introduction stands without what it introduces now"
    return ""


def _open_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that are in no fence."""
    fenced = False
    for number, line in enumerate(text.split("\n")):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def _runs(text: str) -> list[list[_Number]]:
    """Numbered lines that go up, list by list; an indented list is one of its own."""
    runs: dict[str, list[list[_Number]]] = {}
    for at, line in _open_lines(text):
        found = _NUMBERED.match(line)
        if found is None:
            continue
        one = _Number(at, found["indent"], int(found["number"]))
        same = runs.setdefault(one.indent, [])
        if not same or one.value <= same[-1][-1].value:
            same.append([])
        same[-1].append(one)
    return [run for same in runs.values() for run in same]


def _plain(text: str) -> bool:
    """Whether every numbered list counts from one without a gap."""
    return all([one.value for one in run] == list(range(1, len(run) + 1)) for run in _runs(text))


def _renumbered(text: str) -> str:
    lines = text.split("\n")
    for run in _runs(text):
        for value, one in enumerate(run, 1):
            lines[one.line] = _NUMBERED.sub(rf"\g<indent>\g<open>{value}\g<end>\g<gap>", lines[one.line], count=1)
    return "\n".join(lines)


def _closed(before: str, after: str) -> str:
    """Without empty lines between list items, where the list had none."""
    if _holes(before):
        return after
    lines = after.split("\n")
    gone = {at for hole in _holes(after) for at in hole}
    return "\n".join(line for at, line in enumerate(lines) if at not in gone)


def _holes(text: str) -> list[range]:
    """Empty lines with a list item on both sides."""
    found: list[range] = []
    last: tuple[int, bool] | None = None
    for at, line in _open_lines(text):
        if not line.strip():
            continue
        item = _ITEM.match(line) is not None
        if last is not None and item and last[1] and at > last[0] + 1:
            found.append(range(last[0] + 1, at))
        last = (at, item)
    return found


def _introduced(text: str) -> list[bool]:
    """For every block of code or JSON that begins a line, whether the line before it leads in."""
    found: list[bool] = []
    for region in regions_of(text, template="{{" in text):
        head = text[: region.start]
        if region.kind in ("code", "json") and not head.rpartition("\n")[2].strip():
            found.append(_INTRODUCES.search(_last_line(head)) is not None)
    return found


def _dangling(text: str) -> int:
    """Introductions of an example with nothing behind them but a heading, another introduction, or the end."""
    lines: Sequence[str] = [line.strip() for line in text.split("\n") if line.strip()]
    return sum(
        line.endswith(":") and "example" in line.lower() and (not after or after.startswith("#"))
        for line, after in zip(lines, [*lines[1:], ""][: len(lines)], strict=True)
    )


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2].strip()
