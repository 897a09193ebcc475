"""Taking a sentence, an item or a line out of a text, with the white space that goes with it."""

from __future__ import annotations

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.passages import Text
from headway.prompts.lint.regions import LIST

__all__ = ["removal"]


def removal(text: Text, start: int, end: int, *, kept: str = "") -> Edit:
    """The edit that takes a sentence or item out, with the white space (and the item's mark) that goes with it."""
    whole = text.text
    line_start = whole.rfind("\n", 0, start) + 1
    line_end = whole.find("\n", end)
    line_end = len(whole) if line_end < 0 else line_end
    before = whole[line_start:start]
    alone_before = not before.strip(" \t") or LIST.fullmatch(before) is not None
    alone_after = not whole[end:line_end].strip()
    if alone_before and alone_after:
        return _line_removal(text, line_start, line_end, kept)
    if alone_after:  # the end of a line: the space in front goes with it
        start -= len(whole[:start]) - len(whole[:start].rstrip(" \t"))
        return Edit(key=text.key, start=start, end=end, kept=kept)
    end += len(whole[end:]) - len(whole[end:].lstrip(" \t"))
    return Edit(key=text.key, start=start, end=end, kept=kept)


def _line_removal(text: Text, start: int, end: int, kept: str) -> Edit:
    """Whole lines, and one of the line ends around them: two, where that leaves a gap between two paragraphs."""
    whole = text.text
    if end < len(whole):
        end += 1
        if whole[:start].endswith("\n\n") and whole.startswith("\n", end):
            end += 1
    elif start:
        start -= 1
        while start and whole[start - 1] == "\n" and whole[:start].endswith("\n"):
            start -= 1
    return Edit(key=text.key, start=start, end=end, kept=kept)
