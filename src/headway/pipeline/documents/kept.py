"""The output of a folder, and its journal: every finished document is in both at once, and never paid for again.

The journal (`jobs.journal`) knows documents by what is in them, so that one that was moved is had for nothing, and one
that was edited is owed. The output grows by a whole line with each document, in the order in which they are done; when
all are, it is put in the order of their paths, in one step.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from headway.errors import ConfigError, HeadwayError
from headway.jobs.job import journal_path
from headway.jobs.journal import Header, Journal
from headway.jobs.place import check_writable, is_taken
from headway.jobs.writer import replacing
from headway.pipeline.documents.reading import Document, shown
from headway.pipeline.documents.rows import Row, line_of, record_of, row_of

__all__ = ["Kept", "open_kept"]

_LINE_BYTES_MAX: Final = 64 * 1024 * 1024


class Kept:
    """What is finished. Use as a context manager; see the module.

    Args:
        out: The output.
        journal: Its journal, open.
        count: How many documents there are.
    """

    def __init__(self, out: Path, journal: Journal, count: int) -> None:
        self.out = out
        self._journal = journal
        self._offsets = array("q", [-1]) * count
        self._file: BinaryIO | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
        self._journal.close()

    def spent(self) -> float:
        """Dollars that earlier runs have spent."""
        return self._journal.spent()

    def note_spent(self, dollars: float) -> None:
        """Note what was spent in all. A full disk is told by the next document; it must not hide what ended the run."""
        with suppress(HeadwayError):
            self._journal.note_spent(dollars)

    def has(self, document: Document) -> bool:
        """Whether an earlier run finished a document of this content."""
        found = self._journal.find(_key(document))
        return found is not None and found[1].ok

    def find(self, index: int, document: Document) -> Row | None:
        """The row that an earlier run finished for a document of this content, under its path of today."""
        found = self._journal.find(_key(document))
        if found is None or not found[1].ok:
            return None
        row = row_of(found[1].read(), f"{self.out}.journal")
        if row.path != document.path:
            row = msgspec.structs.replace(row, path=document.path)
            self._offsets[index] = self._journal.append(_key(document), record_of(row), moved=True)
        else:
            self._offsets[index] = found[0]
        return row

    def write(self, index: int, document: Document, row: Row) -> None:
        """Keep the row of a document that is done.

        Raises:
            HeadwayError: The disk refuses. What was written before is whole.
        """
        self._offsets[index] = self._journal.append(_key(document), record_of(row))
        try:
            if self._file is None:
                self._file = self._begun()
            self._file.write(line_of(row))
        except OSError as error:
            raise _refused(self.out, error) from None

    def finish(self) -> None:
        """Put the whole output in place, in the order of the documents. Raises `HeadwayError` when that fails."""
        where = f"{self.out}.journal"
        try:
            with replacing(self.out) as file:
                for offset in self._offsets:
                    if offset >= 0:
                        file.write(line_of(row_of(self._journal.read(offset).read(), where)))
        except OSError as error:
            raise _refused(self.out, error) from None

    def _begun(self) -> BinaryIO:
        """The output as earlier runs left it, without what they failed at and without a torn last line; to append."""
        if self.out.exists():
            with self.out.open("rb") as old, replacing(self.out) as new:
                new.writelines(line for line in old if _is_whole(line))
        return self.out.open("ab", buffering=0)


def open_kept(
    out: Path, settings: Mapping[str, str], *, folder: str, origin: str, count: int, fresh: bool = False
) -> Kept:
    """Open an output and its journal, and find out whether this run may go on with them.

    Args:
        out: A file; made when the first document is done.
        settings: What the summaries follow from, by the option's name; all of it is in the journal.
        folder: The input.
        origin: The provider's address.
        count: How many documents there are.
        fresh: Forget what is there.

    Raises:
        ConfigError: It cannot be written, is in use, is another program's, or was made with other settings.
    """
    check_writable(out)
    path = journal_path(out)
    if not fresh and not path.exists() and is_taken(out):
        raise ConfigError(
            f"{out} exists and no journal is beside it; overwrite it with --fresh, or choose another --out"
        )
    if not fresh and path.exists():
        _check_settings(out, path, settings)
    told = msgspec.json.encode(settings).decode()
    journal = Journal.open(path, Header(task=told, input=shown(folder), origin=origin), fresh=fresh)
    if fresh:
        out.unlink(missing_ok=True)
    return Kept(out, journal, count)


def _check_settings(out: Path, path: Path, settings: Mapping[str, str]) -> None:
    """Summaries of two kinds in one output would be neither."""
    try:
        with path.open("rb") as file:
            header = msgspec.json.decode(file.readline(_LINE_BYTES_MAX), type=Header)
        made = msgspec.json.decode(header.task, type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return  # `Journal.open` says what it is
    for name in sorted(made.keys() | settings.keys()):
        before, now = made.get(name, ""), settings.get(name, "")
        if before != now:
            other = f"with {name} {before}, not {now}" if before and now else f"with another {name}"
            raise ConfigError(f"{out} was made {other}; choose another --out, or start over with --fresh")


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and msgspec.json.decode(line, type=Row).whole
    except msgspec.DecodeError:
        return False


def _key(document: Document) -> str:
    """By content; by name where that could not be read."""
    return document.digest or hashlib.blake2b(document.path.encode(errors="replace"), digest_size=16).hexdigest()


def _refused(out: Path, error: OSError) -> HeadwayError:
    return HeadwayError(
        f"{out} cannot be written: {error.strerror or error}; finished documents are in its journal: mend that, and "
        "the same command goes on from there"
    )
