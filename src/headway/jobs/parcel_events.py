"""What the batch lane notes in the journal, so that a crash between a call and its answer pays for nothing twice.

The life of a part (one parcel, by its number): ``intent`` before anything is sent, ``uploaded`` with the file's id,
``submitted`` with the batch's id, ``refused`` when that batch found no room in the queue (another is made of the same
rows), ``ended`` when every answer is in the journal, or the rows are owed again. `open_parts` tells what is not ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from headway.jobs.lanes import Took

__all__ = [
    "Bad",
    "Ended",
    "Event",
    "Intent",
    "Keys",
    "OpenPart",
    "Refused",
    "Submitted",
    "Uploaded",
    "encode",
    "open_parts",
    "taken",
]


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="intent"):
    """These rows are about to be sent."""

    part: int
    at_wall_s: float
    keys: str
    """Of its rows, in order, with a space between."""
    repairs: tuple[int, ...] = ()
    """Places of rows that ask again about a bad answer: their request is not the one that the key stands for."""
    dollars: float = 0.0
    """The most that they may cost together."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="uploaded"):
    """Their file is at the provider."""

    part: int
    file_id: str


class Submitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="submitted"):
    """Their batch is at the provider."""

    part: int
    batch_id: str
    file_id: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="refused"):
    """That batch did not run, for want of room; the part waits for another."""

    part: int
    batch_id: str


class Bad(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="bad"):
    """Rows of the part were answered, and are about to be asked again: what they took so far, by key."""

    part: int
    rows: dict[str, Took]


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="batch", tag="ended"):
    """Nothing more is to be had from the part."""

    part: int


Event: TypeAlias = Intent | Uploaded | Submitted | Refused | Bad | Ended


class Keys:
    """The keys of a part's rows in their order, about 40 bytes each."""

    __slots__ = ("_starts", "_text")

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._starts = array("q", [0])
        at = self._text.find(b" ")
        while at >= 0:
            self._starts.append(at + 1)
            at = self._text.find(b" ", at + 1)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, n: int) -> str:
        if not 0 <= n < len(self._starts):
            raise IndexError(n)
        end = self._starts[n + 1] - 1 if n + 1 < len(self._starts) else len(self._text)
        return self._text[self._starts[n] : end].decode()


class OpenPart(msgspec.Struct, kw_only=True):
    """A part that an earlier run left open."""

    part: int
    at_wall_s: float
    keys: Keys
    repairs: frozenset[int] = frozenset()
    dollars: float = 0.0
    """The most that its rows may cost together."""
    file_id: str = ""
    batch_id: str = ""
    """ "": it is not known whether its batch was created."""
    refused: set[str] = msgspec.field(default_factory=set)
    """Batches of its that did not run."""


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()
_BAD = b'{"batch":"bad"'


def encode(event: Event) -> bytes:
    """The event as `Journal.note` takes it."""
    return _encoder.encode(event)


def open_parts(events: Iterable[bytes]) -> tuple[list[OpenPart], int, frozenset[str]]:
    """What earlier runs left open.

    Args:
        events: The journal's, in order; those that are not the batch lane's are passed over.

    Returns:
        The open parts in order, the number that the next part takes, and the ids of all batches that are known.
    """
    found: dict[int, OpenPart] = {}
    following, known = 0, set()
    for raw in events:
        try:
            event = _decoder.decode(raw)
        except msgspec.DecodeError:
            continue
        following = max(following, event.part + 1)
        if isinstance(event, Submitted):
            known.add(event.batch_id)
        if isinstance(event, Intent):
            found[event.part] = OpenPart(
                part=event.part,
                at_wall_s=event.at_wall_s,
                keys=Keys(event.keys),
                repairs=frozenset(event.repairs),
                dollars=event.dollars,
            )
        elif (part := found.get(event.part)) is not None:
            _apply(part, event, found)
    return list(found.values()), following, frozenset(known)


def taken(events: Iterable[bytes]) -> dict[str, Took]:
    """What was paid for answers of no use, by the keys of the rows; those that were finished later included."""
    found: dict[str, Took] = {}
    for raw in events:
        if raw.startswith(_BAD):
            found.update(msgspec.json.decode(raw, type=Bad).rows)
    return found


def _apply(part: OpenPart, event: Event, found: dict[int, OpenPart]) -> None:
    if isinstance(event, Ended):
        del found[event.part]
    elif isinstance(event, Uploaded):
        part.file_id = event.file_id
    elif isinstance(event, Submitted):
        part.batch_id, part.file_id = event.batch_id, event.file_id or part.file_id
    elif isinstance(event, Refused):
        part.batch_id = ""
        part.refused.add(event.batch_id)
