"""Many documents through one function: bounded, resumable, and stopped where all would fail alike."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from headway.errors import ConnectFailed, InputError
from headway.pipeline.documents import run as documents_run
from headway.pipeline.documents.found import find
from headway.pipeline.documents.kept import open_kept
from headway.pipeline.documents.rows import Row
from headway.pipeline.documents.run import Tally, run_documents
from headway.testing import virtual_run


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text(f"Document {number}.")
    return folder


def run(docs, summarize, *, at_once=3, **more):
    async def main():
        paths = find(docs).paths
        out = docs.parent / "out.jsonl"
        with open_kept(out, {}, folder=str(docs), origin="", count=len(paths)) as kept:
            return await run_documents(paths, summarize, at_once=at_once, kept=kept, **more)

    return virtual_run(main)


def lines(docs):
    return [json.loads(line) for line in (docs.parent / "out.jsonl").read_text().splitlines()]


class Summarizer:
    """Takes a second each; what is in `errors` fails."""

    def __init__(self, errors=None):
        self.seen: list[str] = []
        self.now = self.most = 0
        self.errors = errors or {}

    async def __call__(self, document):
        self.seen.append(document.text)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(1)
        finally:
            self.now -= 1
        if document.text in self.errors:
            raise self.errors[document.text]
        return Row(path=document.path, summary=document.text.upper(), words=2)


def test_so_many_at_once_and_each_a_row(docs):
    """Bounded, and in the order of the paths at the end; bad files are rows with their reason."""
    (docs / "4.txt").write_text("")
    (docs / "bad.txt").write_bytes(b"\x00\x01\x02" * 100)
    (docs / "book.pdf").write_bytes(b"%PDF-1.4")
    summarize = Summarizer()
    tally = run(docs, summarize)
    assert summarize.most == 3
    assert (tally.total, tally.done, tally.failed, tally.stopped) == (10, 10, 3, "")
    found = lines(docs)
    assert [line["path"].rpartition("/")[2] for line in found] == [
        *(f"{n}.txt" for n in range(8)),
        "bad.txt",
        "book.pdf",
    ]
    assert found[0]["summary"] == "DOCUMENT 0."
    assert found[4]["error"].endswith("4.txt is empty")
    assert found[8]["error"].endswith("bad.txt holds data that is no text; export it as text")
    assert found[9]["error"].endswith("book.pdf is a PDF, not text; export it as text")


def test_a_second_run_does_what_is_owed(docs):
    """Edited and added files and those that failed; moved ones are had for nothing."""
    run(docs, Summarizer({"Document 3.": InputError("odd")}))
    (docs / "1.txt").write_text("Edited.")
    (docs / "9.txt").write_text("Added.")
    (docs / "2.txt").rename(docs / "moved.txt")
    summarize, rows = Summarizer(), []
    tally = run(docs, summarize, on_row=lambda row, resumed: rows.append((row.path.rpartition("/")[2], resumed)))
    assert sorted(summarize.seen) == ["Added.", "Document 3.", "Edited."]
    assert (tally.done, tally.resumed) == (9, 6)
    assert ("moved.txt", True) in rows
    assert [line["summary"] for line in lines(docs)][-1] == "DOCUMENT 2."


def test_an_interrupted_run_leaves_whole_lines(docs):
    """Cancelled midway, the output has what was done, and the next run does the rest."""
    first = Summarizer()

    async def stopped(document):
        if len(first.seen) == 6:
            raise asyncio.CancelledError
        return await first(document)

    with pytest.raises(asyncio.CancelledError):
        run(docs, stopped)
    done = lines(docs)
    assert 3 <= len(done) < 8
    second = Summarizer()
    assert run(docs, second).done == 8
    assert len(second.seen) == 8 - len(done)
    assert len(lines(docs)) == 8


def test_what_befalls_all_stops_the_run(docs):
    """A provider that cannot be reached is one sentence, not a row for each document; they stay owed."""
    down = {f"Document {number}.": ConnectFailed("no connection to http://x") for number in range(8)}
    summarize, tally = Summarizer(down), Tally()
    assert run(docs, summarize, tally=tally).stopped == "no connection to http://x"
    assert len(summarize.seen) < 8
    assert (tally.done, tally.failed) == (0, 0)
    assert run(docs, Summarizer()).done == 8


def test_one_failure_is_its_documents_own(docs):
    """The others go on, and its sentence is in its row."""
    tally = run(docs, Summarizer({"Document 5.": InputError("too odd")}))
    assert (tally.done, tally.failed, tally.stopped) == (8, 1, "")
    assert [line["error"] for line in lines(docs) if line["error"]] == ["too odd"]


def test_large_documents_wait_for_room(docs, monkeypatch):
    """What is in memory at once has a bound; one that is larger than that is alone."""
    monkeypatch.setattr(documents_run, "BYTES_AT_ONCE_MAX", 40)
    (docs / "7.txt").write_text("x" * 99)
    summarize = Summarizer()
    tally = run(docs, summarize, at_once=8)
    assert (tally.done, summarize.most) == (8, 3)  # of 11 bytes each


def test_what_was_spent_is_noted_without_a_budget(docs):
    """A later run may have one; a second after it was spent, and at the end, whatever ends the run."""
    spent, seen = [0.0], []
    out = docs.parent / "out.jsonl"

    async def summarize(document):
        await asyncio.sleep(2.5)
        seen.append((out.parent / "out.jsonl.journal").read_bytes().count(b'{"spent":'))
        spent[0] += 0.25
        if spent[0] > 0.6:
            raise asyncio.CancelledError
        return Row(path=document.path, summary="x", dollars=0.25)

    with pytest.raises(asyncio.CancelledError):
        run(docs, summarize, at_once=1, spent=lambda: spent[0])
    assert seen == [0, 1, 2]
    with open_kept(out, {}, folder=str(docs), origin="", count=8) as kept:
        assert kept.spent() == 0.75


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes in folders")
def test_a_pipe_in_the_folder_is_a_row_with_its_error(docs):
    """It held up the run without end."""
    os.mkfifo(docs / "3.fifo.txt")
    assert run(docs, Summarizer()).failed == 1
    assert "is no file but a pipe" in next(line["error"] for line in lines(docs) if line["error"])
