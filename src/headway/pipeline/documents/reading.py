"""A document read: its text, or one sentence on why it has none."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from headway.jobs.detect import encoding_of
from headway.jobs.opened import reason_of
from headway.pipeline.documents.html import plain

__all__ = ["BYTES_MAX", "Document", "document_of", "read_document", "shown"]

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
    """32 hex digits of its bytes, and of whether they are a page; "" when they could not be read."""
    encoding: str = "utf-8"
    guessed: bool = False
    """Nothing in the file says that this is its encoding: it is no UTF-8, and another reading may be the right one."""
    problem: str = ""
    """Why it cannot be summarized, as the end of a sentence that begins with its name: "is empty"."""


def read_document(path: Path) -> Document:
    """Read a file; what is wrong with it is told by the document's `problem`, and nothing is raised."""
    name = shown(path)
    try:
        with open(path, "rb", opener=_at_once) as file:  # Path.open has no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Document(path=name, problem="is no file but a pipe or a device; write what it gives to a file")
            return document_of(file, name, html=path.suffix.lower() in _HTML)
    except OSError as error:
        return Document(path=name, problem=f"cannot be read: {reason_of(error)}")


def shown(path: Path | str) -> str:
    """A path as it is written to outputs: names are bytes, and may be no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe whose other end nobody opens would be waited for without end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
    # the same bytes as a text and as a page are two documents
    digest = hashlib.blake2b(data, digest_size=16, person=b"html" if html else b"").hexdigest()
    for magic, what in _NOT_TEXT.items():
        if data.startswith(magic):
            return Document(path=name, digest=digest, problem=f"is {what}, not text; export it as text")
    encoding = encoding_of(data[:_HEAD_BYTES])
    text = data.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    problem = ""
    if _is_odd(text[:_HEAD_BYTES]):
        problem = "holds data that is no text; export it as text"
    else:
        text = plain(text) if html else text
        if not text.strip():
            problem = "has no text between its tags" if html and data.strip() else "is empty"
    if problem:
        return Document(path=name, digest=digest, problem=problem)
    guessed = not encoding.startswith("utf") and not data.isascii()
    return Document(path=name, text=text, digest=digest, encoding=encoding, guessed=guessed)


def _is_odd(head: str) -> bool:
    odd = sum(char == "\ufffd" or (char not in "\t\n\f" and unicodedata.category(char) == "Cc") for char in head)
    return odd > _ODD_MAX * len(head)
