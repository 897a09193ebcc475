"""Who is turned away, counted; and said in a line every now and then, so that a flood cannot fill a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from headway.engine.said import Said
from headway.gateway.request import Refused
from headway.telemetry.meters import Meters

__all__ = ["Refusals"]

WINDOW_S: Final = 10.0
CODES_MAX: Final = 20


class Refusals:
    """Counts into the metrics at once, and into one line of the log for `WINDOW_S` at a time.

    Args:
        meters: Where they are counted.
        said: The log as it is set now. What is in a line: how many, and why. Nothing of what was sent.
    """

    def __init__(self, meters: Meters, said: Callable[[], Said]) -> None:
        self._meters = meters
        self._said = said
        self._codes: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, refused: Refused) -> None:
        """Somebody was turned away."""
        code = refused.code
        self._meters.refused(code)
        codes = self._codes
        if code not in codes and len(codes) >= CODES_MAX:
            code = "other"
        codes[code] = codes.get(code, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.say)

    def say(self) -> None:
        """Write the line that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        codes, self._codes = self._codes, {}
        if codes:
            often = dict(sorted(codes.items(), key=lambda item: -item[1]))
            self._said().say("warning", "refused", requests=sum(codes.values()), in_s=WINDOW_S, codes=often)
