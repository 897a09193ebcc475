"""Many rows in one statement arrive as if each had been inserted by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.store.bulk import BulkInsert

VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.binary(), VALUES, VALUES), max_size=30))
def test_values_survive(rows: list[tuple[Any, ...]]):
    """NULLs, integers, floats, texts and blobs keep their type and value, and rows their order."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (a, b, c)")
        BulkInsert("INSERT INTO t (a, b, c)", 3).execute(connection, [value for row in rows for value in row])
        assert connection.execute("SELECT * FROM t ORDER BY rowid").fetchall() == rows


@pytest.mark.parametrize("variables_max", [7, 999, 32_766])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 511, 512, 513, 1_300])
def test_any_number_of_rows(count: int, variables_max: int):
    """Neither padding nor splitting shows, also where SQLite allows few variables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, variables_max)
        connection.execute("CREATE TABLE t (a, b)")
        insert = BulkInsert("INSERT INTO t (a, b)", 2)
        for _ in range(2):
            insert.execute(connection, [value for at in range(count) for value in (f"r{at}", 0)])
        assert (
            connection.execute("SELECT a FROM t ORDER BY rowid").fetchall() == [(f"r{at}",) for at in range(count)] * 2
        )
