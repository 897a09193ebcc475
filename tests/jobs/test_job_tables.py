"""Tables handed to a job as they are, with real pandas and polars: in, and out again in the same kind."""

import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from headway.errors import InputError
from headway.jobs.given import take
from headway.jobs.library import run
from headway.jobs.tables import TABLE_COLUMNS, unlike
from headway.prompts import Task
from headway.testing import FakeProvider, Step

TASK = Task(model="gpt-5.4-mini", prompt="{text}", labels=["card", "invoice"])


def job(data, **options):
    return run(data, TASK, handler=FakeProvider([Step(text="card")]), cache=False, **options)


def test_a_pandas_frame_comes_back_as_it_was():
    """Its index (with duplicates), its types and its order are kept; the results stand behind its columns."""
    frame = pd.DataFrame(
        {
            "text": ["a", "b", "c"],
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "kind": pd.Categorical(["x", "y", "x"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "output": [0.5, 1.5, 2.5],
        },
        index=[7, 7, 3],
    )
    found = job(frame).table
    pd.testing.assert_frame_equal(found[list(frame.columns)], frame)
    assert list(found.columns)[5:] == ["headway_output", *TABLE_COLUMNS[1:]]
    assert list(found["headway_output"]) == ["card"] * 3
    assert list(found["outcome"]) == ["ok"] * 3


def test_a_polars_frame_comes_back_as_it_was():
    """Types that other tables lack are kept, nested ones too."""
    frame = pl.DataFrame(
        {
            "text": ["a", "b"],
            "when": [datetime.date(2026, 1, 1), None],
            "tags": [["x"], []],
            "kind": pl.Series(["x", "y"], dtype=pl.Categorical),
        }
    )
    found = job(frame).table
    assert found.select(frame.columns).equals(frame)
    assert found.schema["kind"] == pl.Categorical
    assert found["output"].to_list() == ["card", "card"]


def test_arrow_comes_back_as_arrow():
    """A table, a batch, a reader that can be read once, and whatever else gives a stream."""
    table = pa.table({"text": ["a", "b"], "at": pa.array([1, 2], pa.timestamp("ns"))})

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    for given in (
        table,
        table.to_batches()[0],
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        Stream(),
    ):
        found = job(given)
        assert found.table.select(["text", "at"]).equals(table)
        assert found.table["output"].to_pylist() == ["card", "card"]
        assert found.to_pandas()["output"].to_list() == found.to_polars()["output"].to_list() == ["card", "card"]


def test_a_table_without_rows_gives_its_columns():
    """Nothing to do is no error, and the columns are there for what reads on."""
    found = job(pa.table({"text": pa.array([], pa.string())}))
    assert found.table.column_names == ["text", *TABLE_COLUMNS]
    assert len(found) == found.table.num_rows == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame({"text": ["a", 1, object()]}), "the DataFrame given cannot be read"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "the DataFrame given"),
        (pd.Series(["a"], name="text"), "the Series given cannot be read"),
        (pl.LazyFrame({"text": ["a"]}), "the LazyFrame given cannot be read"),
        ({"text": ["a"]}, "rows cannot be taken from dict"),
        (5, "rows cannot be taken from int"),
        (pd.DataFrame({"body": ["a"]}), "the table given has no column 'text'"),
    ],
)
def test_what_holds_no_rows_is_one_sentence(data, words):
    """Mixed columns, a column twice, a single column, a query, and no table at all."""
    with pytest.raises(InputError, match=words):
        job(data)


def test_numbers_of_other_packages_become_plain(tmp_path):
    """Dicts may hold what data programs have in them; what has no JSON costs its row only."""
    import numpy as np

    rows = [
        {"text": "a", "n": np.int64(5), "x": np.float32("nan"), "l": np.array([1, 2]), "t": pd.Timestamp("2026-01-01")},
        {"text": "b", "day": datetime.date(2026, 1, 1), 3: {4: None}},
        {"text": "c", "f": print},
    ]
    found = list(take(rows).source.rows)
    assert found[0].row == {"text": "a", "n": 5, "x": None, "l": [1, 2], "t": "2026-01-01T00:00:00"}
    assert found[1].row == {"text": "b", "day": "2026-01-01", "3": {"4": None}}
    assert found[2].problem == "row 3 holds a value that JSON has not: a builtin_function_or_method"


def test_names_that_are_taken():
    """A result's column never hides one of the input, however often its prefix is there already."""
    assert unlike(["a"], "output") == "output"
    assert unlike(["output", "headway_output"], "output") == "headway_headway_output"
