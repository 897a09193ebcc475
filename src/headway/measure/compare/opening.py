"""What a comparison begins with, where nothing else is said: an engine for a variant, and what answers should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.config import load_settings
from headway.config.settings import Settings
from headway.engine import Engine
from headway.measure.compare.checkers import Checker, Exact
from headway.measure.compare.settings import CompareSettings
from headway.measure.compare.variant import Variant
from headway.prompts.outputs import Outputs
from headway.prompts.task import Task
from headway.wire.endpoints import PRESETS

__all__ = ["open_engine", "own_check"]


def open_engine(variant: Variant, how: CompareSettings) -> Engine:
    """Its engine: nothing is cached unless the variant says so, and failures are in the figures, not in the log.

    Raises:
        ConfigError: A setting is wrong.
    """
    given = {"cache": "off", "log_level": "off", **how.base, **variant.settings}
    budgets = [one for one in (how.usd_max, given.get("budget_usd")) if one is not None]
    given["budget_usd"] = min(budgets, default=None)
    plain = load_settings(given, file=how.config)
    if variant.task.api == "messages" and plain.base_url == Settings().base_url:
        given["base_url"] = PRESETS["anthropic"].base_url  # never OpenAI's, with a key that is not theirs
    return Engine(config=how.config, **given)


def own_check(a: Task, b: Task) -> Checker | None:
    """What the tasks themselves say is right: their `expected` columns; None where they name none."""
    outputs = next((task.output for task in (a, b) if isinstance(task.output, Outputs)), None)
    if outputs is not None:
        columns = {name: ask.expected for name, ask in outputs.asks.items() if ask.expected}
        return _all_of(columns) if columns else None
    column = a.expected or b.expected
    return Exact(column) if column else None


def _all_of(columns: Mapping[str, str]) -> Checker:
    """The share of a row's outputs that are right, of those whose right value is known."""
    checks = {name: Exact(column) for name, column in columns.items()}

    def check(row: Mapping[str, Any], value: Any, text: str) -> float | None:
        values = value if isinstance(value, Mapping) else {}
        marks = [check(row, values.get(name), text) for name, check in checks.items()]
        known = [float(mark) for mark in marks if mark is not None]
        return sum(known) / len(known) if known else None

    return check
