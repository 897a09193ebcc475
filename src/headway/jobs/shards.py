"""A job in shards: which shard a row belongs to, and the shards' inputs.

A row's shard follows from its key, so adding, reordering or removing rows moves no other row; and equal rows are in
one shard, where they are numbered and share an answer as in one process. Nothing here knows who runs the shards. Beside
the output, in `<OUT>.shards/`, there are

    meta.json                how many shards there are, for as long as the folder lives
    shard-0003.rows.jsonl    a shard's rows, in the order of the input; written anew by every run
    shard-0003.journal       a shard's journal, as of a job of its own
    shard-0003.begun         a byte for each time that it was begun in this run
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.disk import lock, sync_folder
from headway.jobs.place import is_taken
from headway.jobs.source import Source, SourceRow
from headway.prompts.task import Task

__all__ = [
    "BEGUN_MAX",
    "SHARDS_MAX",
    "Shards",
    "Split",
    "begin",
    "check_begun",
    "open_rows",
    "rows_path",
    "shard_journal",
    "shard_of",
    "shards_path",
]

SHARDS_MAX: Final = 512
"""Shards of a job: while it is split and merged, each has an open file."""

BEGUN_MAX: Final = 8
"""So often a shard is begun in one run."""
_COLUMNS_MAX: Final = 1_000
_KEY_DIGITS: Final = 8
_META: Final = "meta.json"
_BUFFER_BYTES: Final = 64 * 1024


class Split(NamedTuple):
    """Where the rows went: each row's shard, in input order; rows of each shard; every column that a row had."""

    places: array[int]
    rows: list[int]
    columns: tuple[str, ...]


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    headway_shards: int
    shards: int


class _Row(msgspec.Struct, frozen=True, omit_defaults=True):
    row: dict[str, Any]
    problem: str = ""


def shard_of(task: Task, row: Mapping[str, Any], problem: str, shards: int) -> int:
    """The row's shard, 0 to `shards` - 1. Rows that the journal counts as equals have the same one.

    Args:
        task: What is asked about the row.
        row: The row.
        problem: Why it cannot be asked about; "" when it can.
        shards: How many shards there are.
    """
    key = ""
    if not problem:
        try:
            key = task.row_key(row)
        except InputError:
            pass  # its own engine meets the same error, and makes the row's sentence of it
    key = key or hashlib.blake2b(repr((problem, row)).encode(), digest_size=16).hexdigest()
    return int(key[:_KEY_DIGITS], 16) % shards


def shards_path(out: Path) -> Path:
    """Where the shards of an output are: in a folder beside it."""
    return out.with_name(out.name + ".shards")


def rows_path(folder: Path, shard: int) -> Path:
    """The rows of a shard, in the folder of all."""
    return folder / f"shard-{shard:04}.rows.jsonl"


def shard_journal(folder: Path, shard: int) -> Path:
    """The journal of a shard, in the folder of all."""
    return folder / f"shard-{shard:04}.journal"


def begin(folder: Path, shard: int) -> None:
    """Count that a shard is begun. It is begun again only when its worker died.

    Raises:
        HeadwayError: It was, too often: it may be what they die of.
    """
    with (folder / f"shard-{shard:04}.begun").open("ab", buffering=0) as file:
        file.write(b".")
        begun = file.tell()
    if begun > BEGUN_MAX:
        raise HeadwayError(
            f"shard {shard} was given up: the workers that ran it died {BEGUN_MAX} times (out of memory, perhaps); "
            "run the job again with a smaller --concurrency"
        )


def check_begun(out: Path, journal: Path) -> None:
    """Before one process begins: what is there already has to be its own.

    Raises:
        ConfigError: There is no journal, but an output; or shards, and what they have finished would be paid for again.
    """
    folder = shards_path(out)
    if journal.exists():
        return
    if (folder / _META).exists():
        raise ConfigError(f"{folder} holds rows of a run with --engine ray; go on with it, or start over with --fresh")
    if is_taken(out):
        way_out = "overwrite it with --fresh, or choose another --out"
        raise ConfigError(f"{out} exists and no journal is beside it; {way_out}")


