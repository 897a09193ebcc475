"""Which tasks are asked with a bound that follows their answers; see `policy.output_bound`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from headway.config import Settings
from headway.engine.arguments import PRIORITIES
from headway.policy.output_bound import OutputBound
from headway.types import TaskLike
from headway.wire.precharge import charges_bound

__all__ = ["BoundedTask", "open_bound"]


@runtime_checkable
class BoundedTask(Protocol):
    """What a task offers beyond `TaskLike` to have its bound follow its answers; `prompts.Task` does."""

    @property
    def max_output_tokens(self) -> int | None:
        """Its own bound in tokens; None where it has none."""
        ...

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts behind which a right answer has nothing more to say; () for none."""
        ...

    def bounded_body(self, row: Mapping[str, Any], *, tokens_max: int | None, stop: bool) -> bytes:
        """The request with that bound (None: its own), and with its stop texts or without."""
        ...


def open_bound(
    task: TaskLike, adapt: bool | None = None, settings: Settings | None = None, priority: int | str = 0
) -> OutputBound | None:
    """A bound for one run of a task, to be given to its `RowAsk`s; None: its requests go out as they are.

    Args:
        task: The task. One that makes its bodies in a way of its own is left alone.
        adapt: None: where that wins rate: the task has a bound of its own, and the provider counts it beforehand. A
            request without one is charged by its prompt alone. True: everywhere; False: nowhere.
        settings: The engine's. Requests that may be grouped carry no stop texts, which would end the group's answer.
        priority: Of the requests.
    """
    if adapt is False or not isinstance(task, BoundedTask):
        return None
    if _definer(task, "body") is not _definer(task, "bounded_body"):
        return None
    if adapt is None and (task.max_output_tokens is None or not charges_bound(task.path)):
        return None
    low = (priority if isinstance(priority, int) else PRIORITIES.get(priority, 0)) < 0
    grouped = low and settings is not None and settings.prompt_grouping != "off"
    return OutputBound(task.max_output_tokens, stop=bool(task.stops) and not grouped)


def _definer(task: object, name: str) -> type | None:
    """The class that a method comes from: a subclass that has its own `body` has not changed `bounded_body`."""
    return next((each for each in type(task).__mro__ if name in vars(each)), None)
