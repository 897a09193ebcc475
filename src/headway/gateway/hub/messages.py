"""What workers and the process that started them say to each other. Each side knows the other: one program, one run."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from headway.gateway.peers import WorkerState
from headway.gateway.settings import ServeSettings
from headway.policy.common_limits import Pair, Slice
from headway.policy.shared_limits import SharedBucket, SharedMark

__all__ = [
    "Figures", "FromHub", "FromWorker", "Give", "Ready", "Reload", "Reloaded", "Report", "Reported", "Start", "States",
    "StatesAsked", "Take", "Taken", "Tell",
]  # fmt: skip


class Ready(msgspec.Struct, tag=True):
    """A worker takes requests."""


class Figures(msgspec.Struct, tag=True):
    """About once a second, and at the end: it lives, and what its metrics stand at."""

    meters: bytes = b""
    """Empty: as before."""


class Take(msgspec.Struct, tag=True):
    """See `CommonBucket.take`."""

    id: int
    scope: str
    least: Pair
    wanted: Pair


class Give(msgspec.Struct, tag=True):
    """See `CommonBucket.give_back`."""

    scope: str
    unused: Pair
    known: bool


class Tell(msgspec.Struct, tag=True):
    """See `CommonBucket.tell`."""

    scope: str
    bucket: SharedBucket
    left: tuple[float | None, float | None] = (None, None)
    mark: SharedMark | None = None
    larger: bool = False
    full: bool = False


class StatesAsked(msgspec.Struct, tag=True):
    """How are the others?"""

    id: int
    meters: bytes = b""
    """The worker's own, as it is about to tell of them."""


class Reported(msgspec.Struct, tag=True):
    """The answer to `Report`."""

    id: int
    state: WorkerState


class Reloaded(msgspec.Struct, tag=True):
    """The answer to `Reload`."""

    id: int
    ok: bool
    said: str


class Start(msgspec.Struct, tag=True):
    """The first word to a worker."""

    settings: ServeSettings


class Taken(msgspec.Struct, tag=True):
    """The answer to `Take`."""

    id: int
    scope: str
    slice: Slice


class Report(msgspec.Struct, tag=True):
    """How are you?"""

    id: int


class States(msgspec.Struct, tag=True):
    """The answer to `StatesAsked`: the others', those of workers that have ended among them."""

    id: int
    states: list[WorkerState]


class Reload(msgspec.Struct, tag=True):
    """Read the configuration anew."""

    id: int
    check: bool = False
    """Only say whether it is right."""


FromWorker: TypeAlias = Ready | Figures | Take | Give | Tell | StatesAsked | Reported | Reloaded
FromHub: TypeAlias = Start | Taken | Report | States | Reload
