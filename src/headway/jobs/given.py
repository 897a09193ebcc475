"""What the library call is given: a path, dicts, or a table of pandas, polars or Arrow; opened as a source."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from headway.errors import InputError
from headway.jobs.opened import Columnar, Source
from headway.jobs.parquet import BATCH_ROWS, columnar_rows, pyarrow
from headway.jobs.rows import SourceRow
from headway.jobs.source import open_source

__all__ = ["Given", "GivenKind", "take"]

GivenKind: TypeAlias = Literal["rows", "pandas", "polars", "arrow"]


class Given(NamedTuple):
    """An opened input, and the table as it was given."""

    kind: GivenKind
    source: Source
    data: Any = None


def take(data: Any) -> Given:
    """Open what was given.

    Raises:
        InputError: It cannot be read, or is nothing that holds rows.
        ConfigError: It is a table, and pyarrow is not installed.
    """
    if isinstance(data, str | Path):
        return Given("rows", open_source(str(data)))
    package = type(data).__module__.partition(".")[0]
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__") or package in ("pandas", "polars"):
        return _table(data, package)
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise InputError(f"rows cannot be taken from {type(data).__name__}; give a path, dicts, or a table")
    total = len(data) if isinstance(data, Sized) else None
    first = data[0] if isinstance(data, list | tuple) and data else None
    columns = tuple(map(str, first)) if isinstance(first, Mapping) else ()
    return Given("rows", _source("the rows given", columns, total, _rows(data)))


def _table(data: Any, package: str) -> Given:
    arrow = pyarrow()
    try:
        if package == "pandas":
            whole = arrow.Table.from_pandas(data, preserve_index=False)
        elif package == "polars":
            whole = data.to_arrow()
        elif isinstance(data, arrow.Table):
            whole = data
        elif hasattr(data, "__arrow_c_stream__"):
            whole = _spooled(arrow.RecordBatchReader.from_stream(data))
        else:
            whole = arrow.Table.from_batches([arrow.record_batch(data)])
    except (arrow.ArrowException, TypeError, ValueError, AttributeError) as error:
        way_out = "give a data frame or table whose columns each have one type"
        raise InputError(f"the {type(data).__name__} given cannot be read: {error}; {way_out}") from None
    names = tuple(whole.schema.names)
    if len(set(names)) < len(names):
        raise InputError(f"the {type(data).__name__} given has two columns of one name; rename one")

    def batches() -> Iterator[Any]:
        return iter(whole.to_batches(max_chunksize=BATCH_ROWS))

    columnar = Columnar(whole.schema, whole.num_rows, batches)
    source = _source("the table given", names, whole.num_rows, columnar_rows(columnar, "the table given"), columnar)
    kind: GivenKind = "pandas" if package == "pandas" else "polars" if package == "polars" else "arrow"
    return Given(kind, source, data if kind in ("pandas", "polars") else whole)


def _spooled(reader: Any) -> Any:
    """A stream, which can be read once, as a table that is on the disk and takes no memory."""
    arrow, ipc = pyarrow(), pyarrow("ipc")
    # the file is gone at once, its pages when nothing refers to them any more; elsewhere than on POSIX it stays
    with tempfile.TemporaryDirectory(prefix="headway-", ignore_cleanup_errors=True) as folder:
        path = str(Path(folder) / "stream.arrow")
        with ipc.new_file(path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        return ipc.open_file(arrow.memory_map(path)).read_all()


def _source(
    name: str, columns: tuple[str, ...], total: int | None, rows: Iterator[SourceRow], table: Columnar | None = None
) -> Source:
    return Source(
        name=name,
        format="arrow" if table else "jsonl",
        encoding="utf-8",
        columns=columns,
        rows_total=total,
        waits=False,
        rows=rows,
        files=(),
        table=table,
    )


def _rows(data: Iterable[Any]) -> Iterator[SourceRow]:
    """Each dict as JSON has it; what is none, or has no JSON, is a row with a problem."""
    encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_builtin).encode
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for index, row in enumerate(data):
        if not isinstance(row, Mapping):
            yield SourceRow(index, {}, f"row {index + 1} is a {type(row).__name__}, not a dict with columns")
            continue
        try:
            yield SourceRow(index, decode(encode(row if isinstance(row, dict) else dict(row))))
        except (TypeError, ValueError, RecursionError) as error:
            yield SourceRow(index, {}, f"row {index + 1} holds a value that JSON has not: {error}")


def _builtin(value: Any) -> Any:
    """Numbers and arrays of numpy and its like, and times of pandas, as Python's own."""
    for name in ("tolist", "isoformat"):
        if callable(method := getattr(value, name, None)):
            return method()
    raise TypeError(f"a {type(value).__name__}")
