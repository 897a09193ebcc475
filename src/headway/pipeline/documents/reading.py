"""A document read: its text, or one sentence on why it has none."""

from __future__ import annotations

import hashlib
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from headway.jobs.detect import encoding_of
from headway.jobs.opened import reason_of

__all__ = ["BYTES_MAX", "Document", "document_of", "read_document"]

BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one document: some ten thousand pages of text."""

_HEAD_BYTES: Final = 64 * 1024
_ODD_MAX: Final = 0.02
"""The share of control and unreadable characters from which bytes are no text. A choice: texts have next to none."""
_HTML: Final = frozenset({".html", ".htm", ".xhtml"})
_NOT_TEXT: Final = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a Word document, an e-book or another archive",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"{\\rtf": "an RTF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document. One with a `problem` has no text."""

    path: str
    text: str = ""
    digest: str = ""
    """32 hex digits of its bytes; "" when they could not be read."""
    encoding: str = "utf-8"
    problem: str = ""
    """Why it cannot be summarized, as the end of a sentence that begins with its name: "is empty"."""


def read_document(path: Path) -> Document:
    """Read a file; what is wrong with it is told by the document's `problem`, and nothing is raised."""
    try:
        with path.open("rb") as file:
            return document_of(file, str(path), html=path.suffix.lower() in _HTML)
    except OSError as error:
        return Document(path=str(path), problem=f"cannot be read: {reason_of(error)}")


def document_of(file: BinaryIO, name: str, *, html: bool = False) -> Document:
    """The document in an opened file.

    Args:
        file: Read to its end, or to `BYTES_MAX`.
        name: What it is called.
        html: Take the text out of the tags.

    Raises:
        OSError: It cannot be read.
    """
    data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        return Document(path=name, problem=f"has more than {BYTES_MAX >> 20} MiB; split it")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    for magic, what in _NOT_TEXT.items():
        if data.startswith(magic):
            return Document(path=name, digest=digest, problem=f"is {what}, not text; export it as text")
    encoding = encoding_of(data[:_HEAD_BYTES])
    text = data.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    problem = ""
    if _is_odd(text[:_HEAD_BYTES]):
        problem = "holds data that is no text; export it as text"
    else:
        text = _plain(text) if html else text
        if not text.strip():
            problem = "has no text between its tags" if html and data.strip() else "is empty"
    if problem:
        return Document(path=name, digest=digest, problem=problem)
    return Document(path=name, text=text, digest=digest, encoding=encoding)


def _is_odd(head: str) -> bool:
    odd = sum(char == "\ufffd" or (char not in "\t\n\f" and unicodedata.category(char) == "Cc") for char in head)
    return odd > _ODD_MAX * len(head)


def _plain(html: str) -> str:
    """What a browser would show: the words, a line for each block, nothing of scripts, styles and the head."""
    parser = _Words()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


class _Words(HTMLParser):
    """Collects the text of a page."""

    _SILENT = frozenset({"script", "style", "head", "template", "noscript", "svg"})
    _INLINE = frozenset(
        {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd"}
        | {"label", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
    )
    _PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "blockquote"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in self._SILENT:
            self._silent += 1
        elif tag == "body":
            self._silent = 0  # a head that was never closed
        self._apart(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SILENT:
            self._silent = max(0, self._silent - 1)
        self._apart(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data.replace("\n", " "))

    def _apart(self, tag: str) -> None:
        if tag not in self._INLINE and not self._silent:
            self.parts.append("\n\n" if tag in self._PARAGRAPHS else "\n")
