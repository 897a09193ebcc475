"""Where finished traces go: the call log, and the structured log of latency and failures on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from headway.store.call_log import CallLog
from headway.types import Trace
from headway.types.steps import StepRow

__all__ = ["Observer", "Recorder", "attempt_trace"]

_RANK = {"debug": 10, "info": 20, "warning": 30, "off": 100}
_QUIET = frozenset({"ok", "abandoned"})


def attempt_trace(caller: Trace, index: int, started_at_s: float, start_wall_s: float) -> Trace:
    """The trace of one try for a caller: the `index`-th of its flight, from 0."""
    trace = Trace("attempt", f"{caller.id}.{index}", started_at_s, start_wall_s)
    trace.attempt_index = index
    trace.path, trace.format, trace.model, trace.stream = caller.path, caller.format, caller.model, caller.stream
    trace.output_tokens_max, trace.tenant, trace.tags = caller.output_tokens_max, caller.tenant, caller.tags
    trace.body_bytes = caller.body_bytes
    return trace


class Observer(Protocol):
    """Sees what goes into the record, as it goes there: metrics and traces are made of that, and of nothing else."""

    def finished(self, trace: Trace) -> None:
        """A caller or an attempt has ended. On the event loop: it takes a microsecond or two, and never fails."""

    def stepped(self, rows: Sequence[StepRow]) -> None:
        """A pipeline's run has ended."""


class Recorder:
    """Writes a row per caller and per attempt, and a log line for what a human should see.

    At level "warning" failed calls are logged, at "info" failed attempts too, at "debug" every call. No line ever
    holds a prompt, an answer or a key.
    """

    __slots__ = ("_log", "_logger", "_observers", "_rank")

    def __init__(self, log: CallLog | None, level: str) -> None:
        self._log = log
        self._rank = _RANK[level]
        self._logger: Any = None
        self._observers: tuple[Observer, ...] = ()

    def observe(self, observer: Observer) -> None:
        """Have somebody see everything from now on."""
        self._observers = (*self._observers, observer)

    def finished(self, trace: Trace) -> None:
        """A caller or an attempt has ended."""
        if self._log is not None:
            prompt, answer = trace.prompt, trace.answer
            if prompt is None:
                self._log.write(trace)
            else:
                self._log.write(trace, prompt.decode("utf-8", "replace"), (answer or b"").decode("utf-8", "replace"))
        rank = 10 if trace.outcome in _QUIET else (30 if trace.kind == "call" else 20)
        if rank >= self._rank:
            self._say(trace, rank)
        for observer in self._observers:
            observer.finished(trace)

    def write_steps(self, rows: Sequence[StepRow]) -> None:
        """What a pipeline's run did."""
        if self._log is not None:
            self._log.write_steps(rows)
        for observer in self._observers:
            observer.stepped(rows)

    def close(self) -> None:
        """Write what is pending."""
        if self._log is not None:
            self._log.close()

    def _say(self, trace: Trace, rank: int) -> None:
        logger = self._logger or self._open()
        end_s = trace.ended_at_s if trace.ended_at_s is not None else trace.started_at_s
        fields = {
            "id": trace.id,
            "flight": trace.flight_id,
            "model": trace.model,
            "upstream": trace.upstream,
            "outcome": trace.outcome,
            "status": trace.status,
            "error_code": trace.error_code,
            "latency_s": round(end_s - trace.started_at_s, 4),
            "wait_s": round(trace.wait_s, 4),
            "cache": trace.cache,
            "attempts": trace.attempts or trace.attempt_index + 1,
            "run": trace.tags.run,
        }
        event = f"{trace.kind} {trace.outcome}"
        logger.log(rank, event, **{k: v for k, v in fields.items() if v not in ("", None)})

    def _open(self) -> Any:
        import logging
        import sys

        import structlog

        # A logger of our own, not structlog's global configuration: that belongs to the application.
        tty = sys.stderr.isatty()
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.dev.ConsoleRenderer() if tty else structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        ).bind(logger="headway")
        return self._logger
