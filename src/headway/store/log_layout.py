"""What the call log's file looks like inside, and the views for SQL by hand.

`calls` and `attempts` have the columns of `rows.LogRow`, `steps` those of `types.steps.StepRow`. `attempts` shows tries
that have a row of their own, and those that are kept in their call's row. Its `rowid` is no row's number, for there are
two tables below it: it is when the try started, in microseconds, so that it still sorts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headway.store.database import Layout
from headway.store.rows import SINCE_START, TAGS, USAGE, LogRow, Taken, Tried
from headway.store.step_rows import STEPS

__all__ = ["LAYOUT", "VIEW_COLUMNS"]


def _value(field: str, inside: str = "") -> str:
    """The SQL that finds a field of `Taken` in `data`. "->>" would need SQLite 3.38."""
    return f"json_extract(data, '$[{Taken.__struct_fields__.index(field)}]{inside}')"


def _value_of_try(field: str) -> str:
    """The same of the try that is kept in its call's row."""
    if field in Tried.__struct_fields__:
        return _value("tried", f"[{Tried.__struct_fields__.index(field)}]")
    return _value(field)


def _column(name: str, value: Callable[[str], str]) -> str:
    """The SQL that makes a field of `LogRow`."""
    if name in SINCE_START:
        return f"{value(SINCE_START[name])} - {value('started_at_s')}"
    if name in USAGE or name == "usage_estimated":
        found = _value("usage", f".{name.removeprefix('usage_')}")
        known = _value("usage").replace("json_extract", "json_type") + " = 'object'"
        return f"coalesce({found}, CASE WHEN {known} THEN 0 END)"  # what is left out is zero
    if name in TAGS:
        return f"coalesce({_value('tags', f'.{name}')}, '')"
    if name == "block_hashes":
        return f"""trim(replace({value(name)}, '","', ','), '[]"')"""
    return value(name)


VIEW_COLUMNS: Final = {name: _column(name, _value) for name in LogRow.__struct_fields__} | {
    "start_wall_s": "start_wall_s",
    "run": "run",
}
"""Field of `LogRow` to the SQL expression that shows it."""

_TRY_COLUMNS = {name: _column(name, _value_of_try) for name in LogRow.__struct_fields__} | {
    "id": "id || '.0'",
    "flight_id": "id",
    "start_wall_s": "try_wall_s",
    "run": "run",
    "cache": "''",
    "attempts": "0",
    "prompt": "NULL",
    "answer": "NULL",
}


_MICROSECONDS: Final = "CAST({} * 1e6 AS INTEGER)"


def _select(columns: dict[str, str], table: str, rowid: str = "row") -> str:
    shown = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    return f"SELECT {rowid} AS rowid, {shown} FROM {table}"  # noqa: S608 - our own words


_FOLDED: Final = (
    "ALTER TABLE calls_data ADD COLUMN try_wall_s REAL",
    "CREATE INDEX calls_try ON calls_data (try_wall_s) WHERE try_wall_s IS NOT NULL",
    "DROP VIEW IF EXISTS calls",
    f"CREATE VIEW calls AS {_select(VIEW_COLUMNS | {'id': 'id'}, 'calls_data')}",
    "DROP VIEW IF EXISTS attempts",
    f"""CREATE VIEW attempts AS
        {_select(VIEW_COLUMNS | {"flight_id": "flight_id"}, "attempts_data", _MICROSECONDS.format("start_wall_s"))}
        UNION ALL
        {_select(_TRY_COLUMNS, "calls_data WHERE try_wall_s IS NOT NULL", _MICROSECONDS.format("try_wall_s"))}""",
)
"""Tries in the rows of their calls: `try_wall_s` says where there is one, and when it started."""

LAYOUT = Layout(
    kind="call log",
    application_id=0x48574C31,  # "HWL1"
    version=2,
    older="keep",
    additions={**STEPS, "calls_try": _FOLDED},
    page_bytes=8192,
    schema=tuple(
        statement
        for table, found_by in (("calls", "id"), ("attempts", "flight_id"))
        for statement in (
            f"""CREATE TABLE {table}_data (row INTEGER PRIMARY KEY, {found_by} TEXT NOT NULL,
                start_wall_s REAL NOT NULL, run TEXT NOT NULL, data TEXT NOT NULL)""",
            f"CREATE INDEX {table}_{found_by} ON {table}_data ({found_by})",
            f"CREATE INDEX {table}_start ON {table}_data (start_wall_s)",
            f"CREATE INDEX {table}_run ON {table}_data (run, start_wall_s) WHERE run != ''",
        )
    ),
)
