"""What came of a job that a program ran: read from its journal when it is asked for."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Iterator
from typing import Any

from headway.errors import ConfigError
from headway.jobs.given import Given
from headway.jobs.journal import Journal, Line
from headway.jobs.parquet import pyarrow
from headway.jobs.record import result_of
from headway.jobs.tables import TABLE_COLUMNS, Shape, cells_of, unlike
from headway.report.summary import Summary
from headway.types import Result

__all__ = ["JobResult"]


class JobResult:
    """Every row's result, in input order. Iterating reads them one by one, however many there are.

    A row that was not done, because the job stopped early, has the outcome "owed".
    """

    def __init__(self, given: Given, journal: Journal, offsets: array[int], summary: Summary, stopped: str) -> None:
        self._given = given
        self._journal = journal
        self._offsets = offsets
        self.summary = summary
        """Rows, failures, seconds, tokens, dollars: what ``headway run --json`` prints."""
        self.stopped = stopped
        """Why the job stopped before its end, a sentence; "" when it did not."""
        weakref.finalize(self, journal.close)

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Result]:
        for index, line in enumerate(self._lines()):
            if line is None:
                yield Result(index=index, row={}, error=self.stopped or "not done", outcome="owed")
            else:
                record = line.read()
                yield result_of(record, index, record.input)

    def __repr__(self) -> str:
        failed = sum(self.summary.failed.values())
        owed = f", {self.summary.owed:,} owed" if self.summary.owed else ""
        return f"<JobResult: {len(self):,} rows, {failed:,} failed{owed}{', stopped' if self.stopped else ''}>"

    @property
    def results(self) -> list[Result]:
        """All results at once."""
        return list(self)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The input's columns and the results' of each row, as one dict."""
        for line in self._lines():
            record = line.read() if line is not None else None
            row = dict(record.input) if record is not None else {}
            names = [unlike(row, name) for name in TABLE_COLUMNS]
            yield row | dict(zip(names, cells_of(record), strict=True))

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`: the input's columns with the types they have, and the results'."""
        shape = self._shape()
        tables = list(shape.tables(self._lines()))
        return pyarrow().concat_tables(tables) if tables else shape.schema.empty_table()

    def to_pandas(self) -> Any:
        """A pandas `DataFrame`. One that was given keeps its index and its columns as they are."""
        pandas = _package("pandas")
        if self._given.kind != "pandas":
            return self.to_arrow().to_pandas()
        frame = self._given.data
        found = self._shape().results(self._lines()).to_pandas()
        return pandas.concat([frame, found.set_index(frame.index)], axis=1)

    def to_polars(self) -> Any:
        """A polars `DataFrame`. One that was given keeps its columns as they are."""
        polars = _package("polars")
        if self._given.kind != "polars":
            return polars.from_arrow(self.to_arrow())
        return self._given.data.hstack(polars.from_arrow(self._shape().results(self._lines())))

    @property
    def table(self) -> Any:
        """The same kind that was given: a data frame of pandas or polars, an Arrow table, or a list of dicts."""
        if self._given.kind == "pandas":
            return self.to_pandas()
        if self._given.kind == "polars":
            return self.to_polars()
        return self.to_arrow() if self._given.kind == "arrow" else list(self.rows())

    def _lines(self) -> Iterator[Line | None]:
        for offset in self._offsets:
            yield self._journal.read(offset) if offset >= 0 else None

    def _shape(self) -> Shape:
        return Shape(self._given.source.columns, self._lines(), self._given.source.table)


def _package(name: str) -> Any:
    from importlib import import_module  # only for those who have it

    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"{name} is not installed; install it with: pip install {name}") from None
