"""What became of a document: a line of the output, and a line of the journal."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.errors import InputError
from headway.jobs.record import Record, Tokens

__all__ = ["Row", "line_of", "record_of", "row_of"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of output. Field order is the order of keys; times in seconds.

    A document that failed has `error`, a sentence, and `summary` null. `chunks` is how many pieces it was cut into,
    `gaps` how many of them are missing from the summary, each marked in its text. `dollars` are what the run that made
    it paid for it, batches of earlier runs included, null when the model's price is unknown; `requests` is how many it
    really sent. What an interrupted run paid for a document that it did not finish is in no row, for its answers come
    from the cache then; the journal counts it (`Kept.spent`).
    """

    path: str
    summary: str | None = None
    words: int = 0
    chunks: int = 0
    gaps: int = 0
    requests: int = 0
    tokens: Tokens = Tokens()
    dollars: float | None = 0.0
    took_s: float = 0.0
    error: str | None = None
    encoding: str | msgspec.UnsetType = msgspec.UNSET
    """What the file was read as; there where that is a guess, because it is no UTF-8."""
    sources: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """Where the summary comes from; there when it was asked for."""

    @property
    def whole(self) -> bool:
        """Nothing failed, and nothing is missing."""
        return self.error is None and not self.gaps


def line_of(row: Row) -> bytes:
    """The line of output, with its end."""
    return msgspec.json.encode(row) + b"\n"


def record_of(row: Row) -> Record:
    """The row as a journal holds it. It is finished when nothing of it is missing: the rest is owed again."""
    return Record(
        input={"path": row.path},
        output=msgspec.to_builtins(row),
        error=row.error or (f"{row.gaps} gaps" if row.gaps else None),
        latency_s=row.took_s,
        tokens=row.tokens,
        dollars=row.dollars,
    )


def row_of(record: Record, where: str) -> Row:
    """The row that a journal's record holds. Raises `InputError` when it is of another program."""
    try:
        return msgspec.convert(record.output, Row)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{where} holds a line that is no document's ({error}); choose another --out, or start over with --fresh"
        ) from None
