"""What surrounds a call that is made inside of a pipeline's step: where it belongs, and what it may take.

The engine reads it where a call comes in (`caller.record`), whatever door it came through, so a step may use any
client. A context variable carries it: tasks and threads (`asyncio.to_thread`) that a step starts belong to the step as
well. What outlives the step, such as a background refresh, is started without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from math import inf

from headway.errors import Closed
from headway.types.call import Allowance
from headway.types.trace import Trace
from headway.types.views import Tags

__all__ = ["SCOPE", "Scope", "left_behind", "outside"]


class Scope:
    """The surroundings of the calls of one step. Made by the pipeline, read by the engine, closed with the run.

    Args:
        tags: Where the calls belong, for those that say nothing of it themselves: those without a `run`.
        deadline_at_s: By when they must be answered, on the loop's clock.
        models: Models that others stand in for, by name: how a run that is short of time or money asks smaller ones.
        priority: Theirs, where they have none of their own (0); greater goes first.
        allowance: What they may cost; None: no bound but the engine's.
        ended: Told of each call that ends, with its trace: outcome, usage, dollars, attempts and waits are known by
            then. It runs where the engine runs, for sync clients in another thread: see `engine.current.on_this_loop`.
        is_thread: The step is a plain function, which goes on in its thread when the run is over: its calls, which
            nobody waits for then, are refused instead of made outside of the run's bounds.
    """

    __slots__ = ("allowance", "deadline_at_s", "ended", "is_thread", "models", "open", "priority", "tags")

    def __init__(
        self,
        tags: Tags,
        *,
        deadline_at_s: float = inf,
        models: Mapping[str, str] | None = None,
        priority: int = 0,
        allowance: Allowance | None = None,
        ended: Callable[[Trace], None] | None = None,
        is_thread: bool = False,
    ) -> None:
        self.tags = tags
        self.deadline_at_s = deadline_at_s
        self.models = models or {}
        self.priority = priority
        self.allowance = allowance
        self.ended = ended
        self.is_thread = is_thread
        self.open = True

    def check(self) -> None:
        """Raises Closed: what runs here is the thread of a step whose run is over."""
        if self.is_thread and not self.open:
            step, _, index = self.tags.step.rpartition("#")
            raise Closed(
                f"step {step!r} (call {index}) goes on in its thread although the run {self.tags.run} is over; its "
                "further calls are not sent, let it end"
            )

    def close(self) -> None:
        """The step is over: what still runs in its context, or was left behind there, is no part of it any more."""
        self.open = False
        self.allowance = self.ended = None  # contexts live long: a connection's holds on to whatever opened it


SCOPE: ContextVar[Scope | None] = ContextVar("headway_scope", default=None)
"""The surroundings of what runs now; None outside of pipelines."""


def outside() -> Context | None:
    """The context for a task that is no part of what runs now; None: the one that tasks get anyway."""
    return None if SCOPE.get() is None else _with(None)


def left_behind() -> Context | None:
    """Likewise for one that is asked for here and may end later: its calls bear the tags, and ask the same models."""
    scope = SCOPE.get()
    return None if scope is None else _with(Scope(scope.tags, models=scope.models) if scope.open else None)


def _with(scope: Scope | None) -> Context:
    context = copy_context()
    context.run(SCOPE.set, scope)
    return context
