"""Parquet and Arrow as input: every value as JSON has it, in bounded memory, told by content, broken ones named."""

import datetime
import io
import json
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, InputError
from headway.jobs import parquet as parquet_module
from headway.jobs import rows as rows_module
from headway.jobs.source import open_source

NESTED = pa.table(
    {
        "n": pa.array([2**62, None]),
        "x": pa.array([1.5, float("nan")]),
        "yes": pa.array([True, None]),
        "day": pa.array([datetime.date(2026, 11, 21), None]),
        "at": pa.array([1234567890123456789, None], pa.timestamp("ns", "UTC")),
        "local": pa.array([1767268800, None], pa.timestamp("s")),
        "price": pa.array([Decimal("1.20"), None]),
        "raw": pa.array([b"\xff", None]),
        "tags": pa.array([["a", None], None]),
        "times": pa.array([[1767225600 * 10**9], None], pa.list_(pa.timestamp("ns"))),
        "who": pa.array([{"name": "Ada", "born": datetime.date(1815, 12, 10)}, None]),
        "by": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["x", None]).dictionary_encode(),
    }
)
AS_JSON = {
    "n": 2**62,
    "x": 1.5,
    "yes": True,
    "day": "2026-11-21",
    "at": "2009-02-13T23:31:30.123456Z",
    "local": "2026-01-01T12:00:00",
    "price": "1.20",
    "raw": "/w==",
    "tags": ["a", None],
    "times": ["2026-01-01T00:00:00"],
    "who": {"name": "Ada", "born": "1815-12-10"},
    "by": {"k": 1},
    "kind": "x",
}


def read(path, **options):
    source = open_source(str(path), **options)
    try:
        return source, list(source.rows)
    finally:
        source.close()


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow", "in.feather", "no_suffix", "in.csv"])
def test_values_become_what_json_has_for_them(tmp_path, name):
    """Dates as ISO text, decimals as text, bytes as base64, structs as objects; told by content, whatever the name."""
    path = tmp_path / name
    if name in ("in.arrow", "in.feather"):
        pyarrow.feather.write_feather(NESTED, path)
    else:
        pq.write_table(NESTED, path)
    source, found = read(path)
    assert source.format == ("arrow" if name in ("in.arrow", "in.feather") else "parquet")
    assert source.columns == tuple(AS_JSON)
    assert source.rows_total == 2
    assert found[0].row == AS_JSON == json.loads(json.dumps(found[0].row))
    assert found[1].row == dict.fromkeys(AS_JSON)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"a": st.text(max_size=5), "b": st.none() | st.integers(-(2**63), 2**63 - 1)}), min_size=1
    ),
    group=st.integers(1, 9),
    limit=st.none() | st.integers(1, 20),
)
def test_rows_come_out_as_they_went_in(tmp_path_factory, rows, group, limit):
    """In order, across row groups, up to the limit; and their number is known beforehand."""
    path = tmp_path_factory.mktemp("p") / "in.parquet"
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group)
    source, found = read(path, rows_max=limit)
    assert [row.row for row in found] == rows[:limit]
    assert [row.index for row in found] == list(range(len(found)))
    assert source.rows_total == len(found)
    assert sum(batch.num_rows for batch in source.table.batches()) == len(found)


def test_batches_are_small(tmp_path, monkeypatch):
    """Wide rows come a few at a time: memory is bounded by bytes, not by rows."""
    monkeypatch.setattr(parquet_module, "BATCH_BYTES", 100_000)
    table = pa.table({"text": [str(i % 10) * 10_000 for i in range(80)]})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=False)
    pyarrow.feather.write_feather(table, tmp_path / "in.arrow")
    for name in ("in.parquet", "in.arrow"):
        source, _ = read(tmp_path / name)
        assert max(batch.num_rows for batch in source.table.batches()) <= 10


def test_long_rows_are_row_failures(tmp_path, monkeypatch):
    """A row over the bound of a line is one sentence; one up to it is fine."""
    monkeypatch.setattr(rows_module, "LINE_CHARS_MAX", 1024 * 1024)
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["x" * (1024 * 1024 - 20), "x" * (1024 * 1024), "y"]}), path)
    _, found = read(path)
    assert [row.problem for row in found] == ["", "row 2 is longer than 1 MiB", ""]


def test_broken_files_are_named(tmp_path):
    """A cut file, something else of that name, and two columns of one name: one sentence each, with the path."""
    path = tmp_path / "in.parquet"
    pq.write_table(NESTED, path)
    whole = path.read_bytes()
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    for name, data, words in (
        ("cut.parquet", whole[:-100], "cannot be read as a Parquet file"),
        ("text.parquet", b"a,b\n1,2\n", "cannot be read as a Parquet file"),
        ("cut.arrow", b"ARROW1\0\0xx", "cannot be read as an Arrow"),
        ("twice.parquet", (tmp_path / "twice.parquet").read_bytes(), "two columns named 'a'"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=words) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_damage_inside_is_told_with_the_row(tmp_path):
    """Pages that cannot be decoded end the reading, with the number of rows that came before."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": [str(i) for i in range(9000)]}), path, row_group_size=3000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be read after row \d+"):
        read(path)


def test_a_file_that_is_written_over_is_told(tmp_path):
    """A Parquet file that another program rewrites while it is read is an error, not a mix of two files."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": list(range(5000))}), path)
    source = open_source(str(path))
    next(source.rows)
    with path.open("r+b") as file:
        file.seek(0, io.SEEK_END)
        file.write(b"more")
    with pytest.raises(InputError, match="changed by another program"):
        list(source.rows)
    source.close()


def test_parquet_cannot_be_piped(tmp_path):
    """It is read from its end, which a pipe does not have."""
    data = io.BytesIO()
    pq.write_table(NESTED, data)
    with pytest.raises(InputError, match="a Parquet file, which is not read as text"):
        open_source("-", stdin=io.BytesIO(data.getvalue()))
    with pytest.raises(InputError, match="name the file"):
        open_source("-", kind="parquet", stdin=io.BytesIO(data.getvalue()))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    """Nobody who reads CSV needs pyarrow, and who needs it is told how to get it."""
    path = tmp_path / "in.parquet"
    pq.write_table(NESTED, path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'headway\[parquet\]'"):
        open_source(str(path))
    (tmp_path / "in.csv").write_text("a\n1\n")
    assert len(read(tmp_path / "in.csv")[1]) == 1
