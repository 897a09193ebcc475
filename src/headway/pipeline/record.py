"""What is written down about one step of a run, while it runs; `row()` is how it looks from outside."""

from __future__ import annotations

from headway.pipeline.source import Source
from headway.types.steps import Edge, EdgeKind, StepOutcome, StepRow
from headway.types.trace import Trace

__all__ = ["Record", "Sums", "edge_to"]


class Sums:
    """What the calls of a step, or of a run, took together."""

    __slots__ = (
        "attempts",
        "budget_wait_s",
        "cached_tokens",
        "calls",
        "dollars",
        "hits",
        "input_tokens",
        "output_tokens",
        "saved_dollars",
        "tokens_estimated",
        "wait_s",
    )

    def __init__(self) -> None:
        self.calls = self.attempts = self.hits = 0
        self.input_tokens = self.cached_tokens = self.output_tokens = 0
        self.wait_s = self.budget_wait_s = self.saved_dollars = 0.0
        self.dollars: float | None = 0.0
        self.tokens_estimated = False

    def add(self, trace: Trace) -> None:
        """One call has ended."""
        self.calls += 1
        self.attempts += trace.attempts
        self.hits += trace.cache not in _NO_HITS
        self.wait_s += trace.wait_s
        self.budget_wait_s += trace.budget_wait_s
        self.saved_dollars += trace.saved_dollars or 0.0
        if trace.dollars is None or self.dollars is None:
            self.dollars = None
        else:
            self.dollars += trace.dollars
        usage = trace.usage
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.cached_tokens += usage.cached_tokens
            self.output_tokens += usage.output_tokens
            self.tokens_estimated = self.tokens_estimated or usage.estimated


_NO_HITS = frozenset(("", "off", "miss", "refresh"))
_NOTHING = Sums()


class Record:
    """One step of a run. Times are the loop's own."""

    __slots__ = (
        "called_at_s",
        "edges",
        "end_at_s",
        "error",
        "first_at_s",
        "index",
        "outcome",
        "parent",
        "ready_at_s",
        "smaller",
        "speculative",
        "started_at_s",
        "step",
        "sums",
        "tries",
    )

    def __init__(self, step: str, index: int, parent: int, called_at_s: float) -> None:
        self.step = step
        self.index = index
        self.parent = parent
        self.called_at_s = called_at_s
        self.edges: tuple[tuple[int, EdgeKind, float], ...] = ()
        """As `Edge`, at times of the loop."""
        self.ready_at_s: float | None = None
        self.started_at_s: float | None = None
        self.first_at_s: float | None = None
        self.end_at_s: float | None = None
        self.outcome: StepOutcome = "ok"
        self.error = ""
        self.tries = 0
        self.smaller = False
        self.speculative = False
        self.sums: Sums | None = None

    def add(self, trace: Trace) -> None:
        """One of its calls has ended; see `Scope.ended`."""
        if self.sums is None:
            self.sums = Sums()
        self.sums.add(trace)

    @property
    def usd_of_all(self) -> float | None:
        """What its calls cost; None where a price is unknown, or a cache or another's flight answered some."""
        return None if self.sums is None or self.sums.hits else self.sums.dollars

    def row(self, pipeline: str, run: str, start_wall_s: float, start_at_s: float, outer: str = "") -> StepRow:
        """It, with times since the run's start."""
        sums = self.sums or _NOTHING
        return StepRow(
            pipeline=pipeline,
            run=run,
            outer=outer,
            step=self.step,
            index=self.index,
            parent=self.parent,
            start_wall_s=start_wall_s,
            edges=tuple(Edge(index, kind, at_s - start_at_s) for index, kind, at_s in self.edges),
            called_s=self.called_at_s - start_at_s,
            ready_s=_since(self.ready_at_s, start_at_s),
            started_s=_since(self.started_at_s, start_at_s),
            first_chunk_s=_since(self.first_at_s, start_at_s),
            end_s=_since(self.end_at_s, start_at_s),
            outcome=self.outcome,
            error=self.error,
            tries=self.tries,
            wait_s=sums.wait_s,
            budget_wait_s=sums.budget_wait_s,
            calls=sums.calls,
            attempts=sums.attempts,
            hits=sums.hits,
            input_tokens=sums.input_tokens,
            cached_tokens=sums.cached_tokens,
            output_tokens=sums.output_tokens,
            dollars=sums.dollars,
            saved_dollars=sums.saved_dollars,
            smaller=self.smaller,
            speculative=self.speculative,
            tokens_estimated=sums.tokens_estimated,
        )


def edge_to(source: Source, *, stream: bool) -> tuple[int, EdgeKind, float]:
    """What was waited for of a source that is there."""
    if stream and source.chunks is not None:
        return source.index, "stream", source.first_at_s or 0.0
    return source.index, source.edge, source.end_at_s


def _since(at_s: float | None, start_at_s: float) -> float | None:
    return None if at_s is None else at_s - start_at_s
