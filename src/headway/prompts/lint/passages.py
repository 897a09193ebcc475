"""A text in passages: sentences and list items, each with the section it belongs to."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, NamedTuple

from headway.prompts.lint.regions import LIST, Kind, Region, masked, regions_of

__all__ = ["Passage", "Text", "open_passages", "words_of"]

_HEADING: Final = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+\S|</?[\w-]+>[ \t]*$|\*\*[^*\n]+\*\*:?[ \t]*$|[A-Z][A-Z \d]{3,50}:?[ \t]*$)"
)
_LEAD_IN: Final = re.compile(r"[^\n.!?]{1,80}[:\uff1a][ \t]*$")
_LABELLED: Final = re.compile(
    r"[ \t]*(?:input|output|example|q|a|question|answer|user|assistant|human|ai|text|label|customer|agent|message"
    r"|ticket|sentence|eingabe|ausgabe|beispiel|exemple|ejemplo)[ \t]*\d{0,3}[ \t]*[:\uff1a]",
    re.IGNORECASE,
)
_END: Final = re.compile(r"(?:[.!?]+[\"')\]\u201d\u00bb]*(?=\s|$)|[\u3002\uff01\uff1f]+[\u300d]?)")
_NAMED: Final = re.compile(
    r"[ \t]*(?:[\w .'\u2019/()*-]{1,40}[:\uff1a][ \t*]|[A-Z][A-Z \d/&_]{2,40}[ \t]*[-\u2013\u2014=][ \t]|\*\*"
    r"|[\w ]{1,30} [\u2013\u2014] )"
)
_ROLE: Final = re.compile(
    r"^[ \t]*(?:user|system|assistant|human|ai|model|messages?)[ \t]*[:=]?[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_LINE_END: Final = re.compile(r"[.!?:\u3002\uff1a][\"')\]]*[ \t\r]*\Z")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|vs|etc|approx|ca|bzw|z\.B|e\.g|i\.e|Inc|Ltd))\.\Z"
)
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?")
RUN_CHARS_MAX: Final = 4_000
"""A line that goes on for longer is somebody's text, not guidance."""

_SPACE: Final = re.compile(r"\s*")
_LINE: Final = re.compile(r"[^\n]+")
_BLOCK: Final = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")


class Passage(NamedTuple):
    """A sentence or a list item, without the item's mark."""

    start: int
    end: int
    text: str
    """On one line, with single spaces."""
    section: str
    """The heading above it, and the line that leads in."""
    mark: str
    """"-" of a list item's first sentence, "1." of a numbered one's, "" of other sentences."""
    block: int
    """Which block of lines it is in: lines without an empty one between them."""
    run: int
    """Which list item, labelled line, or run of other lines."""
    alone: bool
    """Whether it is all of its run."""
    labelled: bool
    """Whether its run is a list item, or begins with a name: what it says is said about that."""
    data: bool
    """Whether it is an example, or layout: its repetitions mean something."""


class Text:
    """One text of a source, taken apart once for all rules.

    Args:
        key: Which text: "system", "prompt", "text", "messages.0.content".
        text: The text as it is sent, columns aside.
        template: Whether "{{" is a literal brace in it.
        fixed: Whether it is the same in every request, but for columns.
    """

    def __init__(self, key: str, text: str, *, template: bool = False, fixed: bool = True) -> None:
        self.key, self.text, self.template, self.fixed = key, text, template, fixed

    @cached_property
    def regions(self) -> list[Region]:
        """What no fix may touch, in order."""
        return regions_of(self.text, template=self.template)

    @cached_property
    def _ends(self) -> list[int]:
        return [region.end for region in self.regions]

    @cached_property
    def open(self) -> str:
        """The text with everything protected overwritten by NUL: as long as `text`, line by line."""
        return masked(self.text, self.regions)

    @cached_property
    def prose(self) -> str:
        """As `open`, but with layout left readable."""
        return masked(self.text, [region for region in self.regions if region.kind != "layout"])

    @cached_property
    def passages(self) -> list[Passage]:
        """Its sentences and list items, in order."""
        return list(_passages(self))

    def within(self, start: int, end: int, *kinds: Kind) -> bool:
        """Whether a stretch touches a region of one of these kinds."""
        at = bisect_right(self._ends, start)
        while at < len(self.regions) and self.regions[at].start < end:
            if self.regions[at].kind in kinds:
                return True
            at += 1
        return False

    def columns_between(self, start: int, end: int) -> bool:
        """Whether row text may stand between two places."""
        return self.within(start, end, "column")


