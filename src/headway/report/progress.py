"""Live progress: one line that is rewritten on a terminal, and a plain line every ten seconds elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from headway.report import format as fmt
from headway.report.money import kind_of
from headway.types import Result

__all__ = ["Progress", "Reading"]

_REDRAW_S = 0.1
_PLAIN_EVERY_S = 10.0
_WINDOW = 64
_WINDOW_STEP_S = 0.25
_READING_AFTER_S = 1.0
_READING_STEP = 256


class Progress:
    """Shows how far a run is: rows, rate, time left, hits, 429s, dollars. A context manager.

    Call `add` with every result and `refresh` a few times a second; both are cheap, and draw at most ten
    times a second on a terminal and once in ten seconds elsewhere.

    Args:
        total: Rows in all; None when unknown.
        label: Stands in front of the line.
        quiet: Show nothing.
        stream: Standard error by default, so that results can be piped.
        snapshot: Live counters, e.g. `Engine.snapshot`: "throttled", "in_flight", "queued" are read.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        total: int | None,
        *,
        label: str = "",
        quiet: bool = False,
        stream: TextIO | None = None,
        snapshot: Callable[[], Mapping[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self._label = label
        self._quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._live = not quiet and self._stream.isatty()
        self._snapshot = snapshot
        self._clock = clock
        self._started_s = self._drawn_s = clock()
        self._drawn = ""
        self._recent: deque[tuple[float, int]] = deque([(self._started_s, 0)], maxlen=_WINDOW)
        self._done = self._fresh = self._failed = self._reused = 0
        self._dollars: float | None = 0.0

    def add(self, result: Result, resumed: bool = False) -> None:
        """Count a row that is done; one that an earlier run had does not count in the rate."""
        self._done += 1
        self._failed += result.outcome != "ok"
        if not resumed:
            self._fresh += 1
            self._reused += kind_of(result) != "call"
            known = result.dollars is not None and self._dollars is not None
            self._dollars = (self._dollars or 0.0) + (result.dollars or 0.0) if known else None
        self.refresh()

    def refresh(self) -> None:
        """Redraw if it is time."""
        if self._quiet:
            return
        now_s = self._clock()
        if now_s - self._recent[-1][0] >= _WINDOW_STEP_S:
            self._recent.append((now_s, self._fresh))
        if now_s - self._drawn_s >= (_REDRAW_S if self._live else _PLAIN_EVERY_S):
            self._draw(now_s)

    def close(self) -> None:
        """Take the live line away, for what comes next. Idempotent."""
        if self._live and self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def line(self) -> str:
        """The line as it would be drawn now."""
        now_s = self._clock()
        rate = self._rate(now_s)
        parts = [f"{self._done:,}/{self.total:,}" if self.total is not None else f"{self._done:,}"]
        if self.total:
            parts[0] += f" ({min(self._done * 100 // self.total, 100)} %)"
        parts.append(f"{fmt.count(round(rate, 1))}/s")
        if self.total is not None and rate > 0 and self._done < self.total:
            parts.append(f"{fmt.seconds(max(1.0, (self.total - self._done) / rate))} left")
        if self._reused:
            parts.append(f"{self._reused:,} reused")
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        live = self._snapshot() if self._snapshot is not None else {}
        if live.get("in_flight"):
            parts.append(f"{live['in_flight']:,} in flight")
        if live.get("throttled"):
            parts.append(f"{live['throttled']:,} x 429")
        parts.append("cost unknown" if self._dollars is None else fmt.dollars(self._dollars))
        return f"{self._label + '  ' if self._label else ''}{'  '.join(parts)}"

    def _rate(self, now_s: float) -> float:
        """Rows a second over the last 16 s or so."""
        from_s, done = self._recent[0]
        return (self._fresh - done) / (now_s - from_s) if now_s > from_s else 0.0

    def _draw(self, now_s: float) -> None:
        self._drawn_s = now_s
        line = self.line()
        if not self._live:
            self._stream.write(f"{line}\n")
        else:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:width]}\x1b[K")
            self._drawn = line
        self._stream.flush()


class Reading:
    """Shows how many rows were read, once that takes longer than a second. A context manager.

    Args:
        quiet: Show nothing.
        stream: Standard error by default.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._live = self._stream.isatty()
        self._clock = clock
        self._next_s = clock() + (_READING_AFTER_S if self._live else _PLAIN_EVERY_S)
        self._shown = False

    def rows(self, count: int) -> None:
        """So many were read; cheap enough to be called for each."""
        if count % _READING_STEP or self._quiet or (now_s := self._clock()) < self._next_s:
            return
        self._next_s = now_s + (_REDRAW_S if self._live else _PLAIN_EVERY_S)
        self._shown = self._live
        self._stream.write(f"\r{count:,} rows read\x1b[K" if self._live else f"{count:,} rows read\n")
        self._stream.flush()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
