"""SIGHUP: read the configuration anew; but where the terminal it was started from is gone, it means the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["STAYS", "Hangup", "held_back"]

STAYS = "the configuration in service stays, for the new one is wrong"


@contextmanager
def held_back() -> Iterator[None]:
    """Before a process serves, SIGHUP would end it: it waits until `Hangup.watch`, and counts then."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Hangup:
    """See the module.

    Args:
        reload: Called for a reload.
        end: Called for the end.
    """

    def __init__(self, reload: Callable[[], object], end: Callable[[], object]) -> None:
        self._reload = reload
        self._end = end
        self._terminals = [number for number in (0, 1, 2) if os.isatty(number)]

    def watch(self, loop: asyncio.AbstractEventLoop) -> list[int]:
        """Take the signal on a loop, in the main thread. Returns the signals that are taken, none on Windows."""
        if not hasattr(signal, "SIGHUP"):
            return []
        loop.add_signal_handler(signal.SIGHUP, self.came)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))  # see `held_back`
        return [signal.SIGHUP]

    def came(self) -> None:
        """It came."""
        if not self._terminals or os.isatty(self._terminals[0]):
            self._reload()
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in self._terminals:  # whatever is said on the way out would fail there
            os.dup2(nowhere, number)
        os.close(nowhere)
        self._end()
