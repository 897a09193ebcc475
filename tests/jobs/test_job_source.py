"""Sources: what is in a file comes out of it, and what is broken is told, row by row."""

import asyncio
import csv
import gzip
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import InputError
from headway.jobs import rows as rows_module
from headway.jobs import textfile
from headway.jobs.runner import JobSettings, run_job
from headway.jobs.source import open_source
from headway.prompts import Task
from tests.jobs.job_fakes import FakeEngine

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def read(data, **options):
    source = open_source("-", stdin=io.BytesIO(data), **options)
    return source, list(source.rows)


def _all(path):
    source = open_source(str(path))
    try:
        return list(source.rows)
    finally:
        source.close()


def as_csv(table, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(table)
    return text.getvalue()


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
)
def test_csv_round_trips(table, delimiter, encoding):
    """Quotes, newlines in cells, every delimiter, every Unicode encoding: the cells come out as they went in."""
    head = [["first column of all", "second column of all", "third column of all"] for _ in range(9)]
    data = as_csv([["a", "b", "c"], *head, *table], delimiter).encode(encoding)
    source, found = read(data, kind="csv")
    assert source.columns == ("a", "b", "c")
    assert [list(row.row.values()) for row in found] == [*head, *table]
    assert not any(row.problem for row in found)


@given(st.lists(st.dictionaries(cells, st.integers(-(2**70), 2**70) | cells | st.none() | st.lists(cells)), max_size=6))
def test_jsonl_round_trips(objects):
    """Objects come out as they went in, whatever their keys."""
    data = "".join(json.dumps(one, ensure_ascii=False) + "\r\n" for one in objects) + "\n\n"
    _, found = read(data.encode(), kind="jsonl")
    assert [row.row for row in found] == objects


@given(st.lists(cells, min_size=1))
def test_text_is_a_row_a_line(lines):
    """Each line that is not blank is a row, without its white space at the ends."""
    lines = [" ".join(line.split()) for line in lines]
    _, found = read(("\n".join(lines) + "\n").encode("utf-8-sig"), kind="text")
    assert [row.row["text"] for row in found] == [line.strip() for line in lines if line.strip()]


def test_cp1252_is_detected():
    """A file as spreadsheets write it: curly quotes, accents and the euro sign survive."""
    text = "text;n\n" + "".join(f"“Café Ångström” n’est pas à {i} €;1\n" for i in range(20))
    source, found = read(text.encode("cp1252"))
    assert source.encoding == "cp1252"
    assert found[3].row["text"] == "“Café Ångström” n’est pas à 3 €"


def test_broken_bytes_cost_their_row_only():
    """One row that is no UTF-8 in a file that otherwise is: that row fails, the others keep their characters."""
    data = b"text,n\n" + "é,1\n".encode() * 3 + b"caf\xe9,2\n" + "ü,3\n".encode()
    source, found = read(data)
    assert source.encoding == "utf-8"
    assert [row.row["text"] for row in found if not row.problem] == ["é", "é", "é", "ü"]
    assert "line 5" in found[3].problem
    json.dumps(found[3].row).encode()  # what is left of it can be written out


def test_ragged_rows_are_row_failures():
    """Too few and too many cells fail with row and line number; delimiters at a line's end are forgiven."""
    _, found = read(b'a,b\n"x\ny",1\n2\n3,4,5\n6,7,,\n\n8,9\n', kind="csv")
    assert [row.problem for row in found] == [
        "",
        "row 2 (line 4) has 1 cell where the header has 2",
        "row 3 (line 5) has 3 cells where the header has 2",
        "",
        "",
    ]
    assert found[4].row == {"a": "8", "b": "9"}
    assert [row.index for row in found] == list(range(5))


def test_an_open_quote_costs_one_line():
    """A quote that is never closed is reported with its line; the rows behind it are read."""
    _, found = read(b'a,b\n1,2\n3,"open\n4,5\n6,7\n', kind="csv")
    assert [row.row.get("a") for row in found if not row.problem] == ["1", "4", "6"]
    assert found[1].problem == "line 3 opens a quote that is never closed"


@settings(max_examples=300)
@given(st.text(alphabet='a,"\n\r;\0 ', max_size=60))
def test_any_csv_ends_and_loses_no_line(text):
    """Whatever the quoting, reading ends, and a row that is right by itself behind it is found."""
    _, found = read(("x,y\n" + text + '\n"tail",1\n').encode(), kind="csv")
    assert found
    assert any("tail" in str(row.row) for row in found)


def test_nul_is_reported():
    """A NUL marks a damaged file: the row fails, the next one does not."""
    _, found = read(b"a,b\n1,\x002\n3,4\n", kind="csv")
    assert ["NUL" in row.problem for row in found] == [True, False]


