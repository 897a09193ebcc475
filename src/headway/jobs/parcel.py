"""One parcel of rows on its way through a batch: its books, and its rows spooled on the disk.

Rows are kept in unnamed files that vanish with the process: what is to be uploaded, line by line, and the rows
themselves, read back when their answer arrives. In memory a row has an offset and a mark, 9 bytes.
"""

from __future__ import annotations

import asyncio
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from headway.engine.row import RowAsk
from headway.errors import HeadwayError
from headway.jobs.disk import read_at
from headway.jobs.lanes import Item, Took
from headway.jobs.parcel_events import Keys

__all__ = ["AGAIN", "OWED", "REPAIR", "SETTLED", "Kept", "Parcel"]

OWED: Final = 0
"""No answer yet."""
AGAIN: Final = 1
"""It was not answered and has to be sent again."""
SETTLED: Final = 2
"""Nothing more is to be done here."""
REPAIR: Final = 3
"""It was answered, and asks again about that answer."""

_HEAD_BYTES: Final = 4
_READ_BYTES: Final = 4096


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A row in the spool."""

    row: int
    key: str
    data: Mapping[str, Any]
    put_at_s: float
    """Loop time when the lane took it."""
    tries: int = 0
    """How many batches it was in before, without an answer of use."""
    lost: int = 0
    """How many answers to it were lost at the provider: what they cost is unknown."""
    repairs: int = 0
    """How often an earlier run has asked again, if what is at the provider is a repair."""
    took: Took | None = None
    """What an earlier run paid for bad answers to it."""

    @property
    def item(self) -> Item:
        """The row as it was put in."""
        return Item(row=self.row, key=self.key, data=self.data, took=self.took)


_decode = msgspec.json.Decoder(Kept).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Parcel:
    """Rows of one batch. A row is known by its place `n`, from 0, which is in its custom_id.

    Args:
        part: Its number in the run.
        model: Of all its rows, where the provider wants one model in a batch.
        folder: Where to spool; None: the system's place for temporary files.
        keys: Of an attached parcel, whose rows were sent by an earlier run: they are brought one by one.
    """

    def __init__(self, part: int, model: str = "", *, folder: Path | None = None, keys: Keys | None = None) -> None:
        self.part = part
        self.model = model
        self.keys = keys
        self.tokens = 0
        self.dollars = 0.0
        """The worst case of all its rows."""
        self.bytes = 0
        self.followers: dict[int, list[int]] = {}
        """Rows that wait for another's answer: by its place, where they are in the spool."""
        self.asks: dict[int, RowAsk] = {}
        """Rows that ask again about a bad answer, with what that took."""
        self.repairs: frozenset[int] = frozenset()
        """Places whose request is not what their key stands for, in an attached parcel."""
        self.file_id = ""
        self.batch_id = ""
        self.refused: set[str] = set()
        """Batches of its that did not run."""
        self.may_run = False
        """Whether a batch that may be its was left running."""
        self.state = "waiting"
        self.at_wall_s = 0.0
        """When it was about to be sent: no batch of its is older."""
        self.sent_at_s = 0.0
        self.counted = False
        """Whether the quota counts it as sent."""
        self.unsure = 0
        """How often nobody knew whether its batch was made, and there was none."""
        self.held = 0
        """Rows that are here and not settled, followers not counted."""
        self.came = asyncio.Event()
        """Set when a row came to a parcel that was sent."""
        rows = 0 if keys is None else len(keys)
        self.marks = bytearray(rows)
        self._offsets = array("q", [-1]) * rows
        self._names = bytearray()
        self._items = _file(folder)
        try:
            self._lines = _file(folder) if keys is None else None
        except HeadwayError:
            self._items.close()
            raise
        self._end = 0
        self._dirty = False

    def __len__(self) -> int:
        """Places, settled and unbrought ones included."""
        return len(self.marks)

    def add(self, kept: Kept, line: bytes, tokens: int, dollars: float = 0.0) -> int:
        """Take a row and its line; return its place.

        Raises:
            HeadwayError: The disk refuses.
        """
        assert self._lines is not None
        self._put(self._lines, line + b"\n")
        self._names += kept.key.encode() + b" "
        self.marks.append(OWED)
        self._offsets.append(self._spool(kept))
        self.tokens += tokens
        self.dollars += dollars
        self.bytes += len(line) + 1
        self.held += 1
        return len(self.marks) - 1

    def bring(self, n: int, kept: Kept) -> None:
        """The row at a place of an attached parcel is here."""
        self._offsets[n] = self._spool(kept)
        self.held += self.marks[n] != SETTLED

    def join(self, n: int, kept: Kept) -> None:
        """A row that waits for the answer at a place."""
        self.followers.setdefault(n, []).append(self._spool(kept))

    def brought(self, n: int) -> bool:
        """Whether the row at a place is here."""
        return self._offsets[n] >= 0

    def read(self, n: int) -> Kept:
        """The row at a place."""
        return self._read(self._offsets[n])

    def waiting(self, n: int) -> Iterator[Kept]:
        """The rows that wait for the one at a place; they are handed out once."""
        for offset in self.followers.pop(n, ()):
            yield self._read(offset)

    def settle(self, n: int) -> None:
        """Nothing more is to be done about the row at a place."""
        if self.marks[n] != SETTLED:
            self.marks[n] = SETTLED
            self.held -= self.brought(n)
            self.asks.pop(n, None)

    def places(self, *marks: int) -> list[int]:
        """Rows that are here and marked so."""
        return [n for n, mark in enumerate(self.marks) if mark in marks and self._offsets[n] >= 0]

    @property
    def done(self) -> bool:
        """Whether every row is settled, those that nobody has brought included."""
        return not self.held and self.marks.count(SETTLED) == len(self.marks)

    @property
    def whole(self) -> bool:
        """Whether every row that is not settled is here."""
        return self.held == len(self.marks) - self.marks.count(SETTLED)

    def take_names(self) -> str:
        """The keys of its rows, in order, with a space between; once."""
        names, self._names = self._names.decode().rstrip(" "), bytearray()
        return names

    def lines(self) -> list[bytes]:
        """What is to be uploaded, in order, without line ends."""
        assert self._lines is not None
        try:
            self._lines.seek(0)  # which writes what is still in memory
            return self._lines.read().split(b"\n")[:-1]
        except OSError as error:
            raise _full(error) from None

    @property
    def has_lines(self) -> bool:
        """Whether it can be uploaded from here."""
        return self._lines is not None

    def drop_lines(self) -> None:
        """They are at the provider: let go of the disk's room."""
        if self._lines is not None:
            _close(self._lines)
            self._lines = None

    def close(self) -> None:
        """Let go of everything."""
        self.drop_lines()
        _close(self._items)

    def _spool(self, kept: Kept) -> int:
        data = _encode(kept)
        offset = self._end
        self._put(self._items, len(data).to_bytes(_HEAD_BYTES, "big") + data)
        self._end += _HEAD_BYTES + len(data)
        self._dirty = True
        return offset

    def _put(self, file: IO[bytes], data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise _full(error) from None

    def _read(self, offset: int) -> Kept:
        if self._dirty:
            try:
                self._items.flush()
            except OSError as error:
                raise _full(error) from None
            self._dirty = False
        fd = self._items.fileno()
        data = read_at(fd, _READ_BYTES, offset)
        size = _HEAD_BYTES + int.from_bytes(data[:_HEAD_BYTES], "big")
        if size > len(data):
            data += read_at(fd, size - len(data), offset + len(data))
        return _decode(memoryview(data)[_HEAD_BYTES:size])


def _file(folder: Path | None) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile("w+b", dir=folder)
    except OSError as error:
        raise _full(error) from None


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what is not on the disk yet is not wanted any more; the file is closed either way
        file.close()


def _full(error: OSError) -> HeadwayError:
    return HeadwayError(f"rows for a batch cannot be spooled beside the output: {error.strerror}; make room there")
