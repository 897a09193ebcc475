"""A row of the call log: its fields (which are the columns of the views), and how a `Trace` becomes one.

`snapshot` runs on the event loop and only copies references. The writer's thread turns it into JSON, and that is what
is kept: to bind 45 values would cost more than all the rest (2-5 us a row with the interpreter lock held, against 1).
Only what is searched by has columns of its own; views show the rest as columns, and `row_of` reads it back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

from headway.types import Tags, Trace, Usage

__all__ = ["SNAPSHOT", "VIEW_COLUMNS", "LogRow", "encoded", "row_of", "snapshot"]


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One caller (table `calls`) or one try (table `attempts`); the two share their columns and `flight_id`.

    Times are seconds after `start_wall_s`; None means that it did not happen, or is not known.
    """

    id: str
    flight_id: str
    """What joins callers to tries; "" for a caller that needed none (a hit)."""
    start_wall_s: float
    """Unix seconds."""
    wait_s: float
    """Ours: queue and pacing."""
    connect_s: float | None
    """How long connecting took (a duration, as `wait_s`); None: a kept connection was used."""
    sent_s: float | None
    first_byte_s: float | None
    first_content_s: float | None
    end_s: float | None
    provider_queue_s: float | None
    provider_processing_s: float | None
    provider_estimated: bool
    """The provider's two times are an estimate, not its own word."""
    model: str
    upstream: str
    path: str
    format: str
    stream: bool
    status: int | None
    outcome: str | None
    error_code: str
    finish: str
    request_id: str
    cache: str
    attempts: int
    """Of a caller: how many tries its flight made."""
    attempt_index: int
    """Of a try: its place in its flight, from 0."""
    output_tokens_max: int | None
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_estimated: bool | None
    """All six are None when no usage is known."""
    dollars: float | None
    saved_dollars: float | None
    maybe_billed: bool
    run: str
    step: str
    parent: str
    session: str
    tenant: str
    """Digest of the credential, never the credential."""
    block_hashes: str
    """Joined by ","."""
    body_bytes: int
    reply_bytes: int
    prompt: str | None
    """Text, like `answer`: None unless it was asked for."""
    answer: str | None


class _Taken(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot: attributes of `Trace`, then the two texts. New ones go to the end, with a default."""

    id: str
    flight_id: str
    start_wall_s: float
    started_at_s: float
    wait_s: float
    connect_s: float | None
    sent_at_s: float | None
    first_byte_at_s: float | None
    first_content_at_s: float | None
    ended_at_s: float | None
    provider_queue_s: float | None
    provider_processing_s: float | None
    provider_estimated: bool
    model: str
    upstream: str
    path: str
    format: str
    stream: bool
    status: int | None
    outcome: str | None
    error_code: str
    finish: str
    request_id: str
    cache: str
    attempts: int
    attempt_index: int
    output_tokens_max: int | None
    usage: Usage | None
    dollars: float | None
    saved_dollars: float | None
    maybe_billed: bool
    tags: Tags
    tenant: str
    block_hashes: tuple[str, ...]
    body_bytes: int
    reply_bytes: int
    prompt: str | None = None
    answer: str | None = None


SNAPSHOT: tuple[str, ...] = _Taken.__struct_fields__[:-2]
"""The attributes that a snapshot takes, in its order."""

snapshot: Callable[[Trace], tuple[Any, ...]] = attrgetter(*SNAPSHOT)
"""What a trace holds now, as a tuple of references; the trace may change afterwards."""

encoded: Callable[[tuple[Any, ...]], bytes] = msgspec.json.Encoder(enc_hook=tuple).encode
"""A snapshot (with the two texts behind it, if there are any) as it is kept. Block hashes may be any iterable."""

_decoded = msgspec.json.Decoder(_Taken).decode
_USAGE = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_TAGS = ("run", "step", "parent", "session")
_SINCE_START = {f"{moment}_s": f"{moment}_at_s" for moment in ("sent", "first_byte", "first_content")}
_SINCE_START["end_s"] = "ended_at_s"


def row_of(data: str) -> LogRow:
    """The row that is kept as `data`. Raises `msgspec.MsgspecError`."""
    taken = _decoded(data)
    fields: dict[str, Any] = {name: getattr(taken, name, None) for name in LogRow.__struct_fields__}
    for name, moment in _SINCE_START.items():
        at_s = getattr(taken, moment)
        fields[name] = None if at_s is None else at_s - taken.started_at_s
    for name in _USAGE:
        fields[name] = getattr(taken.usage, name, None)
    fields["usage_estimated"] = getattr(taken.usage, "estimated", None)
    for name in _TAGS:
        fields[name] = getattr(taken.tags, name)
    fields["block_hashes"] = ",".join(taken.block_hashes)
    return LogRow(**fields)


def _view_column(name: str) -> str:
    """The SQL that finds a field of `LogRow` in `data`. "->>" would need SQLite 3.38."""

    def value(field: str, inside: str = "") -> str:
        return f"json_extract(data, '$[{_Taken.__struct_fields__.index(field)}]{inside}')"

    if name in ("start_wall_s", "run"):
        return name  # columns of their own
    if name in _SINCE_START:
        return f"{value(_SINCE_START[name])} - {value('started_at_s')}"
    if name in _USAGE:
        return value("usage", f".{name}")
    if name == "usage_estimated":
        return value("usage", ".estimated")
    if name in _TAGS:
        return value("tags", f".{name}")
    if name == "block_hashes":
        return f"""trim(replace({value(name)}, '","', ','), '[]"')"""
    return value(name)


VIEW_COLUMNS: dict[str, str] = {name: _view_column(name) for name in LogRow.__struct_fields__}
"""Field of `LogRow` to the SQL expression that shows it."""
