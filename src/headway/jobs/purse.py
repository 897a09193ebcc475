"""The job's money where the engine does not see it: rows in batches are reserved for before, and let go of after."""

from __future__ import annotations

from collections.abc import Callable

from headway.attempt.budget import OUTPUT_TOKENS_ASSUMED, Budget
from headway.errors import HeadwayError
from headway.jobs.lanes import Item
from headway.prompts.task import Task
from headway.types import Result
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

    def __init__(self, budget: Budget | None, task: Task, rates: Callable[[str], Rates | None]) -> None:
        self._budget = budget
        self._task = task
        self._rates = rates
        self._reader = reader_for(task.path)
        self._reserved: dict[int, tuple[float, int]] = {}

    @property
    def dollars_left(self) -> float:
        """What is neither spent nor reserved; infinite without a cap."""
        return self._budget.cap.dollars_left if self._budget is not None else float("inf")

    def reserve(self, item: Item) -> bool | Result:
        """Set the worst case aside: True; False when it may fit later; a result when it never will."""
        if self._budget is None:
            return True
        try:
            body = self._task.body(item.data)
        except HeadwayError:
            return True  # it cannot be asked about, and will say so itself
        model, output = self._asked(body)
        prompt = estimate_tokens(len(body))
        cap, rates = self._budget.cap, self._rates(model)
        dollars = BATCH_RATIO * rates.worst_case(prompt, output) if rates is not None else 0.0
        if rates is None and cap.dollars_max != float("inf"):
            error = f"the price of model {model!r} is unknown, so the budget cannot be kept"
        elif self._budget.set_aside(dollars, prompt + output):
            self._reserved[item.row] = dollars, prompt + output
            return True
        elif cap.possible(dollars, prompt + output):
            return False
        else:
            error = (
                f"the next row may cost up to ${dollars:.6f}, which does not fit under the budget: "
                f"${cap.dollars_spent:.6f} of ${cap.dollars_max:.6f} are spent; raise it to go on"
            )
        return Result(index=item.row, row=item.data, error=error, outcome="budget", error_code="budget")

    def _asked(self, body: bytes) -> tuple[str, int]:
        """The model that a request names, and the most tokens that it may be answered with."""
        if self._reader is None:
            return self._task.model, self._task.max_output_tokens or OUTPUT_TOKENS_ASSUMED
        view = self._reader.read_request(body, ())
        return view.model or self._task.model, (view.output_tokens_max or OUTPUT_TOKENS_ASSUMED) * view.answers

    def release(self, item: Item) -> None:
        """The row is out of the batch lane."""
        reserved = self._reserved.pop(item.row, None)
        if reserved is not None and self._budget is not None:
            self._budget.give_back(*reserved, dollars_actual=0.0)
