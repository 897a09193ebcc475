"""Another model as judge: a task file of its own, whose prompt names the row's columns and {answer}.

Each answer is judged alone, on a scale from 0 to 1, by the same request whichever side it came from: the judge is not
told the sides, so there is no first and second place to favour, and two equal answers get the same mark from one call.
(Asking which of two is better needs both orders for that, twice the tokens, and says nothing about how good either is.)

What the judge's answer means: a number is the mark; an object's "score" is; a list of labels goes from 1 for the first
down to 0 for the last, in equal steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from headway.engine import Engine
from headway.errors import ConfigError
from headway.measure.compare.asking import Lane
from headway.measure.compare.variant import Variant, load_variant
from headway.prompts.labels import Labels
from headway.types import Result

__all__ = ["Judge", "Unjudged"]

_KEPT_MAX = 4_096


class Unjudged(ValueError):
    """The judge gave no mark; the message says why."""


class Judge:
    """A checker that asks a model. `Comparison` counts what it costs apart.

    Args:
        variant: What is asked, and of whom.

    Raises:
        ConfigError: The prompt does not name {answer}.
    """

    def __init__(self, variant: Variant) -> None:
        if "answer" not in variant.task.columns:
            raise ConfigError(
                f"{variant.task.where}: a judge's prompt has to name {{answer}}; it may name columns, too"
            )
        self.variant = variant
        self.dollars: float | None = 0.0
        """What it has cost so far; None: some of it is unknown."""
        self.calls = 0
        self._asks: tuple[Lane, Callable[[Result], None]] | None = None
        self._kept: dict[bytes, float] = {}

    @classmethod
    def load(cls, path: Path) -> Judge:
        """From a task file. Raises `ConfigError`."""
        return cls(load_variant(path))

    def open(self, engine: Engine, book: Callable[[Result], None]) -> None:
        """Give it the engine that it asks through, and who is told what each answer took. What it kept is forgotten."""
        self._asks = Lane(engine, self.variant, step="judge"), book
        self.dollars, self.calls = 0.0, 0
        self._kept.clear()

    async def __call__(self, row: Mapping[str, Any], value: Any, text: str) -> float:
        """The mark of an answer.

        Raises:
            Unjudged: The judge did not answer, or not with a mark.
        """
        assert self._asks is not None  # whoever compares opens it first
        lane, book = self._asks
        asked = {**row, "answer": text}
        key = self.variant.task.body(asked)
        if key in self._kept:
            return self._kept[key]
        result = (await lane.ask((self.calls, asked))).result
        self.calls += 1
        book(result)
        self.dollars = None if result.dollars is None or self.dollars is None else self.dollars + result.dollars
        if result.outcome != "ok":
            raise Unjudged(f"the judge gave no mark: {result.error}")
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        mark = self._kept[key] = self._mark(result.value)
        return mark

    def _mark(self, value: Any) -> float:
        output = self.variant.task.output
        if isinstance(output, Labels):
            last = len(output.labels) - 1
            return 1.0 - output.labels.index(value) / last if last else 1.0
        if isinstance(value, Mapping):
            value = value.get("score")
        try:
            mark = float(value)
        except (TypeError, ValueError):
            mark = float("nan")
        if not (isfinite(mark) and 0 <= mark <= 1):
            raise Unjudged(f"the judge answered {str(value)[:60]!r}, which is no number from 0 to 1")
        return mark
