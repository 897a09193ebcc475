"""The job's money where the engine does not see it: rows in batches are reserved for before, and let go of after."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from headway.attempt.budget import Budget
from headway.attempt.line import OUTPUT_TOKENS_ASSUMED
from headway.errors import HeadwayError
from headway.jobs.lanes import Item
from headway.types import Result, TaskLike
from headway.wire import reader_for
from headway.wire.prices import Rates
from headway.wire.tokens import estimate_tokens

__all__ = ["BATCH_RATIO", "Purse"]

BATCH_RATIO = 0.5
"""A batch costs half. Source: FACTS section 3."""


class Purse:
    """Sets a row's worst case aside under the engine's cap while the row is in a batch.

    What it really took is booked by the engine, when the answer is adopted.

    Args:
        budget: The engine's; None where nothing is capped.
        task: What is asked.
        rates: A model's prices; None when unknown. Requests may name a model each.
    """

    def __init__(self, budget: Budget | None, task: TaskLike, rates: Callable[[str], Rates | None]) -> None:
        self._budget = budget
        self._task = task
        self._rates = rates
        self._reader = reader_for(task.path)
        self._reserved: dict[int, tuple[float, int]] = {}
        self._parts: dict[int, tuple[float, bool]] = {}
        self._owed = 0.0, 0.0  # what the budget was told

    @property
    def dollars_left(self) -> float:
        """What is neither spent nor reserved; infinite without a cap."""
        return self._budget.cap.dollars_left if self._budget is not None else inf

    def reserve(self, item: Item) -> bool | Result:
        """Set the worst case aside: True; False when it may fit later; a result when it never will."""
        if self._budget is None:
            return True
        try:
            body = self._task.body(item.data)
        except HeadwayError:
            return True  # it cannot be asked about, and will say so itself
        told = self.again(item, body)
        if isinstance(told, bool):
            return told
        return Result(index=item.row, row=item.data, error=told, outcome="budget", error_code="budget")

    def again(self, item: Item, body: bytes) -> bool | str:
        """Set aside for what the row asks next, unless it is; as `reserve`, with a sentence when it never fits."""
        if self._budget is None or item.row in self._reserved:
            return True
        cap = self._budget.cap
        worst = self._worst_case(body)
        if worst is None and cap.dollars_max != inf:
            return f"the price of model {self._asked(body)[0]!r} is unknown, so the budget cannot be kept"
        dollars, tokens = worst or (0.0, sum(self._tokens(body)))
        if self._budget.set_aside(dollars, tokens):
            self._reserved[item.row] = dollars, tokens
            return True
        if cap.possible(dollars, tokens):
            return False
        owed = f", and ${cap.dollars_stuck:.6f} may be in batches of earlier runs" if cap.dollars_stuck else ""
        return (
            f"the next row may cost up to ${dollars:.6f}, which does not fit under the budget: "
            f"${cap.dollars_spent:.6f} of ${cap.dollars_max:.6f} are spent{owed}; raise it to go on"
        )

    def worst_dollars(self, body: bytes) -> float:
        """The most that a request costs in a batch; 0 when its model's price is unknown."""
        worst = self._worst_case(body)
        return 0.0 if worst is None else worst[0]

    def _worst_case(self, body: bytes) -> tuple[float, int] | None:
        model, output = self._asked(body)
        rates = self._rates(model)
        if rates is None:
            return None
        prompt = estimate_tokens(len(body))
        return BATCH_RATIO * rates.worst_case(prompt, output), prompt + output

    def _tokens(self, body: bytes) -> tuple[int, int]:
        return estimate_tokens(len(body)), self._asked(body)[1]

    def _asked(self, body: bytes) -> tuple[str, int]:
        """The model that a request names, and the most tokens that it may be answered with."""
        if self._reader is None:
            return "", OUTPUT_TOKENS_ASSUMED
        view = self._reader.read_request(body, ())
        return view.model, (view.output_tokens_max or OUTPUT_TOKENS_ASSUMED) * view.answers

    def release(self, item: Item) -> None:
        """The row is out of the batch lane, or its answer is booked."""
        self._end(item, 0.0)

    def lost(self, item: Item, dollars: float) -> None:
        """The row's answer was lost, and may have been paid for: its worst case is spent, or else so many dollars."""
        if not self._end(item, 1.0) and self._budget is not None:
            self._budget.cap.book(dollars)

    def _end(self, item: Item, ratio: float) -> bool:
        reserved = self._reserved.pop(item.row, None)
        if reserved is None or self._budget is None:
            return False
        self._budget.give_back(*reserved, dollars_actual=ratio * reserved[0])
        return True

    # -- batches of earlier runs -----------------------------------------------------------------------------------

    def owe(self, part: int, dollars: float, *, stuck: bool = False) -> None:
        """Set what a batch of an earlier run may still cost; 0: nothing more.

        Args:
            part: Its number.
            dollars: The worst case of what was not booked yet.
            stuck: The batch has ended, and nobody asks for what is left in it.
        """
        if dollars > 0.0:
            self._parts[part] = dollars, stuck
        elif self._parts.pop(part, None) is None:
            return
        if self._budget is not None:  # which may be other jobs' as well
            owed = sum(each for each, _ in self._parts.values())
            stuck_dollars = sum(each for each, is_stuck in self._parts.values() if is_stuck)
            self._budget.owe(owed - self._owed[0], stuck=stuck_dollars - self._owed[1])
            self._owed = owed, stuck_dollars

    def owed(self, part: int) -> float:
        """What a batch of an earlier run may still cost."""
        return self._parts.get(part, (0.0, False))[0]
