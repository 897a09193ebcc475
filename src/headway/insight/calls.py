"""Calls as lines of a list, and one of them as a waterfall."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from headway.insight.cell import went
from headway.insight.details import CallDetail, Span
from headway.insight.documents import CallLine
from headway.store.call_reader import LatencyBreakdown, breakdown_of
from headway.store.rows import LogRow, Taken

__all__ = ["NameOf", "detail_of", "failed", "line_of"]

NameOf: TypeAlias = Callable[[str], str]
"""What a key of that id is called."""

_LEFT_OUT = frozenset(("prompt", "answer", "block_hashes"))
"""Texts, and what is made of them."""
_NOT_SENT = frozenset(("budget", "queue_full"))
"""How calls end whose last try was refused by ourselves."""


def failed(outcome: str | None) -> bool:
    """Whether a call came to nothing, and not because its caller left."""
    return outcome not in ("ok", "abandoned")


def line_of(row: Taken, name_of: NameOf) -> CallLine:
    """A caller's row as a line."""
    began_s, usage = row.started_at_s, row.usage
    total_s = None if row.ended_at_s is None else row.ended_at_s - began_s
    first_s = None if row.first_content_at_s is None else row.first_content_at_s - began_s
    return CallLine(
        id=row.id,
        start_wall_s=row.start_wall_s,
        key=row.tenant,
        key_name=name_of(row.tenant),
        model=row.model,
        route=row.path,
        upstream=row.upstream,
        status=row.status,
        outcome=row.outcome or "",
        error_code=row.error_code,
        cache=row.cache,
        stream=row.stream,
        attempts=_tries(row),
        wait_s=row.wait_s,
        ttft_s=first_s if row.stream and first_s is not None else total_s,
        total_s=total_s,
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        dollars=row.dollars,
        run=row.tags.run,
        step=row.tags.step,
    )


def _tries(row: Taken) -> int:
    """How many tries were sent, or tried to connect; its row tells that of the last one, and of others by its end."""
    last_went = went(row) or (row.attempts > 1 and row.outcome not in _NOT_SENT)
    return row.attempts if last_went else max(0, row.attempts - 1)


def detail_of(line: CallLine, call: LogRow, attempts: list[LogRow]) -> CallDetail:
    """A call with its tries, and where its time went: the latency equation as one lane, each try as another."""
    tries = sorted(attempts, key=lambda row: (row.attempt_index, row.start_wall_s))
    return CallDetail(
        call=replace(line, attempts=sum(map(went, tries))) if tries else line,
        fields=_fields(call),
        attempts=[_fields(row) for row in tries],
        spans=[*_call_spans(call, breakdown_of(call, attempts)), *_try_spans(call, tries)],
    )


def _fields(row: LogRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(row)
    return {name: value for name, value in found.items() if name not in _LEFT_OUT}


def _call_spans(call: LogRow, told: LatencyBreakdown | None) -> list[Span]:
    if told is None:
        return []
    if not call.flight_id:
        return [Span(lane="call", kind="cache", start_s=0.0, end_s=told.ttlt_s, note=call.cache)]
    parts = (
        ("earlier", told.earlier, "tries that failed before, and the pauses between them"),
        ("wait", told.wait, "our own queue"),
        ("connect", told.connect, ""),
        ("network", told.network_and_queue, "and the provider's queue"),
        ("processing", told.processing, ""),
        ("generation", told.generation, ""),
    )
    return list(
        _one_after_another(
            "call", 0.0, [(kind, part.s, note if part.measured else f"{note} (estimate)") for kind, part, note in parts]
        )
    )


def _try_spans(call: LogRow, tries: list[LogRow]) -> list[Span]:
    found: list[Span] = []
    for row in tries:
        lane = f"attempt {row.attempt_index + 1}"
        lead_s = row.start_wall_s - call.start_wall_s  # before 0 where the caller joined a flight that was under way
        end_s = max(0.0, row.end_s or 0.0)
        sent_s = min(end_s, row.wait_s)
        connected_s = min(end_s, sent_s + (row.connect_s or 0.0))
        first_s = row.first_content_s if row.stream and row.first_content_s is not None else end_s
        first_s = min(max(first_s, connected_s), end_s)
        processing_s = row.provider_processing_s
        if processing_s is None and row.first_byte_s is not None and row.first_content_s is not None:
            processing_s = row.first_content_s - row.first_byte_s
        processing_s = min(max(0.0, processing_s or 0.0), first_s - connected_s)
        note = " ".join(str(word) for word in (row.outcome, row.status, row.error_code, row.upstream) if word)
        parts = [
            ("wait", sent_s, note),
            ("connect", connected_s - sent_s, note),
            ("network", first_s - connected_s - processing_s, note),
            ("processing", processing_s, note),
            ("generation", end_s - first_s, note),
        ]
        spans = list(_one_after_another(lane, lead_s, parts))
        found += spans or [Span(lane=lane, kind="wait", start_s=lead_s, end_s=lead_s + end_s, note=note)]
    return found


def _one_after_another(lane: str, start_s: float, parts: Iterable[tuple[str, float, str]]) -> Iterable[Span]:
    at_s = start_s
    for kind, took_s, note in parts:
        if took_s > 0.0:
            yield Span(lane=lane, kind=kind, start_s=at_s, end_s=at_s + took_s, note=note.strip())
        at_s += max(0.0, took_s)
