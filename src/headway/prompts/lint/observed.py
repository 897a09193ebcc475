"""What a call log says about one kind of call: how long answers get, what they cost in time, what repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from statistics import median
from typing import Final

from headway.errors import InputError
from headway.prompts.task import Task
from headway.store.rows import LogRow
from headway.wire.blocks import block_hashes

__all__ = ["P99_CALLS_MIN", "answered", "calls_of", "half", "kinds_of", "p99", "whole_prompt"]

P99_CALLS_MIN: Final = 100
"""Answers from which a 99th percentile says something."""


def answered(calls: Iterable[LogRow]) -> list[LogRow]:
    """Calls that a provider answered whole, with their usage known."""
    return [
        call
        for call in calls
        if call.outcome == "ok" and call.output_tokens is not None and call.input_tokens is not None
    ]


def kinds_of(calls: Iterable[LogRow]) -> list[list[LogRow]]:
    """Calls of one kind together: the same model, path, step and first block of the prompt; most calls first."""
    kinds: dict[tuple[str, ...], list[LogRow]] = defaultdict(list)
    for call in calls:
        hashes = call.block_hashes.split(",")
        kinds[call.model, call.path, call.step, hashes[0] if len(hashes) > 1 else ""].append(call)
    return sorted(kinds.values(), key=len, reverse=True)


def calls_of(task: Task, calls: Iterable[LogRow]) -> list[LogRow]:
    """The calls of a log that a task has made: its model and path, and its fixed part where the log tells."""
    try:
        hashes = block_hashes(task.body(dict.fromkeys(task.columns, "x")))
    except InputError:
        hashes = ()
    head = hashes[0] if len(hashes) > 1 else ""
    return [
        call
        for call in calls
        if call.model == task.model
        and call.path == task.path
        and (not head or "," not in call.block_hashes or call.block_hashes.startswith(head))
    ]


def whole_prompt(call: LogRow) -> str:
    """What stands for a call's whole prompt; "" where the log does not tell."""
    return call.block_hashes.rpartition(",")[2]


def half(values: Iterable[float]) -> float:
    """The median. Raises `statistics.StatisticsError` without values."""
    return median(values)


def p99(values: Sequence[int]) -> int | None:
    """The 99th percentile; None below a hundred values."""
    if len(values) < P99_CALLS_MIN:
        return None
    return sorted(values)[ceil(0.99 * len(values)) - 1]
