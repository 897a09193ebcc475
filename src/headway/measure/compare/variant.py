"""A variant: what is asked, and how it is run. Two of them are a comparison.

A variant is a task file with two optional tables, [settings] and [run] (see `prompts.runtable`): it may differ from
the other one in its prompt, its model, its provider or region, effort, streaming, order, concurrency, caching,
time-outs, connections, hedging.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from headway.prompts.runtable import RunTable
from headway.prompts.task import Task
from headway.prompts.taskfile import load_tables

__all__ = ["Variant", "differences", "load_variant", "named", "same_asked"]

_ANSWERING = {
    *("prompt", "model", "merge", "repairs_max"),
    *("base_url", "upstreams", "objective", "quality_min", "rules"),
}
"""What can change answers: what is asked, how often, and of whom; all other settings change how it gets there."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison.

    `settings` are keyword arguments of an `Engine`, over what the comparison gives both sides.
    """

    name: str
    task: Task
    settings: Mapping[str, Any] = {}
    run: RunTable = RunTable()


def load_variant(path: Path | str) -> Variant:
    """Read a task file with its [settings] and [run]; its name is `run.name`, else the file's.

    Raises:
        ConfigError: The file is missing or wrong; the message names the file and the key.
    """
    path = Path(path)
    task, tables = Task.load(path), load_tables(path)
    return Variant(name=tables.run.name or path.stem, task=task, settings=tables.settings, run=tables.run)


def named(a: Variant, b: Variant) -> tuple[Variant, Variant]:
    """Both, with names that tell them apart."""
    if a.name != b.name:
        return a, b
    return replace(a, name=f"{a.name} (A)"), replace(b, name=f"{b.name} (B)")


def differences(a: Variant, b: Variant) -> tuple[str, ...]:
    """In which respects the two differ, e.g. ("prompt", "cache"); () for two that are the same."""
    found = []
    if a.task.model != b.task.model:
        found.append("model")
    merge = [(getattr(one.task, "merge", None), one.run.merge) for one in (a, b)]
    if merge[0] != merge[1]:
        found.append("merge")
    if _asks(a.task) != _asks(b.task) or (not found and a.task.fingerprint != b.task.fingerprint):
        found.append("prompt")
    if a.task.repairs_max != b.task.repairs_max:
        found.append("repairs_max")
    found += sorted(key for key in {*a.settings, *b.settings} if a.settings.get(key) != b.settings.get(key))
    ways = ("stream", "concurrency", "order")
    return (*found, *(field for field in ways if getattr(a.run, field) != getattr(b.run, field)))


def same_asked(found: tuple[str, ...]) -> bool:
    """Whether two with these differences ask the same of the same model, and differ in how that is run."""
    return not _ANSWERING & set(found)


def _asks(task: Task) -> tuple[object, ...]:
    """What it sends about a row, and what it accepts; but for the model."""
    row = {name: f"{{{name}}}" for name in task.columns}
    sent = msgspec.json.decode(task.body(row))
    return task.path, {**sent, "model": ""}, repr(task.output)