class Shards:
    """The shards of one output. While it is open, no other run has them."""

    def __init__(self, folder: Path, count: int, fd: int) -> None:
        self.folder = folder
        self.count = count
        """How many shards there are."""
        self._fd = fd

    @classmethod
    def open(cls, out: Path, count: int, *, journal: Path, fresh: bool = False) -> Shards:
        """Open the shards of an output, or make them.

        Args:
            out: The output.
            count: How many to make, 1 to `SHARDS_MAX`; those that are there stay as many as they are.
            journal: Where one process has its journal.
            fresh: Forget earlier runs.

        Raises:
            ConfigError: The folder cannot be written, is in use or is no folder of shards; or one process has begun.
        """
        folder = shards_path(out)
        try:
            folder.mkdir(exist_ok=True)
            fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another --out") from None
        try:
            lock(fd, folder)
            if fresh:
                for path in (*folder.glob("shard-*"), folder / _META):
                    path.unlink(missing_ok=True)
            shards = cls(folder, _count(folder, count, None if fresh else journal), fd)
        except BaseException:
            os.close(fd)
            raise
        return shards

    def split(self, source: Source, task: Task) -> Split:
        """Write every shard's rows, in one pass over the input; two bytes a row stay in memory.

        Raises:
            ConfigError: The folder cannot be written.
            InputError: The input breaks midway.
        """
        places, rows = array("H"), [0] * self.count
        columns = dict.fromkeys(source.columns)
        encode = msgspec.json.Encoder().encode
        parts = [self.folder / f"shard-{shard:04}.part" for shard in range(self.count)]
        try:
            with ExitStack() as stack:
                files = [stack.enter_context(part.open("wb", buffering=_BUFFER_BYTES)) for part in parts]
                for row in source.rows:
                    shard = shard_of(task, row.row, row.problem, self.count)
                    files[shard].write(encode(_Row(row.row, row.problem)) + b"\n")
                    places.append(shard)
                    rows[shard] += 1
                    if len(columns) < _COLUMNS_MAX:
                        columns.update(dict.fromkeys(row.row))
            for path in self.folder.glob("shard-*.begun"):
                path.unlink()
            for shard, part in enumerate(parts):
                part.replace(rows_path(self.folder, shard))
            sync_folder(self.folder)
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be written: {error.strerror}; nothing was sent") from None
        return Split(places, rows, tuple(columns))

    def close(self) -> None:
        """Let other runs have them. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _count(folder: Path, count: int, journal: Path | None) -> int:
    """How many shards there are; written down before any is."""
    meta = folder / _META
    try:
        found = msgspec.json.decode(meta.read_bytes(), type=_Meta)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError):
        raise ConfigError(f"{meta} is damaged or none of Headway's; start over with --fresh") from None
    else:
        if found.headway_shards != 1 or not 1 <= found.shards <= SHARDS_MAX:
            raise ConfigError(f"{meta} is of another version of Headway; start over with --fresh")
        return found.shards
    if journal is not None and journal.exists():
        raise ConfigError(f"{journal} holds rows of a run without --engine ray; go on with it, or use --fresh")
    part = meta.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(_Meta(headway_shards=1, shards=count)) + b"\n")
    part.replace(meta)
    return count


def open_rows(path: Path, *, name: str, columns: Sequence[str], rows_total: int) -> Source:
    """A shard's rows as an input.

    Args:
        path: Where `Shards.split` wrote them.
        name: What the whole input is called.
        columns: Its columns.
        rows_total: Rows of the shard.

    Raises:
        ConfigError: They are not there.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        shared = "--out has to be on a file system that all workers share, under the same path"
        raise ConfigError(f"{path} cannot be read by this worker: {error.strerror}; {shared}") from None
    rows = _rows(file)
    return Source(name, "jsonl", "utf-8", tuple(columns), rows_total, waits=False, rows=rows, files=(file,))


def _rows(file: BinaryIO) -> Iterator[SourceRow]:
    decode = msgspec.json.Decoder(_Row).decode
    for index, line in enumerate(file):
        one = decode(line)
        yield SourceRow(index, one.row, one.problem)
