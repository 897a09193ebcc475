"""Rows into batches: where a parcel is cut, when the next one may be sent, and when to ask how it is doing.

Pure: `now_s` is an argument. Facts: FACTS section 3 (what a batch may hold; half of all batches are done in 7 minutes,
nine in ten within the hour; prompt tokens queued at once are limited per model, by a number that nobody tells).
"""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

__all__ = [
    "MORE_TRIES_MAX",
    "ParcelBounds",
    "Quota",
    "cancel_delay_s",
    "close_after_s",
    "patience_s",
    "poll_delay_s",
]

MORE_TRIES_MAX: Final = 2
"""So many more batches a row may go into, when it was not answered or its answer was of no use; then elsewhere."""

_POLL_FIRST_S: Final = 1.0
_POLL_MIN_S: Final = 5.0
_POLL_MAX_S: Final = 60.0
_POLL_RATIO: Final = 0.1
"""A wait is at most a tenth longer than it had to be."""
_TAIL_MAX_S: Final = 300.0
_TAIL_RATIO: Final = 1 / 60
"""Past the hour in which nine in ten are done, a minute each hour more."""
_LATE_RATIO: Final = 0.02
_BACKOFF_MIN_S: Final = 60.0
_BACKOFF_MAX_S: Final = 600.0
_PAUSE_MIN_S: Final = 2.0
_PAUSE_MAX_S: Final = 600.0
_TROUBLE_MIN_S: Final = 5.0
_HALF: Final = 0.55
"""A little more than half, so that rows of unlike sizes make two parcels and not three."""
_GROWTH: Final = 1.25
_SOON_S: Final = 1e-3
"""Waits that are shorter have passed: sums of floats are off by a little."""


class ParcelBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one parcel may hold, each at least 1."""

    rows_max: int = 50_000
    bytes_max: int = 32 * 1024 * 1024
    """Lines and their ends. Far below what providers take: a parcel is uploaded from memory."""
    tokens_max: int | None = None
    """Estimated prompt tokens; None: no bound that we know of."""

    def takes(self, rows: int, bytes_: int, tokens: int, *, more_bytes: int, more_tokens: int) -> bool:
        """Whether one more row fits beside these; an empty parcel takes any."""
        if not rows:
            return True
        fits = rows < self.rows_max and bytes_ + more_bytes <= self.bytes_max
        return fits and (self.tokens_max is None or tokens + more_tokens <= self.tokens_max)


class Quota:
    """How many prompt tokens the provider's queue takes from us, learned from what it refuses.

    Parcels go out until one is refused for want of room; then the next try waits until another of ours has ended, or
    for 60 s, doubling up to 10 minutes, and goes alone. What was refused although nothing of ours was queued is too
    large, or others fill the queue: it is halved; parcels that are taken let the size grow again by a quarter.

    Args:
        parcels_max: Batches of ours at the provider at once, > 0.
    """

    def __init__(self, *, parcels_max: int = 64) -> None:
        self.tokens_max: int | None = None
        """What a parcel may hold; None while nothing was refused."""
        self.out = 0
        """Batches of ours that are queued or run."""
        self._parcels_max = parcels_max
        self._refusals = 0
        self._until_s = -inf
        self._probing = False

    def wait_s(self, now_s: float) -> float:
        """How long the next parcel has to wait; infinite: until something is told."""
        if self.out >= self._parcels_max or (self._probing and self._refusals):
            return inf
        left_s = self._until_s - now_s
        return left_s if left_s > _SOON_S else 0.0

    def sent(self) -> None:
        """A batch was created."""
        self.out += 1
        self._probing = True

    def taken(self) -> None:
        """One that was created turned out to have room."""
        self._probing = False
        self._refusals = 0
        if self.tokens_max is not None:
            self.tokens_max = int(self.tokens_max * _GROWTH) + 1

    def ended(self) -> None:
        """A batch of ours has ended: there is room."""
        self.out -= 1
        self._probing = self._probing and self.out > 0
        self._until_s = -inf

    def refused(self, tokens: int, now_s: float, *, created: bool, tokens_max: int | None = None) -> bool:
        """There was no room for a parcel.

        Args:
            tokens: What it was estimated at.
            now_s: The time.
            created: It had been counted as `sent`.
            tokens_max: What the provider said its queue takes.

        Returns:
            Whether it has to be cut in two.
        """
        self.out -= created
        self._probing = False
        self._until_s = now_s + min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2.0**self._refusals)
        self._refusals = min(self._refusals + 1, 16)
        if self.out:
            return False
        most = max(1, min(int(_HALF * tokens), self.tokens_max or tokens))
        self.tokens_max = most if tokens_max is None or tokens_max < 1 else min(most, tokens_max)
        return True


def poll_delay_s(age_s: float, left_s: float = inf) -> float:
    """Seconds until a batch of that age is asked about again: a tenth of its age, from 5 to 60; later up to 300.

    In its first seconds it is asked a little sooner, for what is refused is refused then.

    Args:
        age_s: Since it was created.
        left_s: Until a deadline; the nearer it is, the finer, down to 5 s.
    """
    most_s = max(_POLL_MAX_S, min(_TAIL_MAX_S, _TAIL_RATIO * age_s))
    least_s = min(_POLL_MIN_S, max(_POLL_FIRST_S, age_s))
    delay_s = min(most_s, max(least_s, _POLL_RATIO * age_s))
    return min(delay_s, max(least_s, _LATE_RATIO * left_s))


def cancel_delay_s(tries: int) -> float:
    """Seconds until a batch that is being cancelled is asked about again: 2, 4, 8, then every 15."""
    return float(min(15.0, 2.0 ** min(tries + 1, 8)))


def close_after_s(closed_early: int) -> float:
    """How long a parcel that is not full waits for more rows: 2 s, doubling up to 10 minutes.

    Args:
        closed_early: How many were closed for that before: a slow source shall not make a batch of every row.
    """
    return float(min(_PAUSE_MAX_S, _PAUSE_MIN_S * 2.0 ** min(closed_early, 16)))


def patience_s(tries: int) -> float:
    """Seconds before a call that met trouble (5xx, a lost connection) is made again: 5, doubling up to 10 minutes."""
    return float(min(_BACKOFF_MAX_S, _TROUBLE_MIN_S * 2.0 ** min(max(tries - 1, 0), 16)))
