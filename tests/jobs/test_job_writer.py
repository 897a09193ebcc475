"""Outputs: Parquet with the input's types, folders of parts that appear whole, and places that are refused."""

import asyncio
import csv
import datetime
import json
from array import array
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, HeadwayError
from headway.jobs import tables as tables_module
from headway.jobs import writer as writer_module
from headway.jobs.journal import Journal
from headway.jobs.place import out_path
from headway.jobs.record import record_of
from headway.jobs.runner import JobSettings, journal_path, run_job
from headway.jobs.tables import TABLE_COLUMNS
from headway.jobs.writer import write_output
from headway.prompts import Task
from headway.types import Result
from tests.jobs.job_fakes import FakeEngine

TYPED = pa.table(
    {
        "text": ["a", "b", "c"],
        "at": pa.array([1234567890123456789, None, 0], pa.timestamp("ns", "UTC")),
        "price": pa.array([Decimal("1.20"), None, Decimal(0)]),
        "raw": pa.array([b"\xff", None, b""]),
        "who": pa.array([{"born": datetime.date(1815, 12, 10)}, None, None]),
        "error": ["mine", "mine", "mine"],
    }
)


def run(source, out, answer=lambda row: "a", **changes):
    """Run the job; the texts that were sent."""
    engine = FakeEngine(answer)
    task = Task(model="m", prompt="{text}")
    asyncio.run(run_job(JobSettings(input=str(source), task=task, out=out, **changes), engine))
    return [row["text"] for row in engine.asked]


def write_csv(path, count):
    path.write_text("text,n\n" + "".join(f"t{i},{i}\n" for i in range(count)))
    return path


def test_parquet_keeps_the_inputs_types(tmp_path):
    """Nanoseconds, decimals, bytes and structs come out as they went in; result columns never hide the input's."""
    pq.write_table(TYPED, tmp_path / "in.parquet", row_group_size=2)
    run(
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        lambda row: ("server_error", "x") if row["text"] == "b" else 5,
    )
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(TYPED.column_names).equals(TYPED)
    assert found.column_names[len(TYPED.column_names) :] == [
        "headway_error" if name == "error" else name for name in TABLE_COLUMNS
    ]
    assert found["output"].to_pylist() == [5, None, 5]
    assert found["headway_error"].to_pylist() == [None, "it failed with x", None]
    assert found["outcome"].to_pylist() == ["ok", "server_error", "ok"]
    assert found["tokens_in"].to_pylist() == [10, None, 10]
    assert found.schema.field("dollars").type == pa.float64()


