"""One step of one run of a pipeline, as it is written into the call log: the row that waterfalls are drawn from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Edge", "EdgeKind", "StepOutcome", "StepRow"]

StepOutcome: TypeAlias = Literal[
    "ok",
    "cached",  # kept from an earlier call (`cache_s`), or an equal call's that was under way
    "default",  # failed or timed out, and its default stands in
    "skipped",  # optional, and left out: no time or no money, or cut at the run's deadline
    "failed",
    "timeout",  # its own
    "deadline",  # the run's
    "budget",
    "cancelled",  # a sibling failed, or nobody wanted it any more
]


EdgeKind: TypeAlias = Literal["value", "stream", "field", "control"]
"""A source's end; its first chunk; one field of its answer; that the program awaited it before it called the step."""


class Edge(msgspec.Struct, frozen=True, gc=False):
    """What a step waited for."""

    index: int
    """The other step's index in the run."""
    kind: EdgeKind
    at_s: float
    """When that was there, in seconds after the run's start."""


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a run. Times are seconds after the run's start; None: it did not come to that.

    The run itself is a row as well: `index` -1, `step` "", its outcome, and the sums of its steps.
    """

    pipeline: str
    run: str
    """The run's id; the calls of its steps have it in their tags as `run`."""
    outer: str = ""
    """Of a run that was started inside of another's step: "run/name#index" of that step, whose row has what this run
    took, too."""
    step: str
    """The step's name; the calls it makes have "name#index" in their tags as `step`."""
    index: int
    """In the order of the calls that made them, from 0."""
    parent: int = -1
    """The step that called it, by index; -1: the pipeline's own function, as for the run's row."""
    start_wall_s: float
    """When the run started, Unix seconds."""
    edges: tuple[Edge, ...] = ()
    called_s: float = 0.0
    """When the program called it."""
    ready_s: float | None = None
    """When everything it needs was there."""
    started_s: float | None = None
    """When it began; later than `ready_s` by what it waited for its own limit (`concurrency`)."""
    first_chunk_s: float | None = None
    """Of a step that streams; for others, its end."""
    end_s: float | None = None
    outcome: StepOutcome = "ok"
    error: str = ""
    """The error's class, never its text, which may hold a prompt."""
    tries: int = 1
    """How often its function ran."""
    wait_s: float = 0.0
    """What its calls waited in our own queues, pacing and budgets, summed."""
    budget_wait_s: float = 0.0
    """The part of it that was for money: for others' reservations under the same budget to end."""
    calls: int = 0
    attempts: int = 0
    hits: int = 0
    """Calls answered by a cache or by joining another's flight."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    """None: the price of some call is unknown."""
    saved_dollars: float = 0.0
    smaller: bool = False
    """It ran with its smaller models."""
    speculative: bool = False
    """It was started before anybody asked for it."""
    tokens_estimated: bool = False
