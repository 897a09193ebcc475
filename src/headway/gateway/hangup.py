"""SIGHUP: read the configuration anew; but where the terminal it was started from is gone, it means the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

__all__ = ["STAYS", "Hangup"]

STAYS = "the configuration in service stays, for the new one is wrong"


class Hangup:
    """See the module.

    Args:
        reload: Called for a reload.
        end: Called for the end.
    """

    def __init__(self, reload: Callable[[], object], end: Callable[[], object]) -> None:
        self._reload = reload
        self._end = end
        self._terminal = os.isatty(0)

    def watch(self, loop: asyncio.AbstractEventLoop) -> list[int]:
        """Take the signal on a loop, in the main thread. Returns the signals that are taken, none on Windows."""
        if not hasattr(signal, "SIGHUP"):
            return []
        loop.add_signal_handler(signal.SIGHUP, self.came)
        return [signal.SIGHUP]

    def came(self) -> None:
        """It came."""
        if self._terminal and not os.isatty(0):
            self._end()
        else:
            self._reload()