def test_broken_jsonl_lines_are_row_failures():
    """A broken line, and one that is no object, fail with their line number."""
    _, found = read(b'{"a":1}\nnope\n\n[1]\n' + b"[" * 100_000 + b'\n{"a":2}')
    assert [row.problem.split(" is ")[0] for row in found] == ["", "line 2", "line 4", "line 5", ""]
    assert found[-1].row == {"a": 2}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "text"])
def test_lines_are_bounded(monkeypatch, kind):
    """A line over the bound is a row failure that names it; memory never holds the whole of it."""
    monkeypatch.setattr(rows_module, "LINE_CHARS_MAX", 1024 * 1024)
    header = b"text\n" if kind == "csv" else b""
    good = b'{"text": "x"}\n'
    _, found = read(header + good + b"y" * (3 * 1024 * 1024) + b"\n" + good, kind=kind)
    assert [bool(row.problem) for row in found] == [False, True, False]
    assert "longer than 1 MiB" in found[1].problem


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"a,b\n1,2\n", "csv"),
        (b"a\tb\n1\t2\n", "csv"),
        (b'\n{"a": 1}\n', "jsonl"),
        (b"Where is my card?\nI lost it, and my phone.\n", "text"),
        (gzip.compress(b"a;b\n1;2\n", mtime=0), "csv"),
    ],
)
def test_standard_input_is_sniffed(data, kind):
    """Without a name the content tells the format; compressed or not."""
    source, _ = read(data)
    assert source.format == kind
    assert source.rows_total is None
    assert source.waits


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,,c\n1,2,3\n", "column 2 has no name"),
        ("a.csv", b"a,b,a\n1,2,3\n", "two columns named 'a'"),
        ("a.csv", b'"a,b\n', "never closed"),
        ("a.xlsx", b"PK\x03\x04xxxx", "spreadsheet"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 9, mtime=0)[:-12], "cannot be read"),
    ],
)
def test_broken_files_are_named(tmp_path, name, data, words):
    """A file that cannot be worked on is one sentence with its name, before or while reading."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        _all(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    """A missing file and a folder are usage errors with their name."""
    for name in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match=str(name)):
            open_source(str(name))


@pytest.mark.parametrize(("rows_max", "expected"), [(None, 3), (2, 2), (9, 3)])
def test_rows_are_counted_and_limited(tmp_path, rows_max, expected):
    """The number of rows is known beforehand, quoted newlines and the limit included."""
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"x\ny",1\n2\n\n3,4\n')
    source = open_source(str(path), rows_max=rows_max)
    assert source.rows_total == expected == len(list(source.rows))
    source.close()


# -- files that change while they are read -----------------------------------------------------------------------------


def test_a_file_that_grows_is_read_to_where_it_ended(tmp_path):
    """Rows that another program appends wait for the next run: a job is of the file as it was."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 20_000)
    source = open_source(str(path))
    next(source.rows)
    with path.open("a") as file:
        file.write('{"a": 2}\n')
    assert [row.row["a"] for row in source.rows] == [1] * 19_999
    source.close()
    assert len(_all(path)) == 20_001


def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path):
    """A new file put in its place, as editors do, changes nothing for who reads the old one."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 20_000)
    source = open_source(str(path))
    next(source.rows)
    (tmp_path / "new").write_text('{"a": 2}\n')
    (tmp_path / "new").replace(path)
    assert {row.row["a"] for row in source.rows} == {1}
    source.close()


@pytest.mark.parametrize("after", [b'{"a": 9}\n' * 20_000, b'{"a": 9}\n' * 30_000, b'{"a": 1}\n' * 15_000])
def test_a_file_that_is_rewritten_is_an_error(tmp_path, after):
    """Written over in place or cut short, it would be a mix of two: an error says so, and what was read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 20_000)
    os.utime(path, (1, 1))
    source = open_source(str(path))
    next(source.rows)
    with path.open("r+b") as file:
        file.write(after)
        file.truncate(len(after))
    with pytest.raises(InputError, match=r"changed by another program while it was read \(after row \d+, 180000 bytes"):
        list(source.rows)
    source.close()


@given(
    st.lists(st.sampled_from(['{"a":1}', "", "  ", "x" * 5, "é"]), max_size=20),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["jsonl", "text"]),
    st.integers(1, 7),
)
def test_counting_agrees_with_reading(tmp_path_factory, lines, ending, kind, chunk):
    """Lines counted without reading them as rows are as many as the rows, wherever a chunk ends."""
    path = tmp_path_factory.mktemp("c") / "a"
    path.write_bytes(("first" + ending + ending.join(lines)).encode())
    before, textfile._COUNT_CHUNK_BYTES = textfile._COUNT_CHUNK_BYTES, chunk
    try:
        source = open_source(str(path), kind=kind)
    finally:
        textfile._COUNT_CHUNK_BYTES = before
    assert source.rows_total == len(list(source.rows))
    source.close()


