"""The structured log on stderr: a line for each call that a human should see, and for what else happens.

Lines are JSON with stable names, or coloured text at a terminal; the setting `log_format` decides it.
No line holds a prompt, an answer or a secret. A flood of failures is cut to `LINES_PER_S_MAX`, and what was left out is
counted in a line of its own. So is what there was no room for because nobody reads stderr: see `Steady`.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final, Literal, TextIO, cast

from headway.engine.plain import plain_line, shown
from headway.engine.steady import Steady
from headway.types import Trace

__all__ = ["LINES_PER_S_MAX", "RANKS", "Said"]

RANKS: Final = {"debug": 10, "info": 20, "warning": 30, "off": 100}
LINES_PER_S_MAX: Final = 100
"""Above level "debug", where somebody wants to see everything."""


class Said:
    """Writes lines.

    Args:
        level: "debug", "info", "warning" or "off": less than that is not written.
        format_: "json", "console", or "auto": console where stderr is a terminal.
        stream: Instead of stderr.
    """

    __slots__ = ("_format", "_left_out", "_lines", "_logger", "_out", "_second", "_stream", "rank")

    def __init__(self, level: str, format_: str = "auto", stream: TextIO | None = None) -> None:
        self.rank = RANKS[level]
        self._format = format_
        self._stream = stream
        self._logger: Any = None
        self._out: Steady | None = None
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def say(self, level: Literal["debug", "info", "warning"], event: str, **fields: Any) -> None:
        """Write a line of what has happened, unless it is below the level. Values that are "" or None are left out."""
        rank = RANKS[level]
        if rank >= self.rank:
            logger = self._logger or self._open()
            self._own_up(logger)
            logger.log(rank, event, **{name: value for name, value in fields.items() if value not in ("", None)})

    def tell(
        self,
        event: str,
        sentence: str,
        *,
        level: Literal["info", "warning"] = "info",
        quiet: bool = False,
        **fields: Any,
    ) -> None:
        """Say what became of the whole process, unless the log is off: a line of JSON, or the sentence for a human.

        Args:
            event: A word that stays the same: "reload".
            sentence: For whoever reads it; in JSON it is `message`.
            level: Of the line.
            quiet: Only JSON says it always; at a terminal it takes log_level "info".
            fields: For programs.
        """
        if self.rank >= RANKS["off"]:
            return
        if not self.is_console:
            logger = self._logger or self._open()
            told = {name: value for name, value in fields.items() if value not in ("", None)}
            logger.log(RANKS[level], event, message=sentence, **told)
        elif not quiet or self.rank <= RANKS["info"]:
            self._steady().write(f"headway serve: {shown(sentence)}\n")

    @property
    def is_console(self) -> bool:
        """Whether a human reads it."""
        return self._format == "console" or (self._format == "auto" and self._to.isatty())

    def ended(self, trace: Trace, rank: int) -> None:
        """Write the line of a call or a try that has ended."""
        if self.rank > RANKS["debug"] and not self._has_room():
            return
        logger = self._logger or self._open()
        self._own_up(logger)
        found = {name: value for name, value in _fields(trace).items() if value not in ("", None)}
        event = f"{trace.kind} {trace.outcome}"
        logger.log(rank, event, **found)

    def _has_room(self) -> bool:
        """Whether this second has a line left."""
        second = int(time.monotonic())
        if second != self._second:
            left_out, self._left_out = self._left_out, 0
            self._second, self._lines = second, 0
            if left_out:
                self.say("warning", "lines left out", lines=left_out)
        self._lines += 1
        if self._lines > LINES_PER_S_MAX:
            self._left_out += 1
            return False
        return True

    def _open(self) -> Any:
        import logging

        import structlog

        # A logger of our own, not structlog's global configuration: that belongs to the application.
        last = _Plain(coloured=self._to.isatty()) if self.is_console else structlog.processors.JSONRenderer()
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(cast("TextIO", self._steady())),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _in_order,
                last,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        ).bind(logger="headway")
        return self._logger

    @property
    def _to(self) -> TextIO:
        return self._stream or sys.stderr

    def _steady(self) -> Steady:
        """Where lines go, opened for the first one: nobody waits for whoever reads them."""
        if self._out is None:
            self._out = Steady(self._to)
        return self._out

    def _own_up(self, logger: Any) -> None:
        """Say how many lines there was no room for."""
        if lost := self._steady().lost():
            logger.log(RANKS["warning"], "lines left out", lines=lost)


class _Plain:
    """The last of structlog's processors, at a terminal."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, logger: Any, method: str, event: Any) -> str:
        return plain_line(event, coloured=self._coloured)


def _fields(trace: Trace) -> dict[str, Any]:
    """By the names that docs/telemetry.md lists."""
    started_s, usage, tags = trace.started_at_s, trace.usage, trace.tags
    end_s = trace.ended_at_s if trace.ended_at_s is not None else started_s
    first_s = trace.first_content_at_s if trace.stream else None
    is_call = trace.kind == "call"
    return {
        "id": trace.id,
        "flight": trace.flight_id,
        "route": trace.path,
        "model": trace.model,
        "upstream": trace.upstream,
        "outcome": trace.outcome,
        "status": trace.status,
        "error_code": trace.error_code,
        "latency_s": round(end_s - started_s, 4),
        "ttft_s": None if first_s is None else round(first_s - started_s, 4),
        "wait_s": round(trace.wait_s, 4),
        "input_tokens": usage.input_tokens if usage is not None else None,
        "output_tokens": usage.output_tokens if usage is not None else None,
        "dollars": None if trace.dollars is None else round(trace.dollars, 9),
        "saved_dollars": None if trace.saved_dollars is None else round(trace.saved_dollars, 9),
        "cache": trace.cache,
        "attempts": trace.attempts if is_call else None,
        "attempt": None if is_call else trace.attempt_index,
        "key": trace.tenant,
        "run": tags.run,
        "step": tags.step,
        "trace_id": trace.trace_id,
    }


_FIRST: Final = ("timestamp", "level", "event", "logger")


def _in_order(logger: Any, method: str, event: Any) -> dict[str, Any]:
    """What every line has comes first."""
    first: dict[str, Any] = {name: event.pop(name) for name in _FIRST if name in event}
    first.update(event)
    return first
