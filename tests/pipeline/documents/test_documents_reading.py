"""Documents as they come: texts of any encoding, pages, and what is no text at all."""

from __future__ import annotations

import os
import random

import pytest

from headway.pipeline.documents.reading import BYTES_MAX, read_document


def read(tmp_path, data: bytes | str, name: str = "x.txt"):
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_document(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_encoding_is_read(tmp_path, encoding):
    """Umlauts come out as umlauts, and line ends are of one kind."""
    document = read(tmp_path, "Über den Fluss.\r\nÄhren, Öle.\r\n".encode(encoding))
    assert (document.text, document.problem) == ("Über den Fluss.\nÄhren, Öle.\n", "")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"%PDF-1.7 ...", "is a PDF, not text; export it as text"),
        (b"PK\x03\x04...", "is a Word document, an e-book or another archive, not text; export it as text"),
        (random.Random(1).randbytes(4096), "holds data that is no text; export it as text"),
        (b"some words\x00\x01\x02\x03\x04" * 20, "holds data that is no text; export it as text"),
    ],
)
def test_what_is_no_text_has_a_reason(tmp_path, data, problem):
    """One clause that follows the file's name; nothing is raised."""
    document = read(tmp_path, data)
    assert (document.problem, document.text) == (problem, "")


def test_a_few_odd_bytes_do_not_make_a_text_unreadable(tmp_path):
    """A stray control character or a broken byte in a book is none of its words."""
    document = read(tmp_path, b"\x0c" + b"The quick brown fox. " * 100 + b"\xff\x02")
    assert document.problem == ""
    assert document.text.count("fox") == 100


def test_a_page_is_its_words(tmp_path):
    """Neither tags nor scripts nor the head; blocks become lines, and entities characters."""
    page = (
        "<html><head><title>T</title><style>p {}</style></head><body><h1>Tides</h1><p>The <b>sea</b>\n rises &amp; "
        "falls.</p><script>alert(1)</script><ul><li>Moon</li><li>Sun</li></ul></body></html>"
    )
    assert read(tmp_path, page, "x.HTML").text == "Tides\n\nThe sea rises & falls.\n\nMoon\n\nSun"
    assert read(tmp_path, "<p></p>", "x.html").problem == "has no text between its tags"
    assert read(tmp_path, "<b>plain</b>", "x.txt").text == "<b>plain</b>"


def test_a_file_that_cannot_be_read(tmp_path):
    """Gone, or a folder."""
    assert read_document(tmp_path / "none.txt").problem == "cannot be read: No such file or directory"
    assert read_document(tmp_path).problem == "cannot be read: Is a directory"


def test_a_file_that_is_too_large(tmp_path):
    """It is refused before it is decoded."""
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        os.truncate(file.fileno(), BYTES_MAX + 1)
    assert read_document(path).problem == "has more than 64 MiB; split it"


def test_the_digest_is_of_the_content(tmp_path):
    """A file that was moved is the same document, an edited one another."""
    one, other = read(tmp_path, "words", "a.txt"), read(tmp_path, "words", "b.md")
    assert one.digest == other.digest
    assert read(tmp_path, "words.", "a.txt").digest != one.digest
