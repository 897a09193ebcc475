"""Rows of a call log, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.store.call_log import CallLog
from headway.store.rows import Taken, Tried, encoded, snapshot, taken
from headway.store.writer import WriterSettings
from headway.types import Tags, Trace, Usage

NOW_S = 1_790_000_000.0


def trace_of(id_: str, end_wall_s: float = NOW_S, took_s: float = 1.0, *, kind: Any = "call", **fields: Any) -> Trace:
    """A caller, or a try, that ended then."""
    trace = Trace(kind, id_, 1_000.0, end_wall_s - took_s)
    trace.flight_id = id_.partition(".")[0]
    trace.model, trace.path, trace.upstream, trace.tenant = "m", "/v1/chat/completions", "https://u.example", "k"
    trace.sent_at_s = 1_000.0 + 0.1 * took_s
    trace.first_byte_at_s = trace.first_content_at_s = 1_000.0 + 0.5 * took_s
    trace.usage, trace.dollars, trace.status = Usage(input_tokens=10, output_tokens=5), 0.01, 200
    trace.cache = "off" if kind == "call" else ""
    outcome = fields.pop("outcome", "ok")
    for name, value in fields.items():
        setattr(trace, name, value)
    trace.end(outcome, 1_000.0 + took_s)
    return trace


def row_of_trace(trace: Trace, tried: Tried | None = None) -> Taken:
    """As the log gives it back."""
    row = taken(encoded(snapshot(trace)))
    if tried is None:
        return row
    import msgspec

    return msgspec.structs.replace(row, tried=tried)


def row(id_: str, end_wall_s: float = NOW_S, took_s: float = 1.0, **fields: Any) -> Taken:
    """The same at once."""
    return row_of_trace(trace_of(id_, end_wall_s, took_s, **fields))


def log_at(path: Path) -> CallLog:
    """A log that writes when it is told to flush."""
    return CallLog(path, writer=WriterSettings(inline=True))


TAGGED = Tags(run="r1", step="a#0")
