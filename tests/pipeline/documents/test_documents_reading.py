"""Documents as they come: texts of any encoding, pages, and what is no text at all."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from headway.pipeline.documents.reading import BYTES_MAX, read_document
from headway.pipeline.documents.rows import Row, line_of


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


def test_the_same_bytes_as_a_text_and_as_a_page_are_two_documents(tmp_path):
    """They shared a digest, and so the summary of whichever came first."""
    page = "<p>The <b>tide</b> rises.</p>"
    text, html, other = read(tmp_path, page, "a.txt"), read(tmp_path, page, "a.html"), read(tmp_path, page, "b.htm")
    assert text.digest != html.digest == other.digest


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<!doctype html><title>No</title><p>The sea rises.", "The sea rises."),
        ("<html><head><title>No</title><meta charset=utf-8><p>The sea rises.</html>", "The sea rises."),
        ("<p>One.</p><svg><text>No</text><p>Two.</p><div>Three.</div>", "One.\n\nTwo.\n\nThree."),
        ("<p>One <svg><title>No</title><path d=x></svg> two.</p>", "One two."),
        ("<pre>\ndef f(x):\n    return  x\n</pre><p>So\nit is.", "def f(x):\n    return  x\n\nSo it is."),
        ("<pre>a\tb</pre></pre>\nc\nd", "a   b\n\nc d"),
        ("<script>if (a < b) {</script>x<style>p {}", "x"),
    ],
)
def test_pages_as_they_are_written(tmp_path, page, text):
    """Head and body may be left out, code keeps its lines, and a drawing that is not closed does not end the page."""
    document = read(tmp_path, page, "x.html")
    assert (document.text, document.problem) == (text, "")


@pytest.mark.parametrize(
    ("data", "guessed"),
    [
        ("Über Köln".encode(), False),
        ("Über Köln".encode("utf-8-sig"), False),
        ("Über Köln".encode("utf-16"), False),
        (b"plain", False),
        ("Über Köln".encode("cp1252"), True),
        ("Все счастливые семьи".encode("cp1251"), True),
    ],
)
def test_a_guess_at_the_encoding_is_told(tmp_path, data, guessed):
    """Text in older encodings may be misread: it was asked about, and paid for, without a word."""
    assert read(tmp_path, data).guessed is guessed


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path):
    """Reading one waited for whoever writes to it, without end, and Ctrl-C with it."""
    os.mkfifo(tmp_path / "x.txt")
    assert read_document(tmp_path / "x.txt").problem.startswith("is no file but a pipe or a device")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in Unicode")
def test_a_name_that_is_no_utf_8_is_shown(tmp_path):
    """Lines of output could not be written with it."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.txt"))
    path.write_text("words")
    document = read_document(path)
    assert (document.path, document.text) == (f"{tmp_path}/b\ufffd.txt", "words")
    assert b"b\xef\xbf\xbd.txt" in line_of(Row(path=document.path))
    path.unlink()
    assert read_document(path).path == document.path