def test_parquet_from_rows_without_types(tmp_path):
    """Each column gets the narrowest type that holds it; lists, objects and mixed kinds are JSON text."""
    rows = [
        {"text": "a", "i": 1, "x": 1, "b": True, "l": [1, {"k": None}], "m": 1, "big": 2**70},
        {"text": "b", "i": None, "x": 1.5, "b": None, "l": None, "m": "one", "late": 1},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tmp_path / "in.jsonl", tmp_path / "out.parquet", lambda row: {"label": row["text"]})
    found = pq.read_table(tmp_path / "out.parquet")
    kinds = {name: str(found.schema.field(name).type) for name in ("i", "x", "b", "l", "m", "late", "output")}
    assert kinds == {
        "i": "int64",
        "x": "double",
        "b": "bool",
        "l": "string",
        "m": "string",
        "late": "int64",
        "output": "string",
    }
    assert found["l"].to_pylist() == ['[1,{"k":null}]', None]
    assert found["m"].to_pylist() == ["1", "one"]
    assert found["big"].to_pylist() == [str(2**70), None]
    assert [json.loads(cell) for cell in found["output"].to_pylist()] == [{"label": "a"}, {"label": "b"}]


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(0, 23),
    part=st.integers(1, 9),
    group=st.integers(1, 9),
    kind=st.sampled_from(["csv", "parquet", "jsonl"]),
)
def test_parts_hold_every_row_once(tmp_path_factory, count, part, group, kind):
    """In order, whatever the sizes of parts and row groups, with `_SUCCESS`; parts of a larger run are gone."""
    folder = tmp_path_factory.mktemp("w") / f"out.{kind}"
    folder.mkdir()
    (folder / "part-00007.parquet").write_bytes(b"stale")
    (folder / "part-00099.csv").write_bytes(b"stale")
    journal = Journal.temporary()
    offsets = [journal.append(str(i), record_of(Result(index=i, row={"n": i}, value=f"v{i}"))) for i in range(count)]
    before, tables_module.GROUP_ROWS = tables_module.GROUP_ROWS, group
    try:
        write_output(folder, array("q", offsets), journal, ["n"], part_rows=part)
    finally:
        tables_module.GROUP_ROWS = before
        journal.close()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["_SUCCESS", *(f"part-{i:05}.{kind}" for i in range(max(1, -(-count // part))))]
    assert [value for name in names[1:] for value in values_of(folder / name)] == [f"v{i}" for i in range(count)]


def values_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path)["output"].to_pylist()
    if path.suffix == ".csv":
        return [row["output"] for row in csv.DictReader(path.read_text().splitlines())]
    return [json.loads(line)["output"] for line in path.read_text().splitlines()]


def test_a_folder_has_the_inputs_format_and_is_resumed(tmp_path):
    """CSV in, CSV parts out; the journal is beside the folder; a second run sends only what is new."""
    source, out = write_csv(tmp_path / "in.csv", 5), out_path(f"{tmp_path}/out/")
    assert len(run(source, out)) == 5
    assert sorted(path.name for path in out.iterdir()) == ["_SUCCESS", "part-00000.csv"]
    assert journal_path(out) == tmp_path / "out.journal"
    assert journal_path(out).exists()
    write_csv(source, 6)
    assert run(source, out) == ["t5"]
    assert len(values_of(out / "part-00000.csv")) == 6


def test_a_folder_without_success_is_one_that_is_written(tmp_path, monkeypatch):
    """The marker goes first and comes last, so that who waits for it never reads a mix of two runs."""
    source, out = write_csv(tmp_path / "in.csv", 2), out_path(f"{tmp_path}/out/")
    run(source, out)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, "fsync", full)
    with pytest.raises(HeadwayError, match="No space left on device; the finished rows are in its journal"):
        write_output(out, array("q"), Journal.temporary(), [])
    assert [path.name for path in out.iterdir()] == ["part-00000.csv"]


def test_places_that_are_refused(tmp_path):
    """A folder with other files, one that no journal belongs to, the input itself, and a place within the input."""
    source = write_csv(tmp_path / "in.csv", 2)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("keep me")
    with pytest.raises(ConfigError, match=r"other files in it, such as notes\.txt"):
        run(source, other)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "part-00000.csv").write_text("whose?")
    with pytest.raises(ConfigError, match="no journal is beside it"):
        run(source, strange)
    assert len(run(source, strange, fresh=True)) == 2
    parts = tmp_path / "parts"
    parts.mkdir()
    write_csv(parts / "a.csv", 2)
    for out in (parts, parts / "out.csv", parts / "a.csv"):
        with pytest.raises(ConfigError, match="is the input"):
            run(parts, out)
    with pytest.raises(ConfigError, match="cannot be made"):
        out_path(f"{tmp_path}/none/out/")
    assert sorted(path.name for path in parts.iterdir()) == ["a.csv"]


def test_a_ten_megabyte_row_goes_through(tmp_path):
    """The largest row that is read is also kept and written, to each format."""
    row = {"text": "x" * (10 * 1024 * 1024 - 20)}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + '\n{"text": "y"}\n')
    for name in ("out.jsonl", "out.parquet"):
        assert len(run(tmp_path / "in.jsonl", tmp_path / name)) == 2
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == [row["text"], "y"]
