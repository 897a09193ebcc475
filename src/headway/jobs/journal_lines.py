"""What the lines of a journal hold, and whether one may be gone on from."""

from __future__ import annotations

import msgspec

from headway.errors import ConfigError
from headway.jobs.record import Record

__all__ = ["EventLine", "Header", "Line", "SpentLine", "check_header", "foreign"]

VERSION = 2
_READABLE = (1, 2)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. Answers of one `origin` (the provider's address) are never taken for another's.

    `run` is the job's own name, 8 hex digits: made with the journal, and kept however often it is resumed. A
    journal of version 1 has none; it is given one by a second header, where it ended.
    """

    headway_journal: int = VERSION
    task: str = ""
    input: str = ""
    origin: str = ""
    run: str = ""


class Line(msgspec.Struct, frozen=True):
    """One finished row."""

    key: str
    ok: bool
    record: msgspec.Raw

    def read(self) -> Record:
        """The record itself."""
        return _RECORDS.decode(self.record)


class EventLine(msgspec.Struct, frozen=True):
    """What a lane noted."""

    event: msgspec.Raw


class _Dollars(msgspec.Struct, frozen=True):
    dollars: float | None = None


class SpentLine(msgspec.Struct, frozen=True):
    """What a finished row cost, or what was noted as spent in all."""

    record: _Dollars = _Dollars()
    moved: bool = False
    spent: float = 0.0


_RECORDS = msgspec.json.Decoder(Record)


def check_header(raw: bytes, header: Header, name: str) -> str:
    """The run's name in a header that this run may go on from; "" when it has none.

    Raises:
        ConfigError: It may not.
    """
    try:
        found = msgspec.json.decode(raw, type=Header)
    except msgspec.DecodeError:
        found = None
    if found is None or b"headway_journal" not in raw:
        raise foreign(name)
    if found.headway_journal not in _READABLE:
        version = found.headway_journal
        raise ConfigError(f"{name} has version {version} where {VERSION} is read; start over with --fresh")
    if found.origin != header.origin:
        raise ConfigError(
            f"{name} holds answers of {found.origin or 'another provider'}, not of {header.origin}; "
            "choose another --out, or start over with --fresh"
        )
    return found.run


def foreign(name: str) -> ConfigError:
    """The error for a file that is something else."""
    return ConfigError(f"{name} is not a journal of Headway; move it away or choose another --out")
