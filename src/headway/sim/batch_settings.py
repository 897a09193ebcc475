"""What the batch endpoints can be told, and what may go wrong with them.

| kind | what happens |
|---|---|
| row_400, row_429, row_500 | the row fails with that status; it is in the error file, and not billed |
| row_expired | the row is not run before the window ends, so that its batch expires |
| row_missing | the row is in neither file; it was not run and is not billed |
| counts | the batch's counts say that one row was completed and none failed |
| failed | the batch ends `failed` by an error of the provider's own; nothing was run |
| create_lost | the batch is made and runs, but the connection is dropped before the answer |
| upload_lost | the same with an upload |
| content_502 | a download is answered with a web page and a 502 |
| output_404 | the batch names an output file that is not there |
| call_429, call_500, call_503 | any call about files or batches is answered so, before it took effect |
"""

from __future__ import annotations

import re
from math import isfinite
from random import Random
from typing import Final, Literal, TypeAlias

import msgspec

from headway.errors import ConfigError

__all__ = ["BATCH_FAULTS", "BatchFault", "BatchSettings", "FaultDice", "OverQueue", "parse_batch_fault"]

BATCH_FAULTS: Final = (
    "row_400", "row_429", "row_500", "row_expired", "row_missing", "counts", "failed", "create_lost", "upload_lost",
    "content_502", "output_404", "call_429", "call_500", "call_503",
)  # fmt: skip

_SPEC: Final = re.compile(r"(?P<kind>[a-z0-9_]+)(?::(?P<rate>[0-9.e-]+))?(?:x(?P<times>[0-9]{1,9}))?")

OverQueue: TypeAlias = Literal["failed", "refused", "either"]
"""How a batch that does not fit into the queue is told: it ends `failed`, its creation is refused, or by the dice."""


class BatchFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of fault: how often, and at most how many times.

    Raises:
        ConfigError: An unknown kind, a rate outside 0..1, a number of times below 1.
    """

    kind: str
    rate: float = 1.0
    """The share of rows, batches or calls it befalls, 0 to 1."""
    times: int | None = None
    """At most so many times in the simulator's life; None for no end."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.kind not in BATCH_FAULTS:
            raise ConfigError(
                f"batch fault: {self.kind!r} is not a kind of fault; the kinds are {', '.join(BATCH_FAULTS)}"
            )
        if not (isfinite(self.rate) and 0 <= self.rate <= 1):
            raise ConfigError(f"batch fault: the rate of {self.kind} must be a number from 0 to 1, not {self.rate:g}")
        if self.times is not None and self.times < 1:
            raise ConfigError(f"batch fault: {self.kind} must be meant to happen once at least, not {self.times} times")


def parse_batch_fault(text: str) -> BatchFault:
    """Read "row_500:0.03" (3 % of rows), "create_lost:1x1" (the first time only) or "content_502" (always).

    Raises:
        ConfigError: It is none of these.
    """
    found = _SPEC.fullmatch(text.strip().lower())
    try:
        if found is None:
            raise ValueError
        rate = float(found["rate"]) if found["rate"] else 1.0
    except ValueError:
        raise ConfigError(
            f"batch fault: {text!r} was not understood; write it like row_500:0.03 or create_lost:1x1"
        ) from None
    return BatchFault(kind=found["kind"], rate=rate, times=int(found["times"]) if found["times"] else None)


class FaultDice:
    """Says what befalls; counts how often each fault has."""

    def __init__(self, faults: tuple[BatchFault, ...]) -> None:
        self._faults = tuple(enumerate(faults))
        self._left = [fault.times for fault in faults]

    def throw(self, kinds: tuple[str, ...], rng: Random) -> str:
        """The first of `kinds` that befalls, or "". One throw for each fault that could."""
        kind = ""
        for place, fault in self._faults:
            if fault.kind in kinds and rng.random() < fault.rate and not kind and self._left[place] != 0:
                kind = fault.kind
                left = self._left[place]
                self._left[place] = None if left is None else left - 1
        return kind


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How files and batches are played.

    Raises:
        ConfigError: A value out of range; the message names the key.
    """

    scale: float = 1.0
    """Multiplies every time of a batch, its window of 24 h included; 0 does all at once."""
    duration_s: float | None = None
    """What running a batch's rows takes, before `scale`; None draws it: half within 7 min, 90 % within 1 h."""
    queue_tokens_max: int | None = None
    """Prompt tokens that may be queued per organisation and model; None for no limit."""
    over_queue: OverQueue = "either"
    batches_per_hour: int = 2_000
    """Batches that may be created in an hour, per organisation."""
    rows_max: int = 50_000
    bytes_max: int = 200_000_000
    """Of a batch's input file."""
    message_rows_max: int = 100_000
    message_bytes_max: int = 256_000_000
    """Of a Message Batch's body."""
    upload_bytes_max: int = 512_000_000
    files_bytes_max: int = 1 << 30
    """Of all files held at once: uploads beyond it are refused; outputs are kept and counted."""
    batches_max: int = 10_000
    """Batches that are remembered; the oldest that have ended are forgotten."""
    faults: tuple[BatchFault, ...] = ()

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (isfinite(self.scale) and 0 <= self.scale <= 1_000):
            raise ConfigError(f"batches.scale: expected a number from 0 to 1000, got {self.scale:g}")
        if self.duration_s is not None and not (isfinite(self.duration_s) and self.duration_s >= 0):
            raise ConfigError(f"batches.duration_s: expected a number from 0, got {self.duration_s:g}")
        if self.over_queue not in ("failed", "refused", "either"):
            raise ConfigError(f"batches.over_queue: expected failed, refused or either, got {self.over_queue!r}")
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if (key.endswith("_max") or key == "batches_per_hour") and value is not None and value < 1:
                raise ConfigError(f"batches.{key}: expected a number from 1, got {value}")
