"""When what happens to a batch: drawn once, so that its state at any time is a look at the clock and nothing else.

    created -> [checking] -> started -> [rows, each at its own time] -> rows done -> [finalizing] -> ended

Running the rows takes a log-normal time with a median of 7 minutes, 90 % below an hour and a tail of one in 170 beyond
8 hours and one in 1,400 beyond 24. What is not done when the window of 24 h ends expires.
"""

from __future__ import annotations

from math import exp, inf, log
from random import Random
from typing import Final

import msgspec

__all__ = ["WINDOW_S", "Clock", "draw_clock"]

WINDOW_S: Final = 86_400.0
_MEDIAN_S: Final = 420.0
_SIGMA: Final = log(3_600 / 420) / 1.2816
"""Puts the 90th percentile at an hour."""
_CHECK_S: Final = (2.0, 20.0)
_FINALIZE_S: Final = (1.0, 30.0)
_CANCEL_S: Final = (5.0, 120.0)
"""Requests that run already are let end; the documents speak of up to 10 minutes."""


class Clock(msgspec.Struct, kw_only=True):
    """The times of one batch, in the loop's seconds."""

    created_s: float
    started_s: float
    """When it has been checked."""
    rows_done_s: float
    """When the last row would be done; infinite where one never will."""
    finalize_s: float
    """How long writing its files takes."""
    expires_s: float
    cancel_s: float
    """How long a cancellation takes."""
    cancelling_s: float = inf
    """When it was cancelled."""

    @property
    def stop_s(self) -> float:
        """When no more rows are run: done, expired or cancelled."""
        return min(self.rows_done_s, self.expires_s, self.cancelling_s + self.cancel_s)

    @property
    def ended_s(self) -> float:
        """When it has ended, whatever way."""
        cancelled_s = self.cancelling_s + self.cancel_s
        return cancelled_s if self.cancelling_s < inf else self.stop_s + self.finalize_s

    def status(self, now_s: float) -> str:
        """validating, in_progress, finalizing, completed, expired, cancelling or cancelled."""
        if now_s >= self.cancelling_s:
            return "cancelled" if now_s >= self.ended_s else "cancelling"
        if now_s < self.started_s:
            return "validating"
        if now_s < self.stop_s:
            return "in_progress"
        if now_s < self.ended_s:
            return "finalizing"
        return "completed" if self.rows_done_s <= self.expires_s else "expired"


def draw_clock(now_s: float, rng: Random, scale: float, duration_s: float | None) -> Clock:
    """Draw a batch's times; always as many draws.

    Args:
        now_s: When it is made.
        rng: The batch's own dice.
        scale: Multiplies every time.
        duration_s: What its rows take; None draws that as well.
    """
    drawn_s = _MEDIAN_S * exp(_SIGMA * rng.gauss(0.0, 1.0))
    check_s, finalize_s, cancel_s = (rng.uniform(*bounds) for bounds in (_CHECK_S, _FINALIZE_S, _CANCEL_S))
    started_s = now_s + scale * check_s
    return Clock(
        created_s=now_s,
        started_s=started_s,
        rows_done_s=started_s + scale * (drawn_s if duration_s is None else duration_s),
        finalize_s=scale * finalize_s,
        expires_s=now_s + scale * WINDOW_S,
        cancel_s=scale * cancel_s,
    )
