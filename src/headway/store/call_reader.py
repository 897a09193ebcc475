"""Reading the call log, and the latency equation per call.

TTFT = earlier tries + own wait + connect + network and provider queue + processing
TTLT = TTFT + (output tokens - 1) * time per token
"""

from __future__ import annotations

import os
import sqlite3
from heapq import merge
from pathlib import Path
from typing import Any

import msgspec

from headway.errors import ConfigError
from headway.store.call_log import LAYOUT
from headway.store.database import DatabaseFile
from headway.store.rows import LogRow, Taken, row_of, taken, try_of
from headway.store.step_rows import step_of, steps_found
from headway.store.writer import log_warning
from headway.types.steps import StepRow

__all__ = ["CallLogReader", "LatencyBreakdown", "Part", "breakdown_of"]


# The comparison with '' lets SQLite use the partial index; the plus keeps it from using one, and sorting what it finds.
_RUN, _SINCE, _TRIED = "run = ? AND run != ''", "start_wall_s >= ?", "+try_wall_s IS NOT NULL"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A share of a call's latency."""

    s: float
    measured: bool
    """False: an estimate."""


class LatencyBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call's time went. The first five parts add up to `ttft_s`; with `generation`, to `ttlt_s`."""

    call_id: str
    cache: str
    earlier: Part
    """Tries that failed before the one that answered, and the back-off between them."""
    wait: Part
    """Ours: queue and pacing."""
    connect: Part
    network_and_queue: Part
    """To the provider and back, and its own queue: what is left of TTFT."""
    processing: Part
    """The provider's prompt processing."""
    ttft_s: float
    """To the first content; for a whole answer, to its end."""
    generation: Part
    tpot_s: float | None
    """Time per output token; None where it cannot be told (not streamed, fewer than two tokens)."""
    tpot_measured: bool
    """False: the tokens were counted by us."""
    output_tokens: int | None
    ttlt_s: float


