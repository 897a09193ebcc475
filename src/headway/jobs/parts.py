"""A folder of parts, or what a glob finds: files of one format, read one after the other as one input."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from headway.errors import InputError
from headway.jobs.detect import Format
from headway.jobs.opened import Source
from headway.jobs.parquet import same_columns
from headway.jobs.rows import SourceRow
from headway.jobs.textfile import COUNT_BYTES_MAX

__all__ = ["PARTS_MAX", "OpenOne", "open_parts", "parts_of"]

PARTS_MAX: Final = 100_000
"""Files that one input may consist of."""


def parts_of(name: str) -> list[Path] | None:
    """The files of a folder or a glob, sorted by name; None when `name` is neither.

    Names that begin with "_" or "." are no parts (``_SUCCESS``, ``_temporary``, checksums), and neither are empty
    files, which engines write where a partition had no rows.

    Raises:
        InputError: There are none, too many, or folders among them.
    """
    folder = Path(name)
    if folder.is_dir():
        inside = [path for path in folder.iterdir() if not path.name.startswith(("_", "."))]
        if (below := next((path for path in inside if path.is_dir()), None)) is not None:
            way_out = f"name the files with a glob in quotes, such as '{folder / '**' / '*.parquet'}'"
            raise InputError(f"{name} has folders in it, such as {below.name}; {way_out}")
        found = inside
    elif glob.has_magic(name) and not folder.exists():
        matches = map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207  # absolute patterns too
        found = [path for path in matches if path.is_file() and _is_part(path, name)]
    else:
        return None
    if len(found) > PARTS_MAX:
        raise InputError(f"{name} has {len(found):,} files; {PARTS_MAX:,} are read at most, so name fewer with a glob")
    parts = sorted(path for path in found if path.stat().st_size)
    if not parts:
        raise InputError(f"{name} has no file with rows in it")
    return parts


def _is_part(path: Path, pattern: str) -> bool:
    """Whether no name that the pattern left open is a hidden one."""
    fixed = next(at for at, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    return not any(part.startswith(("_", ".")) for part in path.parts[fixed:])


def open_parts(name: str, parts: list[Path], open_one: OpenOne, *, rows_max: int | None) -> Source:
    """Open the parts as one input.

    Args:
        name: What it is called.
        parts: The files; at least one.
        open_one: Opens one.
        rows_max: Stop after that many rows.

    Raises:
        InputError: They are not of one format, or not of the same columns.
    """
    counted = sum(path.stat().st_size for path in parts) <= COUNT_BYTES_MAX
    first = open_one(parts[0], None, counted=counted)
    first.close()
    total, tables = first.rows_total, [(str(parts[0]), first.table)]
    for path in parts[1:]:
        part = open_one(path, None, counted=counted)
        part.close()
        _check_alike(name, first, part)
        total = None if total is None or part.rows_total is None else total + part.rows_total
        tables.append((str(path), part.table))
    typed = [(label, table) for label, table in tables if table is not None]
    if rows_max is not None and total is not None:
        total = min(total, rows_max)
    chain = _Chain(parts, first.format, open_one, rows_max)
    table = same_columns(typed, rows_max) if typed else None
    return first._replace(
        name=name, rows_total=total, rows=chain.rows(), files=(chain,), paths=tuple(parts), table=table
    )


class OpenOne(Protocol):
    """Opens a file; told the format it has to be of (None: told by the file), and whether to count its rows."""

    def __call__(self, path: Path, kind: Format | None, *, counted: bool) -> Source: ...


class _Chain:
    """Reads one part after the other; one is open at a time."""

    def __init__(
        self,
        parts: list[Path],
        kind: Format,
        open_one: OpenOne,
        rows_max: int | None,
    ) -> None:
        self._parts = parts
        self._kind = kind
        self._open_one = open_one
        self._rows_max = rows_max
        self._open: Source | None = None

    def rows(self) -> Iterator[SourceRow]:
        """The rows, numbered through; a broken one says which file it is in."""
        index = 0
        for path in self._parts:
            self._open = part = self._open_one(path, self._kind, counted=False)
            for row in part.rows:
                if index == self._rows_max:
                    return
                problem = f"{path.name}: {row.problem}" if row.problem else ""
                yield replace(row, index=index, problem=problem)
                index += 1
            self.close()

    def close(self) -> None:
        """Let go of the part that is being read."""
        if self._open is not None:
            self._open.close()


def _check_alike(name: str, first: Source, part: Source) -> None:
    """Raises `InputError` naming both."""
    if part.format != first.format:
        both = f"{first.paths[0].name} is {first.format}, {part.paths[0].name} is {part.format}"
        raise InputError(f"{name} has files of more than one format: {both}; name those of one with a glob in quotes")
    if part.format != "jsonl" and set(part.columns) != set(first.columns):
        other = sorted(set(part.columns) ^ set(first.columns))[0]
        both = f"{first.paths[0].name} and {part.paths[0].name}"
        raise InputError(f"{name} has files with different columns: only one of {both} has {other!r}")
