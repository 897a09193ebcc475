"""Sources: what is in a file comes out of it, and what is broken is told, row by row."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import InputError
from headway.jobs import rows as rows_module
from headway.jobs.source import open_source

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
        (gzip.compress(b"a;b\n1;2\n"), "csv"),
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
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 9)[:-12], "cannot be read"),
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
