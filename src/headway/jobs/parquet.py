"""Parquet and Arrow files (Feather), read batch by batch. Needs pyarrow, which is imported when it is used.

A row's values become what JSON has for them, as a prompt and the journal need them: numbers, text, true and false as
they are; dates and times as ISO 8601 text, to the microsecond; decimals as text with all their digits; bytes as
base64; lists as lists; structs and maps as objects; NaN and infinity as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from headway.errors import ConfigError, InputError
from headway.jobs import rows as limits
from headway.jobs.detect import Format
from headway.jobs.opened import Columnar, Source, Stamp, guarded
from headway.jobs.rows import SourceRow

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "columnar_rows", "open_columnar", "pyarrow", "same_columns"]

BATCH_ROWS: Final = 2_048
BATCH_BYTES: Final = 32 * 1024 * 1024
"""Rows read at a time are at most so many, and as many as take about so many bytes."""
_BUFFER_BYTES: Final = 1024 * 1024


def pyarrow(part: str = "") -> Any:
    """The package, or a part of it such as "parquet".

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError:
        need = "Parquet files and tables need pyarrow, which is not installed"
        raise ConfigError(f"{need}; install it with: pip install 'headway[parquet]'") from None


def open_columnar(path: Path, kind: Format, *, rows_max: int | None = None) -> Source:
    """Open a Parquet or Arrow file.

    Raises:
        InputError: It is missing, damaged, something else, or has two columns of one name.
        ConfigError: pyarrow is missing.
    """
    arrow = pyarrow()
    label = str(path)
    try:
        file = path.open("rb", buffering=0)
        try:
            table = _parquet(path, rows_max) if kind == "parquet" else _arrow_file(path, rows_max)
        except (OSError, arrow.ArrowException):
            file.close()
            raise
    except arrow.ArrowInvalid as error:
        what = {"parquet": "a Parquet", "arrow": "an Arrow (Feather)"}.get(kind, kind)
        raise InputError(f"{label} cannot be read as {what} file: {_first_line(error)}") from None
    except (OSError, arrow.ArrowException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or _first_line(error)
        raise InputError(f"{label} cannot be read: {reason}") from None
    names = tuple(table.schema.names)
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        file.close()
        raise InputError(f"{label} has two columns named {twice!r}; rename one")
    rows = guarded(columnar_rows(table, label), label, None, Stamp(file.fileno()))
    return Source(
        name=label,
        format=kind,
        encoding="utf-8",
        columns=names,
        rows_total=table.rows_total,
        waits=False,
        rows=rows,
        files=(file,),
        paths=(path,),
        table=table,
    )


def columnar_rows(table: Columnar, label: str) -> Iterator[SourceRow]:
    """The rows, lazily. One over the bound of a line is a row with a problem.

    Raises:
        InputError: The data cannot be read any further, or holds what has no JSON.
    """
    arrow = pyarrow()
    index = 0
    try:
        for batch in table.batches():
            columns = [_values(batch.column(at)) for at in range(batch.num_columns)]
            long = batch.nbytes > limits.LINE_CHARS_MAX
            names = batch.schema.names
            for values in zip(*columns, strict=True):
                row = dict(zip(names, values, strict=True))
                if long and len(msgspec.json.encode(row)) > limits.LINE_CHARS_MAX:
                    problem = f"row {index + 1} is longer than {limits.LINE_CHARS_MAX // 1024**2} MiB"
                    yield SourceRow(index, {}, problem)
                else:
                    yield SourceRow(index, row)
                index += 1
    except (ValueError, OverflowError, OSError, arrow.ArrowException) as error:
        raise InputError(f"{label} cannot be read after row {index}: {_first_line(error)}") from None


def same_columns(tables: list[tuple[str, Columnar]], rows_max: int | None = None) -> Columnar:
    """Several as one, read one after the other; a column may be of types that fit into one.

    Args:
        tables: Name and table; at least one. They have the same columns, in any order.
        rows_max: Only so many rows.

    Raises:
        InputError: Their columns are not alike.
    """
    arrow = pyarrow()
    first, head = tables[0]
    schema = head.schema
    for name, table in tables[1:]:
        try:
            schema = arrow.unify_schemas([schema, table.schema], promote_options="permissive")
        except arrow.ArrowException as error:
            raise InputError(f"{name} has a column of another type than {first}: {_first_line(error)}") from None

    def batches() -> Iterator[Any]:
        for _, table in tables:
            for batch in table.batches():
                yield batch.select(schema.names).cast(schema, safe=False)

    return Columnar(schema, *_limited(sum(table.rows_total for _, table in tables), batches, rows_max))


def _parquet(path: Path, rows_max: int | None) -> Columnar:
    parquet = pyarrow("parquet")
    # not read ahead: a row group may be larger than the memory, so its columns are read through small buffers
    options = {"buffer_size": _BUFFER_BYTES, "pre_buffer": False}
    with parquet.ParquetFile(path, **options) as file:
        meta, schema = file.metadata, file.schema_arrow
    size_bytes = sum(meta.row_group(at).total_byte_size for at in range(meta.num_row_groups))
    batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * max(1, meta.num_rows) // max(1, size_bytes)))

    def batches() -> Iterator[Any]:
        with parquet.ParquetFile(path, **options) as file:
            yield from file.iter_batches(batch_rows, use_threads=False)

    return Columnar(schema, *_limited(meta.num_rows, batches, rows_max))


def _arrow_file(path: Path, rows_max: int | None) -> Columnar:
    arrow, ipc = pyarrow(), pyarrow("ipc")

    def each() -> Iterator[Any]:
        with arrow.memory_map(str(path)) as mapped, ipc.open_file(mapped) as file:
            for at in range(file.num_record_batches):
                yield file.get_batch(at)

    with arrow.memory_map(str(path)) as mapped, ipc.open_file(mapped) as file:
        schema = file.schema

    def batches() -> Iterator[Any]:
        for batch in each():
            size_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * max(1, batch.num_rows) // max(1, batch.nbytes)))
            for start in range(0, batch.num_rows, size_rows):
                yield batch.slice(start, size_rows)

    return Columnar(schema, *_limited(sum(batch.num_rows for batch in each()), batches, rows_max))


def _limited(
    total: int, batches: Callable[[], Iterator[Any]], rows_max: int | None
) -> tuple[int, Callable[[], Iterator[Any]]]:
    """Only the first rows."""
    if rows_max is None or rows_max >= total:
        return total, batches

    def first() -> Iterator[Any]:
        left = rows_max
        for batch in batches():
            yield batch.slice(0, left)
            left -= min(left, batch.num_rows)
            if not left:
                return

    return rows_max, first


def _values(column: Any) -> list[Any]:
    """A column's values as JSON has them."""
    arrow = pyarrow()
    kind = column.type
    if arrow.types.is_float32(kind) or arrow.types.is_float64(kind):
        compute = pyarrow("compute")
        column = compute.if_else(compute.is_finite(column), column, None)
    if _is_plain(kind):
        found: list[Any] = column.to_pylist()
        return found
    wanted = _to_the_microsecond(column.type)
    if wanted != column.type:
        column = column.cast(wanted, safe=False)
    try:
        found = column.to_pylist(maps_as_pydicts="strict")
    except KeyError:
        found = column.to_pylist()  # a map with a key twice stays a list of pairs
    decoded: list[Any] = msgspec.json.decode(msgspec.json.encode(found, enc_hook=str))
    return decoded


def _is_plain(kind: Any) -> bool:
    types = pyarrow().types
    return any(
        check(kind)
        for check in (
            types.is_integer,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_boolean,
            types.is_float32,
            types.is_float64,
            types.is_null,
        )
    )


def _to_the_microsecond(kind: Any) -> Any:
    """The type without nanoseconds, which Python's times do not have."""
    arrow = pyarrow()
    types = arrow.types
    if types.is_timestamp(kind) and kind.unit == "ns":
        return arrow.timestamp("us", kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return arrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return arrow.duration("us")
    if types.is_list(kind) or types.is_large_list(kind):
        make = arrow.list_ if types.is_list(kind) else arrow.large_list
        return make(kind.value_field.with_type(_to_the_microsecond(kind.value_type)))
    if types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return arrow.struct([field.with_type(_to_the_microsecond(field.type)) for field in fields])
    return kind


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
