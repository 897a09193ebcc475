"""Steps of pipelines in the call log: a table that older logs get as well, and the view `steps` for SQL by hand."""

from __future__ import annotations

import sqlite3
from typing import Any, get_args

import msgspec

from headway.types.steps import EdgeKind, StepOutcome, StepRow

__all__ = ["STEPS", "step_of", "step_values", "steps_found"]

_LATER: dict[str, Any] = {"parent": -1, "outer": "''", "budget_wait_s": 0.0}
"""Fields that rows of older Headways do not have, and what they stand for there."""


def _view_column(name: str) -> str:
    """The SQL that finds a field of `StepRow` in `data`."""
    if name in ("pipeline", "run", "start_wall_s"):
        return name
    found = f"json_extract(data, '$.{name}')"
    return f"coalesce({found}, {_LATER[name]})" if name in _LATER else found


_SHOWN = ", ".join(f'{_view_column(name)} AS "{name}"' for name in StepRow.__struct_fields__)

STEPS: dict[str, tuple[str, ...]] = {
    "steps_data": (
        """CREATE TABLE steps_data (row INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, run TEXT NOT NULL,
        start_wall_s REAL NOT NULL, data TEXT NOT NULL)""",
    ),
    "steps_run": ("CREATE INDEX steps_run ON steps_data (run)",),
    "steps_pipeline": ("CREATE INDEX steps_pipeline ON steps_data (pipeline, start_wall_s)",),
    "steps": (f"CREATE VIEW steps AS SELECT row AS rowid, {_SHOWN} FROM steps_data",),  # noqa: S608
}
"""Name to what makes it."""

_decode = msgspec.json.Decoder(StepRow).decode
_encode = msgspec.json.Encoder().encode


def step_values(row: StepRow) -> tuple[str, str, float, str]:
    """What a row becomes in the table: pipeline, run, start_wall_s, data."""
    return row.pipeline, row.run, row.start_wall_s, _encode(row).decode()


def step_of(data: str) -> StepRow | None:
    """The row that is kept as `data`.

    Words that this version does not know, for a newer one wrote the row, become the plainest ones: the outcome
    "cancelled", the edge "control". None: it is no such row at all.
    """
    try:
        return _decode(data)
    except msgspec.MsgspecError:
        pass
    try:
        raw = msgspec.json.decode(data, type=dict[str, Any])
        if raw.get("outcome") not in get_args(StepOutcome):
            raw["outcome"] = "cancelled"
        for edge in raw.get("edges", ()):
            if edge.get("kind") not in get_args(EdgeKind):
                edge["kind"] = "control"
        return msgspec.convert(raw, StepRow)
    except (msgspec.MsgspecError, AttributeError, TypeError):
        return None


def steps_found(
    connection: sqlite3.Connection,
    pipeline: str | None,
    run: str | None,
    since_wall_s: float | None,
    limit: int,
) -> list[str]:
    """The `data` of the youngest `limit` rows that match, oldest first. Raises `sqlite3.Error`."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'steps_data'").fetchone()[0]:
        return []  # a log that no Headway has opened since steps are written into it
    asked: tuple[tuple[str, Any], ...] = (
        ("pipeline = ?", pipeline), ("run = ?", run), ("start_wall_s >= ?", since_wall_s),
    )  # fmt: skip
    given = [(condition, value) for condition, value in asked if value is not None]
    where = " AND ".join(condition for condition, _ in given) or "true"
    sql = f"SELECT data FROM steps_data WHERE {where} ORDER BY row DESC LIMIT ?"  # noqa: S608 - our own words
    rows = connection.execute(sql, [*(value for _, value in given), limit]).fetchall()
    return [data for (data,) in reversed(rows)]
