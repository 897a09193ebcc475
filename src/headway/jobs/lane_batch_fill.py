"""Rows collected into parcels: each goes into the one that is being filled, or waits for an equal row's answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from headway.engine.row import RowAsk
from headway.jobs.index import Index
from headway.jobs.parcel import SETTLED, Kept, Parcel
from headway.policy.parcels import ParcelBounds, close_after_s
from headway.types import TaskLike
from headway.wire import reader_for
from headway.wire.batch import BatchFormat
from headway.wire.tokens import estimate_tokens

__all__ = ["Filling"]

_FILLING_MAX: Final = 16
"""Parcels that are filled at once, one a model."""
_PLACE_BITS: Final = 32
_SOON_S: Final = 1e-3
"""Waits that are shorter have passed: sums of floats are off by a little."""


class Filling:
    """The parcels that are not sent yet, and where in all parcels the rows of a key are.

    Args:
        task: What is asked.
        format_: The provider's batch API.
        name: What a part's rows' ids begin with.
        bounds: What a parcel may hold; may be set anew.
        parcels: All that are alive, by number; kept up to date here and by the owner.
        following: The number of the next parcel.
        folder: Where to spool.
        reuse: Whether equal rows share an answer.
        worst: The most that a request may cost, dollars.
    """

    def __init__(
        self,
        task: TaskLike,
        format_: BatchFormat,
        name: Callable[[int], str],
        bounds: ParcelBounds,
        parcels: dict[int, Parcel],
        *,
        following: int,
        folder: Path | None,
        reuse: bool,
        worst: Callable[[bytes], float],
    ) -> None:
        self.bounds = bounds
        self.line: deque[Parcel] = deque()
        """Closed, in the order they are to be sent."""
        self._reader = reader_for(task.path) if format_.one_model else None
        self._task = task
        self._format = format_
        self._name = name
        self._parcels = parcels
        self._following = following
        self._folder = folder
        self._worst = worst
        self._filled: dict[str, Parcel] = {}
        self._equals = Index(self._same) if reuse else None
        self._last_s = 0.0
        self._closed_early = 0
        for part, parcel in parcels.items():
            for n in range(len(parcel)):
                if self._equals is not None and parcel.keys is not None and parcel.marks[n] != SETTLED:
                    self._equals.put(_base(parcel.keys[n]), part << _PLACE_BITS | n)

    @property
    def rows(self) -> int:
        """How many wait to be sent."""
        return sum(parcel.held for parcel in (*self.line, *self._filled.values()))

    def join(self, kept: Kept) -> Parcel | None:
        """Have a row wait for an equal one that is in the lane; None where there is none."""
        value = -1
        if self._equals is not None:
            value = next((found for base in self._bases(kept) if (found := self._equals.get(base)) >= 0), -1)
        if value < 0:
            return None
        parcel, n = self._parcels[value >> _PLACE_BITS], value & ((1 << _PLACE_BITS) - 1)
        if parcel.brought(n):
            parcel.join(n, kept)
        else:
            parcel.bring(n, kept)  # asked by an earlier run for a row of the same request: it is this one's, too
        return parcel

    def add(self, kept: Kept, ask: RowAsk, now_s: float) -> tuple[Parcel, int] | None:
        """Put a row into the parcel that is being filled; None where it is too large for any batch.

        Args:
            kept: The row.
            ask: What it asks; kept when it is not what it asked at first.
            now_s: The time.
        """
        body = ask.body
        model = self._reader.read_request(body, ()).model if self._reader is not None else ""
        tokens = estimate_tokens(len(body))
        parcel = self._filled.get(model)
        size = len(body) + 128  # the id, the path and what surrounds them
        if parcel is not None and not self.bounds.takes(
            len(parcel), parcel.bytes, parcel.tokens, more_bytes=size, more_tokens=tokens
        ):
            self._closed_early = 0
            self._close(model)
            parcel = None
        part = self._following if parcel is None else parcel.part
        n = 0 if parcel is None else len(parcel)
        line = self._format.line(f"{self._name(part)}-{n}", body)
        if len(line) + 1 > self._format.bytes_max:
            return None
        if parcel is None:
            if len(self._filled) >= _FILLING_MAX:
                self._close(next(iter(self._filled)))
            parcel = self._filled[model] = self._parcels[part] = Parcel(part, model, folder=self._folder)
            self._following += 1
        parcel.add(kept, line, tokens, self._worst(body))
        if ask.repairs:
            parcel.asks[n] = ask
        if self._equals is not None:
            for base in self._bases(kept):
                self._equals.put(base, part << _PLACE_BITS | n)
        self._last_s = now_s
        return parcel, n

    def closes_in_s(self, now_s: float) -> float:
        """How long until what is being filled is closed for want of more; infinite when nothing is."""
        if not self._filled:
            return float("inf")
        left_s = self._last_s + close_after_s(self._closed_early) - now_s
        return left_s if left_s > _SOON_S else 0.0

    def close(self, *, early: bool) -> None:
        """Close what is being filled, so that it goes out. `early`: no rows came for a while."""
        if self._filled:
            self._closed_early = self._closed_early + 1 if early else 0
        for model in list(self._filled):
            self._close(model)

    def take_all(self) -> list[Parcel]:
        """Everything that is not sent, taken out."""
        found = [*self.line, *self._filled.values()]
        self.line.clear()
        self._filled.clear()
        return found

    def _close(self, model: str) -> None:
        self.line.append(self._filled.pop(model))

    def _bases(self, kept: Kept) -> list[str]:
        """What rows are equal by: the request, and what is left of it when declared columns are normalised."""
        body = self._task.key_body(kept.data)
        normal = [] if body is None else [f"={blake2b(body, digest_size=16).hexdigest()}"]
        return [_base(kept.key), *normal]

    def _same(self, value: int, base: str) -> bool:
        """Whether the row there is alive and of that request."""
        parcel, n = self._parcels.get(value >> _PLACE_BITS), value & ((1 << _PLACE_BITS) - 1)
        if parcel is None or parcel.marks[n] == SETTLED:
            return False
        if parcel.keys is not None:
            return _base(parcel.keys[n]) == base
        return base in self._bases(parcel.read(n))


def _base(key: str) -> str:
    return key.partition("#")[0]
