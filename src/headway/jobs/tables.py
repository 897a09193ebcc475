"""Results as a table: the input's columns with the types they have, and the results' columns behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headway.errors import InputError
from headway.jobs.journal import Line
from headway.jobs.opened import Columnar
from headway.jobs.parquet import pyarrow
from headway.jobs.record import Record

__all__ = ["COLUMNS_MAX", "GROUP_BYTES", "GROUP_ROWS", "TABLE_COLUMNS", "Shape", "cells_of", "unlike"]

GROUP_ROWS: Final = 10_000
GROUP_BYTES: Final = 64 * 1024 * 1024
"""Rows made into one table at a time, a row group of a Parquet file: so many, and of about so many bytes, at most."""

TABLE_COLUMNS: Final = (
    "output",
    "error",
    "outcome",
    "latency_s",
    "tokens_in",
    "tokens_out",
    "dollars",
    "cache",
    "lane",
)
"""What a table has after the input's columns; one that the input has too is prefixed with ``headway_``."""

COLUMNS_MAX: Final = 1_000
"""Columns that rows without a schema may have between them."""

_INT64: Final = range(-(2**63), 2**63)


def unlike(columns: Collection[str], name: str) -> str:
    """The name of a result's column beside the input's."""
    while name in columns:
        name = f"headway_{name}"
    return name


def cells_of(record: Record | None) -> tuple[Any, ...]:
    """The values of `TABLE_COLUMNS`; for a row that was not done, its outcome is "owed" and all else None."""
    if record is None:
        return (None, None, "owed", *[None] * (len(TABLE_COLUMNS) - 3))
    tokens = record.tokens
    return (
        record.output,
        record.error,
        record.outcome,
        record.latency_s,
        tokens.input if tokens else None,
        tokens.output if tokens else None,
        record.dollars,
        record.cache,
        record.lane,
    )


class _Seen(msgspec.Struct, frozen=True):
    """The part of a record that types are told by."""

    output: Any = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


_SEEN: Final = msgspec.json.Decoder(_Seen)


class Shape:
    """The columns and types of a job's table; and the table, piece by piece.

    Where the input has types they are kept, and its columns are taken from it again; otherwise each column has the
    narrowest of true/false, integer, number and text that holds all of its values. Lists and objects become text, as
    JSON, and so does a column of mixed kinds.

    Args:
        columns: The input's columns as far as known, where it has no table; others that rows have come behind them.
        lines: All rows in input order, to tell types by; None for a row that was not done.
        table: The input's own columns, as many rows as there are lines.
    """

    def __init__(self, columns: Sequence[str], lines: Iterable[Line | None], table: Columnar | None = None) -> None:
        arrow = pyarrow()
        kinds: dict[str, set[str]] = {} if table else {name: set() for name in columns}
        outputs: set[str] = set()
        for line in lines:
            if line is not None:
                seen = _SEEN.decode(line.record)
                outputs.add(_kind_of(seen.output))
                if not table:
                    _see(kinds, msgspec.json.decode(seen.input))
        columns = table.schema.names if table else list(kinds)
        types = [_type_of(outputs), *_result_types()]
        self._results = arrow.schema(
            [arrow.field(unlike(columns, name), kind) for name, kind in zip(TABLE_COLUMNS, types, strict=True)]
        )
        schema = table.schema if table else arrow.schema([(name, _type_of(seen)) for name, seen in kinds.items()])
        self._inputs = schema
        for field in self._results:
            schema = schema.append(field)
        self.schema = schema
        """A `pyarrow.Schema`."""
        self._rows = _Rows(table) if table else None

    def tables(self, lines: Iterable[Line | None]) -> Iterator[Any]:
        """The next rows, as tables of at most `GROUP_ROWS` rows. Lines are those after the ones given before."""
        records: list[Record | None] = []
        size_bytes = 0
        for line in lines:
            records.append(None if line is None else line.read())
            size_bytes += 0 if line is None else len(bytes(line.record))
            if len(records) >= GROUP_ROWS or size_bytes >= GROUP_BYTES:
                yield self._made(records)
                records, size_bytes = [], 0
        if records:
            yield self._made(records)

    def results(self, lines: Iterable[Line | None]) -> Any:
        """The results' columns alone, as one `pyarrow.Table`."""
        records = [None if line is None else line.read() for line in lines]
        return pyarrow().table(self._result_arrays(records), schema=self._results)

    def _made(self, records: list[Record | None]) -> Any:
        arrow = pyarrow()
        if self._rows is not None:
            given = arrow.Table.from_batches(self._rows.take(len(records)), schema=self._inputs).columns
        else:
            given = [
                _array([record.input.get(field.name) if record else None for record in records], field.type)
                for field in self._inputs
            ]
        return arrow.table([*given, *self._result_arrays(records)], schema=self.schema)

    def _result_arrays(self, records: list[Record | None]) -> list[Any]:
        columns = zip(*map(cells_of, records), strict=True) if records else ([] for _ in TABLE_COLUMNS)
        return [_array(values, field.type) for values, field in zip(columns, self._results, strict=True)]


class _Rows:
    """An input's record batches, cut as they are asked for."""

    def __init__(self, table: Columnar) -> None:
        self._batches = table.batches()
        self._left: Any = None

    def take(self, count: int) -> list[Any]:
        """The next `count` rows, as batches."""
        found = []
        while count:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._batches, None)
                if self._left is None:
                    raise InputError("the input has fewer rows than when it was read; run the job again")
            found.append(self._left.slice(0, count))
            self._left = self._left.slice(found[-1].num_rows)
            count -= found[-1].num_rows
        return found


def _see(kinds: dict[str, set[str]], row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name in kinds or len(kinds) < COLUMNS_MAX:
            kinds.setdefault(name, set()).add(_kind_of(value))


def _kind_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _INT64 else "json"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


def _type_of(kinds: set[str]) -> Any:
    arrow = pyarrow()
    kinds = kinds - {""}
    if kinds == {"bool"}:
        return arrow.bool_()
    if kinds == {"int"}:
        return arrow.int64()
    if kinds and kinds <= {"int", "float"}:
        return arrow.float64()
    return arrow.string()


def _result_types() -> list[Any]:
    """The types of `TABLE_COLUMNS` from the second on."""
    arrow = pyarrow()
    text, number, count = arrow.string(), arrow.float64(), arrow.int64()
    return [text, text, number, count, count, number, text, text]


def _array(values: Iterable[Any], kind: Any) -> Any:
    arrow = pyarrow()
    if arrow.types.is_string(kind):
        values = [
            value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
            for value in values
        ]
    return arrow.array(values, kind)
