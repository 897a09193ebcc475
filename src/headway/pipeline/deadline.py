"""A run's deadline: what is optional is cut then, and the run ends well if all the rest is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headway.errors import DeadlineExceeded
from headway.policy.degrade import Decision

if TYPE_CHECKING:
    from headway.pipeline.crew import Crew
    from headway.pipeline.node import Node

__all__ = ["Deadline"]

TURNS = 25
"""Turns of the loop that the pipeline's function has at the deadline to put together what is there: enough for a few
`gather` and `wait_for` around handles, and no time that anybody would notice."""


class Deadline:
    """When a run has to be done.

    Args:
        run: The run.
        deadline_s: Seconds from now; None: there is none.
    """

    __slots__ = ("_deadline_s", "_run", "_timer", "_turns", "late")

    def __init__(self, run: Crew, deadline_s: float | None) -> None:
        self._run = run
        self._deadline_s = deadline_s
        self._turns = TURNS
        self._timer: asyncio.TimerHandle | None = None
        if deadline_s is not None:
            self._timer = run.loop.call_later(deadline_s, self._expire)
        self.late: DeadlineExceeded | None = None
        """What is said of it; None before it has come."""

    def cancel(self) -> None:
        """The run is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        run = self._run
        if run.stopping:
            return
        self.late = DeadlineExceeded(
            f"{run.told()} was not done within its deadline of {self._deadline_s:g} s; raise deadline_s, or declare "
            "what may be left out (optional=, degrade=)"
        )
        live = list(run.live)
        if any(_is_needed(node) for node in live):
            run.fail(self.late, "deadline")
            return
        for node in live:
            if node.index >= 0 and node.spec.options.optional:
                node.cancel("cut")
        self.look()

    def decide(self, node: Node) -> Decision | None:
        """What becomes of a step that would start now; None: it was ended."""
        if node.spec.options.optional:
            return "skip"
        if _is_needed(node) and self.late is not None:
            self._run.fail(self.late, "deadline")
        else:
            node.cancel()  # what had called it is being cut
        return None

    def look(self) -> None:
        """Whether only the pipeline's own function is left: it has some turns to return."""
        live = self._run.live
        if self._turns == TURNS and len(live) == 1 and next(iter(live)).index < 0:
            self._turn()

    def _turn(self) -> None:
        run = self._run
        if run.stopping or not run.live or self.late is None:
            return
        if self._turns:
            self._turns -= 1
            run.loop.call_soon(self._turn)
        else:
            run.fail(self.late, "deadline")


def _is_needed(node: Node) -> bool:
    """Whether the run cannot do without it: neither it nor what had called it is optional."""
    at: Node | None = node
    while at is not None and at.index >= 0:
        if at.spec.options.optional:
            return False
        at = at.parent
    return node.index >= 0
