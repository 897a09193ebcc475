"""What goes wrong with connections, on demand: drawn for each one as it is made.

| kind | what happens |
|---|---|
| refused | nobody listens: connecting fails after a round trip |
| black_hole | connecting is never answered; it fails after `CONNECT_GIVEN_UP_S`, as Linux gives up |
| reset | both ends are told "reset by peer" after `at_bytes` in one direction |
| cut | after `at_bytes` of the answer its connection ends, as if the server's process had died |
| stall | after `at_bytes` in one direction nothing more gets through for `stall_s` |
| split | what arrives is handed on in pieces of 1 byte to 1 MiB |
| slow | what arrives is handed on in pieces of up to 256 bytes, `pause_s` apart |
| stale | the server closes a kept connection just before it is used again: the request meets a closed door |
"""

from __future__ import annotations

from math import inf, isfinite
from random import Random
from typing import Final, Literal

import msgspec

from headway.errors import ConfigError

__all__ = ["CONNECT_GIVEN_UP_S", "NETWORK_FAULTS", "Direction", "NetworkFault", "draw_fault"]

NETWORK_FAULTS: Final = ("refused", "black_hole", "reset", "cut", "stall", "split", "slow", "stale")

CONNECT_GIVEN_UP_S: Final = 127.0
"""Six repeated SYNs, each after twice the wait. Source: Linux, ip-sysctl, tcp_syn_retries = 6."""

AT_BYTES_MAX: Final = 65_536
PIECE_BYTES_MAX: Final = 1024 * 1024

Direction = Literal["up", "down"]
"""From the client, or to it."""


class NetworkFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of fault: how often, from when to when, and where in the connection.

    Raises:
        ConfigError: An unknown kind, a rate outside 0..1, a negative place or time.
    """

    kind: str
    rate: float = 1.0
    """The share of connections it befalls, 0 to 1."""
    start_s: float = 0.0
    """Loop time; connections made from then ..."""
    end_s: float = inf
    """... until then are befallen."""
    direction: Direction | None = None
    """Of reset and stall; None: either, by the dice."""
    at_bytes: int | None = None
    """Where in that direction reset, cut and stall strike; None: drawn, 0 to 64 KiB, each magnitude as likely."""
    stall_s: float = inf
    """How long a stall lasts."""
    pause_s: float = 0.05
    """Between the pieces of a slow connection."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.kind not in NETWORK_FAULTS:
            raise ConfigError(
                f"network fault: {self.kind!r} is not a kind of fault; the kinds are {', '.join(NETWORK_FAULTS)}"
            )
        if not (isfinite(self.rate) and 0 <= self.rate <= 1):
            raise ConfigError(f"network fault: the rate of {self.kind} must be from 0 to 1, not {self.rate:g}")
        if (self.at_bytes or 0) < 0 or not self.stall_s >= 0 or not self.pause_s >= 0:
            raise ConfigError(f"network fault: {self.kind} has a place or a time below 0")


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The fault of one connection, its dice thrown."""

    kind: str
    direction: Direction
    at_bytes: int
    stall_s: float
    pause_s: float
    in_order: bool
    """Of stale: the connection ends with an end of file, not with a reset."""


def draw_fault(faults: tuple[NetworkFault, ...], now_s: float, rng: Random) -> Drawn | None:
    """The fault that befalls the connection made now, or None. One throw per fault whether or not it is due."""
    found = None
    for fault in faults:
        thrown = rng.random() < fault.rate
        if thrown and found is None and fault.start_s <= now_s < fault.end_s:
            found = fault
    if found is None:
        return None
    direction: Direction = "up" if rng.random() < 0.5 else "down"
    place = int(AT_BYTES_MAX ** rng.random()) - 1
    return Drawn(
        kind=found.kind,
        direction="down" if found.kind == "cut" else found.direction or direction,
        at_bytes=place if found.at_bytes is None else found.at_bytes,
        stall_s=found.stall_s,
        pause_s=found.pause_s,
        in_order=rng.random() < 0.5,
    )


def piece_bytes(kind: str, rng: Random) -> int:
    """How many bytes are handed on at once: 1 to 1 MiB, or up to 256 where it is slow; each magnitude as likely."""
    return int((256 if kind == "slow" else PIECE_BYTES_MAX) ** rng.random())
