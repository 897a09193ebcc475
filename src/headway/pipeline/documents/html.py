"""The words of a page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

__all__ = ["plain"]

_SILENT: Final = frozenset({"script", "style", "title", "template", "noscript", "svg", "math"})
"""What shows no words; nothing of a head is shown but for these, so that a page may leave its head's tags out."""
_FOREIGN: Final = frozenset({"svg", "math"})
_INLINE: Final = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd"}
    | {"label", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
)
_PARAGRAPHS: Final = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "blockquote"})
_BREAKING_OUT: Final = _PARAGRAPHS | frozenset({"body", "br", "dd", "div", "dl", "dt", "hr", "li"})
"""Tags that end a drawing which was not closed. Source: HTML standard, "The rules for parsing tokens in foreign
content"; those that stand for blocks."""
_KEPT: Final = "\x00"
"""Stands for a space that is to be kept."""


def plain(html: str) -> str:
    """What a browser would show: the words, a line for each block, nothing of scripts, styles and the head."""
    parser = _Words()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()).replace(_KEPT, " ").rstrip() for line in "".join(parser.parts).split("\n"))
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n")


class _Words(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _BREAKING_OUT and self._silent and self._silent[-1] in _FOREIGN:
            self._silent.clear()
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "body":
            self._silent.clear()  # what of a head was never closed
        if tag == "pre":
            self._pre += 1
        self._apart(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        if tag == "pre":
            self._pre = max(0, self._pre - 1)
        self._apart(tag)

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._pre:
            self.parts.append(data.expandtabs(4).replace(" ", _KEPT))
        else:
            self.parts.append(data.replace("\n", " "))

    def _apart(self, tag: str) -> None:
        if tag not in _INLINE and tag not in _SILENT and not self._silent:
            self.parts.append("\n\n" if tag in _PARAGRAPHS else "\n")
