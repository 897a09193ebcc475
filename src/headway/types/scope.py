"""What surrounds a call that is made inside of a pipeline's step: where it belongs, and what it may take.

The engine reads it where a call comes in, whatever door it came through, so a step may use any client. A context
variable carries it: tasks and threads that a step starts belong to the step as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import inf
from typing import Protocol

from headway.types.trace import Trace
from headway.types.views import Tags

__all__ = ["SCOPE", "Allowance", "Scope"]


class Allowance(Protocol):
    """What the calls of one run may cost together."""

    async def take(self, call: object, dollars: float, tokens: int) -> Callable[[Trace], None]:
        """Set the worst case aside, perhaps after a wait for others to settle; what is returned settles it.

        Raises:
            BudgetExceeded: It can never fit.
        """
        ...  # fmt: skip


class Scope:
    """The surroundings of the calls of one step. Made by the pipeline, read by the engine; nothing in it is changed.

    Args:
        tags: Where the calls belong, for those that say nothing of it themselves.
        deadline_at_s: By when they must be answered, on the loop's clock.
        models: Models that others stand in for, by name: how a run that is short of time or money asks smaller ones.
        priority: Theirs, where they have none of their own; greater goes first.
        allowance: What they may cost; None: no bound but the engine's.
        ended: Told of each call that ends, with its trace.
    """

    __slots__ = ("allowance", "deadline_at_s", "ended", "models", "priority", "tags")

    def __init__(
        self,
        tags: Tags,
        *,
        deadline_at_s: float = inf,
        models: Mapping[str, str] | None = None,
        priority: int = 0,
        allowance: Allowance | None = None,
        ended: Callable[[Trace], None] | None = None,
    ) -> None:
        self.tags = tags
        self.deadline_at_s = deadline_at_s
        self.models = models or {}
        self.priority = priority
        self.allowance = allowance
        self.ended = ended


SCOPE: ContextVar[Scope | None] = ContextVar("headway_scope", default=None)
"""The surroundings of what runs now; None outside of pipelines."""
