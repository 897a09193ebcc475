"""The output of a folder and its journal: whole lines at any moment, and nothing twice."""

from __future__ import annotations

import json

import pytest

from headway.errors import ConfigError
from headway.pipeline.documents.kept import open_kept
from headway.pipeline.documents.reading import Document
from headway.pipeline.documents.rows import Row

WORDS = {"--words": "100"}


def kept(tmp_path, count=3, settings=WORDS, **more):
    return open_kept(tmp_path / "out.jsonl", settings, folder="docs", origin="http://x", count=count, **more)


def document(name: str) -> Document:
    return Document(path=name, text=name, digest=name.encode().hex().zfill(32))


def row(name: str, **more) -> Row:
    return Row(path=name, **{"summary": f"of {name}", "dollars": 0.25, **more})


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_a_line_with_each_document_and_the_order_at_the_end(tmp_path):
    """Those who follow the file see each as it is done; when all are, they stand by path."""
    with kept(tmp_path) as output:
        output.write(2, document("c"), row("c"))
        assert [line["path"] for line in lines(tmp_path)] == ["c"]
        output.write(0, document("a"), row("a"))
        output.write(1, document("b"), row("b", summary=None, error="no"))
        assert [line["path"] for line in lines(tmp_path)] == ["c", "a", "b"]
        output.finish()
    assert [line["path"] for line in lines(tmp_path)] == ["a", "b", "c"]
    assert list(lines(tmp_path)[0])[:3] == ["path", "summary", "words"]


def test_a_second_run_has_what_is_done_and_owes_the_rest(tmp_path):
    """What failed and what has gaps is owed again; a moved document is had under its new path, and a torn line goes."""
    with kept(tmp_path) as output:
        output.write(0, document("a"), row("a"))
        output.write(1, document("b"), row("b", gaps=1))
        output.write(2, document("c"), row("c", summary=None, error="no", dollars=None))
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(b'{"path":"half')
    with kept(tmp_path) as output:
        assert output.spent() == 0.5
        moved = Document(path="z", text="a", digest=document("a").digest)
        found = output.find(2, moved)
        assert found is not None
        assert (found.path, found.summary) == ("z", "of a")
        assert output.find(1, document("b")) is None
        assert output.find(0, document("c")) is None
        output.write(1, document("b"), row("b"))
        assert [line["path"] for line in lines(tmp_path)] == ["a", "b"]
        output.write(0, document("c"), row("c"))
        output.finish()
        assert output.spent() == 1.0  # a moved row is not paid for again
    assert [line["path"] for line in lines(tmp_path)] == ["c", "b", "z"]


def test_other_settings_are_another_output(tmp_path):
    """Summaries of two lengths in one file would be neither; the sentence names what differs."""
    with kept(tmp_path) as output:
        output.write(0, document("a"), row("a"))
    with pytest.raises(ConfigError, match="was made with --words 100, not 200; choose another --out, or start over"):
        kept(tmp_path, settings={"--words": "200"})
    with pytest.raises(ConfigError, match="was made with another --question"):
        kept(tmp_path, settings={**WORDS, "--question": "Who?"})
    with kept(tmp_path, settings={"--words": "200"}, fresh=True) as output:
        assert output.find(0, document("a")) is None
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_not_ours_is_left_alone(tmp_path):
    """An output without a journal, and a journal of something else."""
    (tmp_path / "out.jsonl").write_text("precious\n")
    with pytest.raises(ConfigError, match="exists and no journal is beside it"):
        kept(tmp_path)
    (tmp_path / "out.jsonl.journal").write_text("precious\n")
    with pytest.raises(ConfigError, match="is not a journal of Headway"):
        kept(tmp_path)
    assert (tmp_path / "out.jsonl").read_text() == "precious\n"


def test_two_runs_at_once_are_one_too_many(tmp_path):
    """The journal is locked."""
    with kept(tmp_path), pytest.raises(ConfigError, match="in use by another run"):
        kept(tmp_path)
