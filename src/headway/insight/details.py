"""Documents of one call, and of pipelines and their runs; see `documents`."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.insight.documents import CallLine, Quantiles

__all__ = [
    "CallDetail",
    "PipelineLine",
    "PipelineLines",
    "RunDetail",
    "RunLine",
    "RunLines",
    "Span",
]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A bar of a waterfall; seconds after the start of the call or the run."""

    lane: str
    """Whose bar: "call", "attempt 1", a step's name ..."""
    kind: str
    """"wait", "connect", "network", "processing", "generation", "earlier", "cache"; or a step's outcome."""
    start_s: float
    end_s: float
    note: str = ""


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One call: where its time and its money went."""

    call: CallLine
    fields: dict[str, Any]
    """All that the record has of it (never a prompt, an answer or a key), by the log's names."""
    attempts: list[dict[str, Any]]
    """The same of its tries, in their order."""
    spans: list[Span]


class PipelineLine(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline over the window."""

    pipeline: str
    runs: int
    failed: int
    total: Quantiles
    dollars: float | None
    last_run: str
    steps: list[dict[str, Any]]
    """step, runs, p50_s, p95_s, dollars, share of time on the critical path (None: not known)."""


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a pipeline."""

    run: str
    pipeline: str
    start_wall_s: float
    outcome: str
    total_s: float | None
    dollars: float | None


class PipelineLines(msgspec.Struct, frozen=True, kw_only=True):
    """All pipelines that ran in the window, the latest first."""

    pipelines: list[PipelineLine]


class RunLines(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline's runs, the latest first, at most 200."""

    runs: list[RunLine]


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One run's waterfall."""

    run: RunLine
    spans: list[Span]
    critical: list[str]
    """Steps ("name#index") that its time hung on, in order."""
