"""The money of a comparison: one cap over both sides and the judge, never exceeded.

Before a block, the worst case of every request in it is set aside, repairs included; a block that does not fit is made
smaller, and where not one row fits any more the comparison stops. Each engine's own cap is moved along, so that what
nobody foresaw (a billed retry) is refused rather than paid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from headway.attempt.upstreams import UpstreamPrices, origin_of
from headway.engine import Engine
from headway.engine.first import first_of
from headway.engine.sentences import FAULTS
from headway.errors import ConfigError, HeadwayError
from headway.measure.compare.variant import Variant
from headway.prompts.merge import MergedTask
from headway.types import Result, TaskLike
from headway.wire import reader_for

__all__ = ["Purse", "Teller"]

OUTPUT_TOKENS_ASSUMED = 4_096
"""As the engine's own budget takes an answer without a bound (`attempt.budget`)."""
_REPAIR_TOKENS = 700
"""What a repair adds to a prompt: 2,000 characters of the wrong answer, what was wrong, what is wanted."""


class Teller:
    """One engine's account.

    Args:
        engine: The engine; its own cap is kept in step where it has one.
        variant: What is asked through it.
        read_tokens: Of the answer that a judge reads, at most; 0: it is no judge, and is asked about the row alone.
    """

    def __init__(self, engine: Engine, variant: Variant, read_tokens: int = 0) -> None:
        budget = engine.budget
        self._cap = budget.cap if budget is not None else None
        self._variant = variant
        self._read = read_tokens
        self._prices = UpstreamPrices(engine.settings.upstreams)
        self._origin = origin_of(engine.settings.base_url)
        self._spent = 0.0
        self.unknown = 0
        """Answers whose cost nobody knows; the worst case is booked for them."""

    def worst_usd(self, row: Mapping[str, Any]) -> float | None:
        """What a row may cost at most, its repairs included; None: the price is unknown. 0 where it cannot be asked."""
        task = self._variant.task
        if self._read and "answer" not in row:
            row = {**row, "answer": ""}
        try:
            asks = [*self._first(row), (task, row)]
        except (HeadwayError, *FAULTS):
            return 0.0
        costs = [self._of(*one) for one in asks]
        if isinstance(task, MergedTask):
            apart = [self._of(task.part(name), row) for name in task.names]
            costs = max(costs, apart, key=lambda way: sum(cost or 0.0 for cost in way))
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def _first(self, row: Mapping[str, Any]) -> Sequence[tuple[TaskLike, Mapping[str, Any]]]:
        """What is asked before the row is, such as a summary."""
        first_of_row = first_of(self._variant.task)
        first = first_of_row(row) if first_of_row is not None else None
        return first.asks if first is not None else ()

    def _of(self, task: TaskLike, row: Mapping[str, Any]) -> float | None:
        try:
            body = task.body(row)
        except (HeadwayError, *FAULTS):
            return 0.0
        reader = reader_for(task.path)
        view = reader.read_request(body, ()) if reader is not None else None
        rates = self._prices.rates(view.model if view is not None else self.model, self._origin)
        if rates is None:
            return None
        output = (view.output_tokens_max if view is not None else None) or OUTPUT_TOKENS_ASSUMED
        tokens = (view.input_tokens if view is not None else 0) + self._read
        tries = range(1 + task.repairs_max)
        worst = sum(rates.worst_case(tokens + _REPAIR_TOKENS * number, output) for number in tries)
        return worst if isfinite(worst) else None

    def book(self, result: Result) -> None:
        """Count what an answer took."""
        if result.dollars is None or not isfinite(result.dollars):
            self.unknown += 1
            self._spent += self.worst_usd(result.row) or 0.0
        else:
            self._spent += result.dollars

    @property
    def model(self) -> str:
        """What is asked through it."""
        return self._variant.task.model

    @property
    def spent_usd(self) -> float:
        """So far: by the engine's own cap, which also knows what was not answered; else by the answers."""
        return max(self._spent, self._cap.dollars_spent) if self._cap is not None else self._spent

    def allow(self, dollars: float) -> None:
        """Let the engine spend so much more, and nothing beyond."""
        if self._cap is not None:
            self._cap.dollars_max = self._cap.dollars_spent + dollars


class Purse:
    """What all may spend together.

    Args:
        usd_max: The cap in US dollars, >= 0; None for none.
        tellers: The two sides', and the judge's.
    """

    def __init__(self, usd_max: float | None, tellers: Sequence[Teller]) -> None:
        self._max = usd_max
        self._tellers = tellers

    @property
    def spent_usd(self) -> float:
        """By all, in US dollars."""
        return sum(teller.spent_usd for teller in self._tellers)

    def fit(self, rows: Sequence[Mapping[str, Any]], times: Sequence[int]) -> int:
        """How many of the rows, from the first, may be asked about now; their worst case is allowed to the engines.

        Args:
            rows: The next block.
            times: How often each teller's engine is asked about a row.

        Raises:
            ConfigError: A price is unknown, so that the cap could not be kept.
        """
        if self._max is None:
            return len(rows)
        left = self._max - self.spent_usd
        taken = [0.0 for _ in self._tellers]
        fitting = 0
        for row in rows:
            costs = [self._worst(teller, row) * n for teller, n in zip(self._tellers, times, strict=True)]
            if sum(taken) + sum(costs) > left:
                break
            taken = [sum(pair) for pair in zip(taken, costs, strict=True)]
            fitting += 1
        total = sum(taken)
        for teller, dollars in zip(self._tellers, taken, strict=True):
            # What is not set aside for a block is there for retries that turn out to be billed.
            teller.allow(dollars + ((left - total) * dollars / total if total else 0.0))
        return fitting

    def _worst(self, teller: Teller, row: Mapping[str, Any]) -> float:
        cost = teller.worst_usd(row)
        if cost is None:
            raise ConfigError(
                f"the price of model {teller.model!r} is unknown, so a cap of ${self._max:g} cannot be kept; "
                "lift it with --max-usd none (usd_max=None), or name the price in an [[upstream]]"
            )
        return cost