class CallLogReader:
    """A read-only connection to a call log, which may be being written. Close it, or use it in a ``with``.

    Raises:
        ConfigError: There is no call log at the path, or not of this version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = DatabaseFile(Path(path), LAYOUT, log_warning)
        self._path = file.path
        self._folded = False
        if not file.inode():
            raise ConfigError(f"There is no call log at {file.path}; name the one that a run has written.")
        try:
            self._connection = file.open_to_read()
        except sqlite3.Error as problem:
            raise ConfigError(f"The call log {file.path} cannot be read ({problem}); name another.") from problem
        try:
            if not file.is_current(self._connection):
                raise ConfigError(f"The call log {file.path} is empty or of an older schema; name another.")
        except (sqlite3.Error, ConfigError) as problem:
            self._connection.close()
            if isinstance(problem, ConfigError):
                raise
            raise ConfigError(f"The call log {file.path} cannot be read ({problem}); name another.") from problem

    def __enter__(self) -> CallLogReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go. Idempotent."""
        self._connection.close()

    def calls(
        self,
        *,
        run: str | None = None,
        since_wall_s: float | None = None,
        id_: str | None = None,
        limit: int = 1_000,
    ) -> list[LogRow]:
        """Callers, oldest first; the youngest `limit` of those that match."""
        asked = (_RUN, run), (_SINCE, since_wall_s), ("id = ?", id_)
        return [row_of(row) for row in self._rows("calls_data", *asked, limit=limit)]

    def attempts(
        self,
        *,
        run: str | None = None,
        since_wall_s: float | None = None,
        flight_id: str | None = None,
        limit: int = 1_000,
    ) -> list[LogRow]:
        """Tries, oldest first; the youngest `limit` of those that match."""
        asked = (_RUN, run), (_SINCE, since_wall_s), ("flight_id = ?", flight_id)
        rows = self._rows("attempts_data", *asked, limit=limit)
        if self._tries_are_with_calls():
            asked = (_RUN, run), ("try_wall_s >= ?", since_wall_s), ("id = ?", flight_id)
            calls = self._rows("calls_data", *asked, limit=limit, where=_TRIED)
            rows = list(merge(rows, filter(None, map(try_of, calls)), key=_ended_wall_s))
            rows = rows if limit < 0 else rows[max(0, len(rows) - limit) :]
        return [row_of(row) for row in rows]

    def steps(
        self,
        *,
        pipeline: str | None = None,
        run: str | None = None,
        since_wall_s: float | None = None,
        limit: int = 1_000,
    ) -> list[StepRow]:
        """Steps of pipelines, and the runs themselves (index -1), oldest first; the youngest `limit` that match.

        Args:
            pipeline: Its name; None: all.
            run: A run's id; None: all.
            since_wall_s: Of runs that started then or later, Unix seconds.
            limit: At most so many rows, >= 0.
        """
        try:
            found = steps_found(self._connection, pipeline, run, since_wall_s, limit)
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem
        return [row for data in found if (row := step_of(data)) is not None]

    def latency_breakdown(self, call_id: str) -> LatencyBreakdown | None:
        """The latency equation of one call; None when it is not in the log, or has not ended."""
        calls = self.calls(id_=call_id, limit=1)
        return self._breakdown(calls[0]) if calls else None

    def latency_breakdowns(
        self, *, run: str | None = None, since_wall_s: float | None = None, limit: int = 1_000
    ) -> list[LatencyBreakdown]:
        """The same for every answered call that matches, oldest first."""
        found = [self._breakdown(call) for call in self.calls(run=run, since_wall_s=since_wall_s, limit=limit)]
        return [breakdown for breakdown in found if breakdown is not None]

    def _breakdown(self, call: LogRow) -> LatencyBreakdown | None:
        return breakdown_of(call, self.attempts(flight_id=call.flight_id) if call.flight_id else [])

    def _rows(self, table: str, *asked: tuple[str, str | float | None], limit: int, where: str = "true") -> list[Taken]:
        """The youngest `limit` rows of a table that match, oldest first."""
        given = [(condition, value) for condition, value in asked if value is not None]
        where = " AND ".join([where, *(condition for condition, _ in given)])
        sql = f"SELECT data FROM {table} WHERE {where} ORDER BY row DESC LIMIT ?"  # noqa: S608 - our own words
        rows = self._found(sql, *(value for _, value in given), limit)
        try:
            return [taken(data) for (data,) in reversed(rows)]
        except msgspec.MsgspecError as problem:
            raise self._unreadable(problem) from problem

    def _tries_are_with_calls(self) -> bool:
        """Some may be. False: no Headway that keeps them so has opened this log yet."""
        if not self._folded:
            self._folded = bool(self._found("SELECT 1 FROM sqlite_schema WHERE name = 'calls_try'"))
        return self._folded

    def _found(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem

    def _unreadable(self, problem: Exception) -> ConfigError:
        return ConfigError(f"The call log {self._path} cannot be read ({problem}); name another.")


def _ended_wall_s(row: Taken) -> float:
    return row.start_wall_s + ((row.ended_at_s or row.started_at_s) - row.started_at_s)


def breakdown_of(call: LogRow, attempts: list[LogRow]) -> LatencyBreakdown | None:
    """The latency equation of a call from its row and its flight's tries; None when it has not ended.

    All parts lie between the call's start and its first content, so that they add up: a caller that joined
    late only waited for what was left. Processing is the provider's own figure where it gave one; otherwise
    the time between its first byte and the first content, a lower bound, and marked as an estimate.
    """
    if call.end_s is None:
        return None
    ttlt_s = call.end_s
    ttft_s = min(call.first_content_s, ttlt_s) if call.stream and call.first_content_s is not None else ttlt_s
    tried = sorted(attempts, key=lambda row: (row.outcome == "ok", row.attempt_index))
    earlier_s = connect_s = processing_s = 0.0
    wait_s = connected_s = ttft_s  # no try: a hit, and all the time is ours
    reported, tpot_s = True, None
    if tried:
        last = tried[-1]
        lead_s = last.start_wall_s - call.start_wall_s
        waited_s = _clip(lead_s + last.wait_s, ttft_s)
        connected_s = _clip(lead_s + last.wait_s + (last.connect_s or 0.0), ttft_s)
        earlier_s = min(_clip(lead_s, ttft_s), waited_s) if len(tried) > 1 else 0.0
        wait_s, connect_s = waited_s - earlier_s, connected_s - waited_s
        reported = last.provider_processing_s is not None and not last.provider_estimated
        processing_s = _clip(_processing_s(last), ttft_s - connected_s)
        tokens = last.output_tokens or 0
        tpot_s = (ttlt_s - ttft_s) / (tokens - 1) if call.stream and tokens > 1 else None
    return LatencyBreakdown(
        call_id=call.id,
        cache=call.cache,
        earlier=Part(s=earlier_s, measured=True),
        wait=Part(s=wait_s, measured=True),
        connect=Part(s=connect_s, measured=True),
        network_and_queue=Part(s=ttft_s - connected_s - processing_s, measured=reported),
        processing=Part(s=processing_s, measured=reported),
        ttft_s=ttft_s,
        generation=Part(s=ttlt_s - ttft_s, measured=True),
        tpot_s=tpot_s,
        tpot_measured=tpot_s is not None and not tried[-1].usage_estimated,
        output_tokens=tried[-1].output_tokens if tried else call.output_tokens,
        ttlt_s=ttlt_s,
    )


def _processing_s(attempt: LogRow) -> float:
    if attempt.provider_processing_s is not None:
        return attempt.provider_processing_s
    if attempt.first_content_s is None or attempt.first_byte_s is None:
        return 0.0
    return attempt.first_content_s - attempt.first_byte_s


def _clip(value_s: float, most_s: float) -> float:
    return min(max(value_s, 0.0), most_s)
