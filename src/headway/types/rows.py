"""Many rows: what a task is, and what becomes of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from headway.types.views import Usage

__all__ = ["Result", "TaskLike"]


class TaskLike(Protocol):
    """What `Engine.map` asks of a task: a request per row, and a verdict on each answer. `prompts.Task` is one."""

    @property
    def path(self) -> str:
        """E.g. "/v1/responses"."""
        ...

    @property
    def repairs_max(self) -> int:
        """How often a malformed or empty answer may be asked again, per row."""
        ...

    @property
    def bears_cutting(self) -> bool:
        """Whether an answer that was cut at its token bound may still be accepted (a label, once it was said)."""
        ...

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The request's JSON body. Raises `InputError` when a column is missing."""
        ...

    def key_body(self, row: Mapping[str, Any]) -> bytes | None:
        """The body that the cache key is made of, when a column is normalised for it; else None."""
        ...

    def accept(self, text: str) -> Any:
        """The answer's value (a label, a dict, a list of bullets, the text). Raises `ValueError` with a sentence."""
        ...

    def repair(self, row: Mapping[str, Any], text: str, problem: str) -> bytes:
        """The body of a request that asks again, saying what was wrong."""
        ...


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row of `Engine.map`: the value, or the reason there is none; and what it took."""

    index: int
    """The row's position in the input, from 0."""
    row: Mapping[str, Any]
    value: Any = None
    text: str = ""
    error: str = ""
    """One sentence; "" when the row succeeded."""
    outcome: str = "ok"
    """An `Outcome`, or "invalid_output" / "input" for rows that failed on our side of the wire."""
    status: int | None = None
    error_code: str = ""
    latency_s: float = 0.0
    """From hand-over to answer, our own wait included, repairs included."""
    wait_s: float = 0.0
    """The part of `latency_s` spent in our queue."""
    usage: Usage | None = None
    dollars: float | None = None
    """Spent on this row; 0.0 for hits and joins; None when the model's price is unknown."""
    saved_dollars: float | None = None
    cache: str = ""
    """"miss", "memory", "sqlite", "joined", "stale", or "off"."""
    lane: str = ""
    """Which way a job's row took: "flex", "batch", or "online", which "" stands for as well."""
    attempts: int = 0
    repairs: int = 0
    started_at_s: float = 0.0
    """Loop time; with `latency_s` it gives the requests in flight over time."""
