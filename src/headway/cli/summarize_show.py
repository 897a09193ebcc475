"""What `headway summarize` shows: a line that is redrawn while it works, the answer as it comes, and what it took."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, TextIO

from headway.cli.ending import stdout_refused
from headway.report import format as fmt

__all__ = ["Live", "Pace", "say", "write"]

_REDRAW_S: Final = 0.1
_PLAIN_EVERY_S: Final = 10.0


class Live:
    """A line on stderr while something runs: redrawn on a terminal, a line of its own every ten seconds elsewhere.

    Args:
        text: What to show now.
        quiet: Show nothing.
        plain: Show it where stderr is no terminal, too.
        stream: Standard error by default.
    """

    def __init__(
        self, text: Callable[[], str], *, quiet: bool = False, plain: bool = False, stream: TextIO | None = None
    ) -> None:
        self._text = text
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._on = not quiet and (self._terminal or plain)
        self._drawn = False

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[Live, None]:
        """Show it for as long as the block runs, or until `hide`."""
        ticking = asyncio.create_task(self._tick()) if self._on else None
        try:
            yield self
        finally:
            if ticking is not None:
                ticking.cancel()
            self.hide()

    def hide(self) -> None:
        """Take it away for good, for what comes next. Idempotent."""
        self._on = False
        self.clear()

    def clear(self) -> None:
        """Make way for a line of something else; it is drawn again below that."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    async def _tick(self) -> None:
        while self._on:
            if not self._terminal:
                await asyncio.sleep(_PLAIN_EVERY_S)
                self._stream.write(f"{self._text()}\n")
            else:
                width = shutil.get_terminal_size().columns - 1
                self._stream.write(f"\r{fmt.printable(self._text())[:width]}\x1b[K")
                self._drawn = True
            self._stream.flush()
            if self._terminal:
                await asyncio.sleep(_REDRAW_S)


class Pace:
    """How long the rest will take, from what is done: the mean so far, which is fair where all parts are alike.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_s = clock()

    @property
    def took_s(self) -> float:
        """Since it was made."""
        return self._clock() - self._started_s

    def per_hour(self, done: int) -> float | None:
        """Parts an hour; None before the first."""
        return done * 3600.0 / self.took_s if done and self.took_s > 0 else None

    def left(self, done: int, total: int) -> str:
        """Such as "3 min 05 s left"; "" when that cannot be told yet."""
        if not done or done >= total:
            return ""
        return f"{fmt.seconds(max(1.0, self.took_s * (total - done) / done))} left"


def write(text: str) -> None:
    """Write to stdout at once; on a terminal without what could steer it.

    Raises:
        BrokenPipeError: Its reader is gone.
        HeadwayError: It takes nothing more, e.g. because the disk is full.
    """
    if sys.stdout.isatty():
        text = "".join(char for char in text if char.isprintable() or char in "\n\t")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        way_on = "answers are kept in the cache: mend that, and the same command has them"
        raise stdout_refused(error, way_on) from None


def say(sentence: str, *, dim: bool = False) -> None:
    """Say something on stderr; `dim`, where that is a terminal, for figures."""
    sys.stderr.write(f"\x1b[2m{sentence}\x1b[0m\n" if dim and sys.stderr.isatty() else f"{sentence}\n")
