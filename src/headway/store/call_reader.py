"""Reading the call log, and the latency equation per call.

    TTFT = earlier tries + own wait + connect + network and provider queue + processing
    TTLT = TTFT + (output tokens - 1) * time per token
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from headway.errors import ConfigError
from headway.store.call_log import LAYOUT
from headway.store.database import DatabaseFile
from headway.store.rows import COLUMN_TYPES, LogRow, row_of
from headway.store.writer import log_warning

__all__ = ["CallLogReader", "LatencyBreakdown", "Part", "breakdown_of"]

_COLUMNS = ", ".join(f'"{name}"' for name in COLUMN_TYPES)


class Part(msgspec.Struct, frozen=True):
    """A share of a call's latency."""

    s: float
    measured: bool
    """False: an estimate."""


class LatencyBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call's time went. The first five parts add up to `ttft_s`, and with `generation` to `ttlt_s`."""

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
        if not file.inode():
            raise ConfigError(f"There is no call log at {file.path}; name the one that a run has written.")
        try:
            self._connection = file.open_to_read()
            current = file.is_current(self._connection)
        except sqlite3.Error as problem:
            raise ConfigError(f"The call log {file.path} cannot be read ({problem}); name another.") from problem
        if not current:
            raise ConfigError(f"The call log {file.path} is empty or of an older schema; name another.")

    def __enter__(self) -> CallLogReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go. Idempotent."""
        self._connection.close()

    def calls(
        self, *, run: str | None = None, since_wall_s: float | None = None, id_: str | None = None, limit: int = 1_000
    ) -> list[LogRow]:
        """Callers, oldest first; the youngest `limit` of those that match."""
        return self._rows("calls", {"run = ?": run, "start_wall_s >= ?": since_wall_s, "id = ?": id_}, limit)

    def attempts(
        self,
        *,
        run: str | None = None,
        since_wall_s: float | None = None,
        flight_id: str | None = None,
        limit: int = 1_000,
    ) -> list[LogRow]:
        """Tries, oldest first; the youngest `limit` of those that match."""
        # The second condition on flight_id lets SQLite use the partial index.
        of_flight = {"flight_id = ?": flight_id, "flight_id != ''": None}
        return self._rows("attempts", {"run = ?": run, "start_wall_s >= ?": since_wall_s, **of_flight}, limit)

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

    def _rows(self, table: str, conditions: dict[str, str | float | None], limit: int) -> list[LogRow]:
        raise NotImplementedError


def breakdown_of(call: LogRow, attempts: list[LogRow]) -> LatencyBreakdown | None:
    raise NotImplementedError
