"""What bounds the calls of a run: its own deadline and budget, and those of the step that it was started in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf

from headway.attempt.allowance import RunAllowance
from headway.engine.current import on_this_loop
from headway.pipeline.options import RunOptions
from headway.pipeline.record import Record
from headway.types.scope import SCOPE, Scope
from headway.types.trace import Trace
from headway.types.views import Tags

__all__ = ["Bounds"]


class Bounds:
    """A run that is started inside of another's step takes on what surrounds that step.

    The earlier deadline holds; each call is paid from both budgets; what it took is the outer step's, too.

    Args:
        options: The run's own.
        start_at_s: When it begins, on the loop's clock.

    Raises:
        Closed: The step goes on in its thread although its run is over.
        ConfigError: `budget_usd` is no number of dollars.
    """

    __slots__ = ("_around", "_own", "_told", "allowance", "deadline_at_s", "outer", "session")

    def __init__(self, options: RunOptions, start_at_s: float) -> None:
        around = SCOPE.get()
        if around is not None:
            around.check()
        self._around = around = around if around is not None and around.open else None
        self.deadline_at_s = inf if options.deadline_s is None else start_at_s + options.deadline_s
        self.session = options.session
        self.outer = ""
        """The step that it was started in, as `StepRow.outer`."""
        self._told = on_this_loop(self._ended)
        self._own: RunAllowance | None = None
        self.allowance = None if around is None else around.allowance
        if options.budget_usd is not None:
            self.allowance = self._own = RunAllowance(options.budget_usd, self.allowance)
        if around is not None:
            self.deadline_at_s = min(self.deadline_at_s, around.deadline_at_s)
            self.session = self.session or around.tags.session
            self.outer = f"{around.tags.run}/{around.tags.step}" if around.tags.run else ""

    def scope(self, tags: Tags, models: Mapping[str, str], records: tuple[Record, ...], *, is_thread: bool) -> Scope:
        """The surroundings of a step's calls; what each of them took is added to the records."""
        around = self._around
        return Scope(
            tags,
            deadline_at_s=self.deadline_at_s,
            models=models if around is None else {**around.models, **models},
            priority=0 if around is None else around.priority,
            allowance=self.allowance,
            ended=partial(self._told, records),
            is_thread=is_thread,
        )

    def _ended(self, records: tuple[Record, ...], trace: Trace) -> None:
        for record in records:
            record.add(trace)
        if self._around is not None and self._around.ended is not None:
            self._around.ended(trace)

    @property
    def purse(self) -> RunAllowance | None:
        """The budget that is looked at to tell whether money runs short: its own, else the one around it."""
        return self.allowance if isinstance(self.allowance, RunAllowance) else None

    def close(self) -> None:
        """The run is over: its own budget pays nothing any more."""
        if self._own is not None:
            self._own.close()
