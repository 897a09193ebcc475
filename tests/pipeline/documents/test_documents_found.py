"""Which files of a folder are documents."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from headway.errors import InputError
from headway.pipeline.documents.found import find


@pytest.fixture
def docs(tmp_path):
    for name in ("b.txt", "a.md", "sub/c.HTML", "sub/d.pdf", "logo.png", "rows.csv", ".hidden.txt", ".git/e.txt"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return tmp_path / "docs"


def names(docs, *rest, **more):
    return [path.relative_to(docs).as_posix() for path in find(docs, *rest, **more).paths]


def test_texts_of_all_folders_by_suffix(docs):
    """Sorted by path; hidden ones are passed over, and a PDF is a document, although none that can be read."""
    assert names(docs) == ["a.md", "b.txt", "sub/c.HTML", "sub/d.pdf"]


def test_other_files_are_told_of(docs):
    """Nothing is lost without a word."""
    assert find(docs).left_out() == "2 files were left out as no documents (1 .csv, 1 .png); --glob names others"
    (docs / "logo.png").unlink()
    assert find(docs).left_out() == "1 file was left out as no documents (1 .csv); --glob names others"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("*.csv", ["rows.csv"]), ("sub/*", ["sub/c.HTML", "sub/d.pdf"]), ("**/*.txt", ["b.txt"])],
)
def test_a_pattern_takes_what_fits_it(docs, pattern, found):
    """Whatever the suffix; with a slash, it is the path below the folder that counts."""
    assert names(docs, pattern) == found


def test_the_output_is_no_document(docs):
    """A second run does not summarize the first one's summaries."""
    (docs / "out.txt").write_text("text")
    assert names(docs, "*.txt", without=(docs / "out.txt",)) == ["b.txt"]


def test_a_folder_without_documents_is_an_error(docs):
    """One sentence that names the folder, and what to do."""
    with pytest.raises(InputError, match=r"docs has no file like \*.rst in it; say which files are meant with --glob"):
        find(docs, "*.rst")


@pytest.mark.skipif(sys.platform == "win32", reason="links are a right of their own there")
def test_links_are_not_followed(docs):
    """A link to /etc/passwd was read, and its target sent to the provider."""
    secret = docs.parent / "secret.txt"
    secret.write_text("root:x:0")
    (docs / "p.txt").symlink_to(secret)
    (docs / "gone.md").symlink_to(docs / "nothing")
    (docs / "up").symlink_to(docs.parent)
    assert names(docs) == ["a.md", "b.txt", "sub/c.HTML", "sub/d.pdf"]
    assert names(docs, "*.txt") == ["b.txt"]
    assert "(3 linked, 1 .csv, 1 .png)" in find(docs).left_out()
    for path in (docs / "a.md", docs / "b.txt", docs / "sub" / "c.HTML", docs / "sub" / "d.pdf"):
        path.unlink()
    with pytest.raises(InputError, match="in it, for links are not followed; say which files"):
        find(docs)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in Unicode")
def test_names_that_are_no_utf_8_are_counted(docs):
    """The suffix of one went into --json, and no JSON could be written."""
    Path(os.fsdecode(os.fsencode(docs) + b"/x.t\xff")).write_text("x")
    assert find(docs).others[".t\ufffd"] == 1