def test_a_job_over_a_file_that_changes_keeps_what_is_done(tmp_path):
    """Rows that were sent before it was noticed are in the journal: the next run sends the new rows alone."""
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(f'{{"text": "t{i}"}}\n' for i in range(3000)))
    job = JobSettings(input=str(path), task=Task(model="m", prompt="{text}"), out=out, concurrency=2)

    def answer(row):
        if row["text"] == "t1":
            path.write_text("".join(f'{{"text": "t{i}"}}\n' for i in range(2500)))
        return "a"

    first, second = FakeEngine(answer), FakeEngine()
    with pytest.raises(InputError, match="run the job again on the file as it is now"):
        asyncio.run(run_job(job, first))
    assert not out.exists()
    asyncio.run(run_job(job, second))
    assert 1000 < len(first.asked) <= 3000
    assert len(first.asked) + len(second.asked) <= 3000
    assert len(out.read_text().splitlines()) == 2500


# -- folders of parts --------------------------------------------------------------------------------------------------


def folder_of(tmp_path, files):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_parts_are_read_one_after_the_other(tmp_path):
    """By name, numbered through, without markers, checksums and empty parts; a broken row says which file it is in."""
    hidden = {"_SUCCESS": "", ".b.jsonl.crc": "junk", "_temporary": "junk"}
    parts = {"b.jsonl": 'nope\n{"a": 3}\n', "a.jsonl": '{"a": 1}\n{"a": 2}\n', "c.jsonl": ""}
    folder = folder_of(tmp_path, hidden | parts)
    source = open_source(str(folder))
    found = list(source.rows)
    assert source.rows_total == 4
    assert [row.index for row in found] == [0, 1, 2, 3]
    assert [row.row.get("a") for row in found] == [1, 2, None, 3]
    assert found[2].problem.startswith("b.jsonl: line 1 is not JSON")
    assert [path.name for path in source.paths] == ["a.jsonl", "b.jsonl"]
    source.close()


@pytest.mark.parametrize("rows_max", [None, 1, 2, 3, 9])
def test_globs_are_folders_too(tmp_path, rows_max):
    """A pattern picks files, also out of folders below; the limit is over all of them."""
    for part in ("x=1", "x=2", "_temporary"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "p.csv").write_text("a,b\n1,2\n3,4\n")
    source = open_source(str(tmp_path / "**" / "*.csv"), rows_max=rows_max)
    found = [row.row["a"] for row in source.rows]
    source.close()
    assert found == ["1", "3", "1", "3"][:rows_max]
    assert source.rows_total == len(found)


def test_parquet_parts_with_types_that_fit(tmp_path):
    """Columns in another order, and integers beside numbers, are one table."""
    folder = folder_of(tmp_path, {})
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), folder / "1.parquet")
    pq.write_table(pa.table({"b": ["y", "z"], "a": [2.5, 3.0]}), folder / "2.parquet")
    source = open_source(str(folder), rows_max=2)
    assert [row.row for row in source.rows] == [{"a": 1, "b": "x"}, {"b": "y", "a": 2.5}]
    assert source.rows_total == 2
    assert pa.Table.from_batches(source.table.batches()).to_pylist() == [{"a": 1.0, "b": "x"}, {"a": 2.5, "b": "y"}]
    source.close()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has no file with rows in it"),
        ({"a.csv": "", "_SUCCESS": "x"}, "has no file with rows in it"),
        ({"a.csv": "a\n1\n", "b.jsonl": "{}\n"}, "more than one format: a.csv is csv, b.jsonl is jsonl"),
        ({"a.csv": "a,b\n1,2\n", "b.csv": "a,c\n1,2\n"}, "only one of a.csv and b.csv has 'b'"),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path, files, words):
    """Nothing to read, two formats, and different columns are one sentence, before anything is sent."""
    folder = folder_of(tmp_path, files)
    with pytest.raises(InputError, match=words):
        open_source(str(folder))


def test_a_folder_of_folders_asks_for_a_glob(tmp_path):
    """Partitions are not guessed at; the message shows what to type."""
    (tmp_path / "x=1").mkdir()
    with pytest.raises(InputError, match=r"has folders in it, such as x=1; name the files with a glob"):
        open_source(str(tmp_path))
    with pytest.raises(InputError, match="has no file with rows"):
        open_source(str(tmp_path / "*.csv"))