def words_of(text: str) -> list[str]:
    """Its words in lower case; a run of letters without spaces, as in Japanese, counts by its characters."""
    words: list[str] = []
    for word in _WORD.findall(text.casefold()):
        words.extend(word if len(word) > 3 and "\u3040" <= word[0] <= "\u9fff" else (word,))
    return words


def open_passages(texts: Iterable[Text]) -> Iterator[tuple[Text, Passage]]:
    """Sentences that are not quoted, and no examples."""
    for text in texts:
        for passage in text.passages:
            if not passage.data and text.open[passage.start : passage.start + 1] != "\x00":
                yield text, passage


def _passages(text: Text) -> Iterator[Passage]:
    heading = lead_in = ""
    runs = 0
    staged = len(_ROLE.findall(text.open)) > 1  # a conversation is told in it
    for number, block in enumerate(_BLOCK.finditer(text.text)):
        lines = list(_LINE.finditer(text.text, block.start(), block.end()))
        if not LIST.match(lines[0].group()):
            lead_in = ""
        layout = text.within(block.start(), block.end(), "layout")
        data = staged or layout or any(_LABELLED.match(at.group()) for at in lines)
        for start, end, mark in _runs(text, lines):
            line = text.text[start:end]
            if not mark and _HEADING.match(line):
                heading, lead_in = line.strip(), ""
                continue
            if not mark and _LEAD_IN.match(line):
                lead_in = line.strip()
            runs += 1
            labelled = bool(mark) or _NAMED.match(line) is not None
            found = list(_sentences(text, start, end))
            for first, last in found:
                yield Passage(
                    start=first,
                    end=last,
                    text=" ".join(text.text[first:last].split()),
                    section=heading + "\n" + lead_in,
                    mark=mark if first == start else "",
                    block=number,
                    run=runs,
                    alone=len(found) == 1,
                    labelled=labelled,
                    data=data or end - start > RUN_CHARS_MAX,
                )


def _runs(text: Text, lines: list[re.Match[str]]) -> Iterator[tuple[int, int, str]]:
    """Lines that belong together: up to the next list item, heading, or line that ends a sentence."""
    start, end, mark = -1, -1, ""
    for line in lines:
        if text.open[line.start() : line.end()].strip("\x00 \t") == "" and text.within(*line.span(), "code", "json"):
            if start >= 0:
                yield start, end, mark
            start = -1
            continue
        item = LIST.match(line.group())
        fresh = item or _HEADING.match(line.group()) or _LEAD_IN.match(line.group())
        if start >= 0 and (
            fresh or _HEADING.match(text.text, start, end) or _LINE_END.search(text.text, max(start, end - 12), end)
        ):
            yield start, end, mark
            start = -1
        if start < 0:
            mark = item["mark"] if item else ""
            start = line.start() + (item.end() if item else len(line.group()) - len(line.group().lstrip()))
        end = line.end()
    if start >= 0:
        yield start, end, mark


def _sentences(text: Text, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Stretches that end where a sentence does; a full stop in a quotation, code or number ends none."""
    at = start
    for match in _END.finditer(text.text, start, end):
        inside = text.within(match.start(), match.start() + 1, "quote", "code", "column", "json")
        if inside or _ABBREVIATION.search(text.text[max(at, match.start() - 6) : match.start() + 1]):
            continue
        yield at, match.end()
        gap = _SPACE.match(text.text, match.end(), end)
        at = gap.end() if gap else match.end()
    stop = at + len(text.text[at:end].rstrip())
    if stop > at:
        yield at, stop
