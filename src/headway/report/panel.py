"""The live panel of a job: a few lines that are redrawn on a terminal, and plain lines elsewhere.

    tickets.csv  gpt-5.4-mini
    ━━━━━━━━━━━━━━━━━━━━━━━─────────────────────────  4,812/10,000 (48 %)
    rate    98.2 rows/s, 98 % of 6,000 RPM
    time    53 s left   deadline in 5 h 58 min
    lanes   online 4,700 done, 112 out   batch 0 done, 5,000 out, 76 waiting
    batch   batch_6741a9b0d2f4 in_progress   5,000 rows   4 min 12 s
    spent   $0.412 of $20.00, $19.59 left
    reused  812 hits, 31 joined
    tries   4 x 429, 12 retries
    failed  3 invalid_output, 1 client_error

What is shown is a `PanelState`, plain values; nothing is kept here but what was drawn.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from rich.cells import cell_len

from headway.report.panel_lines import panel_lines, plain_line
from headway.report.panel_state import BatchPanel, LanePanel, PanelCounts, PanelState

__all__ = ["BatchPanel", "LanePanel", "Panel", "PanelCounts", "PanelState"]

_REDRAW_S = 0.2
_PLAIN_EVERY_S = 10.0
_HIDE, _SHOW, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[K", "\x1b[J"
_STYLES: Final = {
    "": "",
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "cyan": "\x1b[36m",
}
_RESET = "\x1b[0m"


def _size() -> tuple[int, int]:
    columns, lines = shutil.get_terminal_size()
    return columns, lines


class Panel:
    """Draws a job's state. A context manager; close it whatever happens, for it hides the cursor.

    Call `refresh` a few times a second: it asks for the state and draws at most five times a second on a terminal,
    and once in ten seconds elsewhere.

    Args:
        state: What to show now; called only when it is drawn.
        quiet: Show nothing.
        plain: Lines every ten seconds even on a terminal, e.g. because results are written to it.
        stream: Standard error by default, so that results can be piped.
        clock: Seconds that only go forward.
        size: Columns and lines of the terminal.
    """

    def __init__(
        self,
        state: Callable[[], PanelState],
        *,
        quiet: bool = False,
        plain: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        size: Callable[[], tuple[int, int]] = _size,
    ) -> None:
        self._state = state
        self._quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._live = not quiet and not plain and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = not os.environ.get("NO_COLOR")
        self._unicode = (getattr(self._stream, "encoding", None) or "utf-8").lower().startswith("utf")
        self._clock = clock
        self._size = size
        self._drawn_s = clock()
        self._widths: list[int] = []  # of the lines that stand there now

    def refresh(self) -> None:
        """Draw if it is time."""
        if self._quiet:
            return
        now_s = self._clock()
        if now_s - self._drawn_s < (_REDRAW_S if self._live else _PLAIN_EVERY_S):
            return
        self._drawn_s = now_s
        if self._live:
            self._draw()
        else:
            self._stream.write(plain_line(self._state()) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Take the panel away and give the cursor back. Idempotent."""
        if self._widths:
            self._stream.write(f"{self._up(self._size()[0])}{_CLEAR_BELOW}{_SHOW}")
            self._stream.flush()
            self._widths = []

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _draw(self) -> None:
        """One write a frame, each line over the one that stood there, so that nothing flickers."""
        columns, rows = self._size()
        width = max(1, columns - 1)
        lines = panel_lines(self._state(), width, unicode=self._unicode)[: max(1, rows - 1)]
        frame = [self._up(columns), "" if self._widths else _HIDE]
        frame += ["".join(self._styled(*piece) for piece in line) + _CLEAR_LINE + "\n" for line in lines]
        frame.append(_CLEAR_BELOW)
        self._widths = [sum(cell_len(text) for _, text in line) for line in lines]
        self._stream.write("".join(frame))
        self._stream.flush()

    def _up(self, columns: int) -> str:
        """To where the panel begins; a terminal that became narrower has wrapped its lines."""
        lines = sum(max(1, -(-width // max(1, columns))) for width in self._widths)
        return f"\r\x1b[{lines}A" if lines else "\r"

    def _styled(self, style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if style and self._color else text
