"""A row of the call log: its fields (which are the table's columns), and how a `Trace` becomes one.

`snapshot` runs on the event loop and only copies references; `columns_of` runs on the writer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec

from headway.types import Trace, Usage

__all__ = ["COLUMN_TYPES", "LogRow", "columns_of", "row_of", "snapshot"]


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


def _column_types() -> dict[str, str]:
    names = {bool: "INTEGER", int: "INTEGER", float: "REAL", str: "TEXT"}
    hints = get_type_hints(LogRow)
    types = {}
    for field in LogRow.__struct_fields__:
        plain = next(kind for kind in names if hints[field] in (kind, kind | None))
        types[field] = names[plain] if hints[field] != plain else f"{names[plain]} NOT NULL"
    return types


COLUMN_TYPES = _column_types()
"""Column to SQL type, in the order of the fields of `LogRow`."""

snapshot: Callable[[Trace], tuple[Any, ...]] = attrgetter(
    "id", "flight_id", "start_wall_s", "started_at_s", "wait_s", "connect_s", "sent_at_s", "first_byte_at_s",
    "first_content_at_s", "ended_at_s", "provider_queue_s", "provider_processing_s", "provider_estimated",
    "model", "upstream", "path", "format", "stream", "status", "outcome", "error_code", "finish",
    "request_id", "cache", "attempts", "attempt_index", "output_tokens_max", "usage", "dollars",
    "saved_dollars", "maybe_billed", "tags", "tenant", "block_hashes", "body_bytes", "reply_bytes",
)  # fmt: skip
"""What a trace holds now, as a tuple of references; the trace may change afterwards."""


def columns_of(taken: tuple[Any, ...], prompt: str | None, answer: str | None) -> tuple[Any, ...]:
    """A snapshot as the values of a row, in the order of `COLUMN_TYPES`."""
    (
        id_, flight_id, start_wall_s, started_at_s, wait_s, connect_s, sent_at_s, first_byte_at_s,
        first_content_at_s, ended_at_s, *provider_to_max, usage, dollars, saved_dollars, maybe_billed, tags,
        tenant, block_hashes, body_bytes, reply_bytes,
    ) = taken  # fmt: skip
    return (
        id_, flight_id, start_wall_s, wait_s, connect_s,
        None if sent_at_s is None else sent_at_s - started_at_s,
        None if first_byte_at_s is None else first_byte_at_s - started_at_s,
        None if first_content_at_s is None else first_content_at_s - started_at_s,
        None if ended_at_s is None else ended_at_s - started_at_s,
        *provider_to_max, *_tokens(usage), dollars, saved_dollars, maybe_billed,
        tags.run, tags.step, tags.parent, tags.session,
        tenant, ",".join(block_hashes), body_bytes, reply_bytes, prompt, answer,
    )  # fmt: skip


def row_of(values: Sequence[Any]) -> LogRow:
    """The values of a row, as SQLite gives them, as a `LogRow`."""
    return msgspec.convert(dict(zip(COLUMN_TYPES, values, strict=True)), LogRow, strict=False)


def _tokens(usage: Usage | None) -> tuple[int | None, ...]:
    if usage is None:
        return (None,) * 6
    return (
        usage.input_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.estimated,
    )
