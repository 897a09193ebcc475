"""Work, read lazily: CSV, JSONL, text of one item a line, Parquet, Arrow; a file, a folder of them, standard input.

A broken row is a row with a problem, never a crash and never left out; a broken *file* is an `InputError`
before anything is sent. Compressed text files (gzip) are read as what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from headway.errors import InputError
from headway.jobs.detect import Format, columnar_of
from headway.jobs.opened import Source, reason_of
from headway.jobs.parquet import open_columnar
from headway.jobs.parts import open_parts, parts_of
from headway.jobs.rows import LINE_CHARS_MAX, SourceRow
from headway.jobs.textfile import open_text

__all__ = ["LINE_CHARS_MAX", "Source", "SourceRow", "open_source"]

_MAGIC_BYTES = 8


def open_source(
    name: str, *, kind: Format | None = None, rows_max: int | None = None, stdin: BinaryIO | None = None
) -> Source:
    """Open a file of work and read its head.

    Args:
        name: A path, a folder of files, a glob, or "-" for standard input.
        kind: What it holds; told from the content or the suffix when None.
        rows_max: Stop after that many rows.
        stdin: What "-" stands for; the process's standard input when None.

    Raises:
        InputError: The file is missing, unreadable or empty, or its header is unusable; a folder's files differ.
        ConfigError: It is a Parquet or Arrow file, and pyarrow is not installed.
    """
    if name == "-":
        return open_text(name, kind=kind, rows_max=rows_max, stdin=stdin)
    parts = parts_of(name)
    if parts is None:
        return _open_one(Path(name), kind, rows_max=rows_max, counted=True)
    return open_parts(
        name,
        parts,
        lambda path, told, *, counted: _open_one(path, kind or told, rows_max=None, counted=counted),
        rows_max=rows_max,
    )


def _open_one(path: Path, kind: Format | None, *, rows_max: int | None, counted: bool) -> Source:
    if kind is None and path.is_file():  # no look into pipes: what was read of them is gone
        try:
            with path.open("rb") as file:
                kind = columnar_of(path.name, file.read(_MAGIC_BYTES))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    if kind in ("parquet", "arrow"):
        return open_columnar(path, kind, rows_max=rows_max)
    return open_text(str(path), kind=kind, rows_max=rows_max, counted=counted)
