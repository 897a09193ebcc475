"""Where finished traces go: the call log, and the structured log of latency and failures on stderr."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from headway.config import Settings, state_dir
from headway.engine.said import Said
from headway.store.call_log import CallLog
from headway.store.writer import WriterSettings
from headway.types import Call, Trace
from headway.types.steps import StepRow

__all__ = [
    "HANDOVER_S",
    "Observer",
    "Recorder",
    "attempt_trace",
    "open_log",
    "open_recorder",
    "state_file",
    "tracing",
]

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
    """Sees what goes into the record, as it goes there: metrics and traces are made of that, and of nothing else.

    One that has a method ``began(call)`` is told of calls that begin, too, in the context of whoever makes them.
    """

    def finished(self, trace: Trace) -> None:
        """A caller or an attempt has ended. On the event loop: it takes a microsecond or two, and never fails."""

    def stepped(self, rows: Sequence[StepRow]) -> None:
        """A pipeline's run has ended."""


def tracing() -> Observer:
    """OpenTelemetry's observer, found by its name: it lies above the engine, which does without it unless it is told.

    Raises:
        ConfigError: The extra `otel` is not installed.
    """
    found: Observer = import_module("headway.telemetry.tracing").shared()
    return found


HANDOVER_S = 0.0002
"""What a saturated loop gives its writers now and then, so that they are not starved of the interpreter's lock."""


class Recorder:
    """Writes a row per caller and per attempt, and a log line for what a human should see.

    At level "warning" failed calls are logged, at "info" failed attempts too, at "debug" every call. No line ever
    holds a prompt, an answer or a key.
    """

    __slots__ = ("_holders", "_log", "_rank", "observers", "said", "starts")

    def __init__(self, log: CallLog | None, level: str, format_: str = "auto") -> None:
        self._log = log
        self.said = Said(level, format_)
        self._rank = self.said.rank
        self.starts: list[Callable[[Call], None]] = []
        """Told of calls that begin, by observers that have `began`."""
        self.observers: tuple[Observer, ...] = ()
        self._holders = 1

    def observe(self, observer: Observer) -> None:
        """Have somebody see everything from now on; twice is once."""
        if observer in self.observers:
            return
        self.observers = (*self.observers, observer)
        began: Callable[[Call], None] | None = getattr(observer, "began", None)
        if began is not None:
            self.starts.append(began)

    def shared(self) -> Recorder:
        """The same for one engine more: the last of them that closes it does."""
        self._holders += 1
        return self

    @property
    def dropped(self) -> int:
        """Rows that are not in the call log."""
        return self._log.dropped if self._log is not None else 0

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
            self.said.ended(trace, rank)
        for observer in self.observers:
            observer.finished(trace)

    def write_steps(self, rows: Sequence[StepRow]) -> None:
        """What a pipeline's run did."""
        if self._log is not None:
            self._log.write_steps(rows)
        for observer in self.observers:
            observer.stepped(rows)

    def close(self) -> None:
        """Write what is pending."""
        self._holders -= 1
        if self._log is not None and self._holders == 0:
            self._log.close()


def open_recorder(settings: Settings, *, inline: bool) -> Recorder:
    """The record of every call.

    Raises:
        ConfigError: The log cannot be written, or `otel` is on and OpenTelemetry is not installed.
    """
    recorder = Recorder(open_log(settings, inline=inline), settings.log_level, settings.log_format)
    if settings.otel == "on":
        recorder.observe(tracing())
    return recorder


def open_log(settings: Settings, *, inline: bool) -> CallLog | None:
    """The call log; None where it is off."""
    if settings.log == "off":
        return None
    path = state_file("calls.sqlite") if settings.log == "on" else Path(settings.log)
    return CallLog(path, rows_max=settings.log_rows_max, writer=WriterSettings(inline=inline, handover_s=HANDOVER_S))


def state_file(name: str) -> Path:
    """A file in the state directory."""
    return state_dir(os.environ) / name
