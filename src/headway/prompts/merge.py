"""A task with several outputs: one structured call, or a call for each; what is missing is asked for alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import msgspec

from headway.errors import ConfigError
from headway.policy.merging import MergeMode, MergeOrder, MergeSettings
from headway.prompts.context.declared import Budgets
from headway.prompts.output import Api, Output
from headway.prompts.outputs import Ask, Outputs, told
from headway.prompts.task import Task
from headway.prompts.template import as_text

__all__ = ["MergedRow", "MergedTask"]


class MergedTask(Task):
    """A `Task` whose answer is a dict with a value for each of its outputs. Not to be changed once made.

    Merged, it is one request with a JSON schema composed from the outputs; keys that are missing or wrong are asked for
    again by themselves, at most `repairs_max` times. Separate, it is one request for each output. "auto" begins merged
    and goes over to separate calls while more than `fallback_max` of the merged answers need a second question. Batches
    are always asked merged: nobody waits there, and every request repeats the row.

    Args:
        model: As for `Task`; so are `prompt`, `api`, `system`, `temperature`, `reasoning_effort`, `normalize`,
            `context`, `where`.
        outputs: Name -> a constraint, or an `Ask` with what is asked for; 1 to 20, better no more than 6.
        mode: "auto", "merged" or "separate".
        order: How separate calls of a row run: "parallel", or "sequential".
        fallback_max: Share of merged answers, 0 to 1.
        max_output_tokens: The bound of each request; derived from the outputs when None.
        repairs_max: How often a row, or in separate calls an output, is asked about again, 0 to 5.

    Raises:
        ConfigError: A value out of range, naming the key and what was expected.
    """

    output: Outputs

    def __init__(
        self,
        *,
        model: str,
        prompt: str,
        outputs: Mapping[str, Output | Ask],
        mode: MergeMode = "auto",
        order: MergeOrder = "parallel",
        fallback_max: float = 0.2,
        api: Api = "responses",
        system: str = "",
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        reasoning_effort: str = "",
        normalize: Mapping[str, Sequence[str]] | None = None,
        context: Budgets | None = None,
        repairs_max: int = 1,
        where: str = "task",
    ) -> None:
        try:
            self.merge = _settings(mode, order, fallback_max)
            asks = Outputs({name: one if isinstance(one, Ask) else Ask(output=one) for name, one in outputs.items()})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        self._common: dict[str, Any] = {
            "model": model,
            "prompt": prompt,
            "api": api,
            "temperature": temperature,
            "reasoning_effort": reasoning_effort,
            "normalize": normalize,
            "max_output_tokens": max_output_tokens,
            "context": context,
            "repairs_max": repairs_max,
            "where": where,
        }
        self._base_system = system
        self._tasks: dict[tuple[str, ...], Task] = {}  # bounded by the subsets that answers lack
        self._at_flex = False
        super().__init__(output=asks, system=system, **self._common)

    def __getstate__(self) -> dict[str, Any]:
        """Without the tasks of its parts, which are made again when they are needed."""
        return {**self.__dict__, "_tasks": {}}

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs, in the order in which they are asked for."""
        return tuple(self.output.asks)

    @property
    def bears_cutting(self) -> bool:
        """Of an answer that was cut, the keys that were whole are kept."""
        return True

    def merged_as(self, *, mode: MergeMode | None = None, order: MergeOrder | None = None) -> MergedTask:
        """The same task, asked in another way. Raises `ConfigError` for an unknown one."""
        task = copy(self)
        task.merge = _settings(mode or self.merge.mode, order or self.merge.order, self.merge.fallback_max)
        task.__dict__.pop("_output_digest", None)
        return task

    def flex(self) -> MergedTask:
        """See `Task.flex`."""
        task = super().flex()
        assert isinstance(task, MergedTask)
        task._at_flex, task._tasks = True, {}
        return task

    def part(self, *names: str) -> Task:
        """The task that asks for these outputs only: for one, a plain task with its constraint."""
        task = self._tasks.get(names)
        if task is None:
            asks = {name: self.output.asks[name] for name in names}
            if len(asks) == 1:
                one = asks[names[0]]
                system = "\n\n".join(text for text in (self._base_system, one.ask or f"Give the {names[0]}.") if text)
                task = Task(output=one.output, system=system, **self._common)
            else:
                task = MergedTask(outputs=asks, system=self._base_system, **self._common)
            task = task.flex() if self._at_flex else task
            if len(self._tasks) >= _TASKS_MAX:
                self._tasks.clear()
            self._tasks[names] = task
        return task

    def opened(self) -> MergedRow:
        """One row's way through this task, with the keys it has so far; see `engine.row`."""
        return MergedRow(self)

    def expected_of(self, row: Mapping[str, Any]) -> str | None:
        """None: there is a right answer for each output; see `score`."""
        return None

    def score(self, row: Mapping[str, Any], value: Any) -> float | None:
        """The share of right outputs, 0 to 1, of those whose `expected` column the row has; None for none of them."""
        found = value if isinstance(value, Mapping) else {}
        right = [
            as_text(found.get(name, "")).strip().casefold() == wanted.casefold()
            for name, ask in self.output.asks.items()
            if ask.expected and (wanted := as_text(row.get(ask.expected)).strip())
        ]
        return sum(right) / len(right) if right else None

    @cached_property
    def _output_digest(self) -> bytes:
        order = f" {self.merge.order}" if self.merge.mode == "separate" else ""
        return f"{self.output!r} {self.merge.mode}{order}".encode()


_TASKS_MAX = 256


def _settings(mode: MergeMode, order: MergeOrder, fallback_max: float) -> MergeSettings:
    if mode not in ("auto", "merged", "separate"):
        raise ConfigError(f'merge.mode must be "auto", "merged" or "separate", not {mode!r}')
    if order not in ("parallel", "sequential"):
        raise ConfigError(f'merge.order must be "parallel" or "sequential", not {order!r}')
    try:
        return MergeSettings(mode=mode, order=order, fallback_max=fallback_max)
    except ConfigError as error:
        raise ConfigError(f"merge.{error}") from None


class MergedRow:
    """One row's state: the keys that are good, and what is asked now. A `TaskLike`, for one row.

    Args:
        task: The whole task.
    """

    def __init__(self, task: MergedTask) -> None:
        self._task = task
        self._now: Task = task
        self._left: dict[str, tuple[str, Any]] = {}
        self._good: dict[str, Any] = {}
        self.path = task.path
        self.repairs_max = task.repairs_max

    @property
    def value(self) -> dict[str, Any] | None:
        """The good keys, in the declared order; None while there is none."""
        return {name: self._good[name] for name in self._task.names if name in self._good} or None

    @property
    def text(self) -> str:
        """The same as JSON."""
        return msgspec.json.encode(self.value or {}).decode()

    @property
    def bears_cutting(self) -> bool:
        """As what is asked now."""
        return self._now.bears_cutting

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The whole question."""
        return self._task.body(row)

    def key_body(self, row: Mapping[str, Any]) -> bytes | None:
        """See `Task.key_body`."""
        return self._task.key_body(row)

    def bounded_body(self, row: Mapping[str, Any], *, tokens_max: int | None, stop: bool) -> bytes:
        """See `Task.bounded_body`."""
        return self._task.bounded_body(row, tokens_max=tokens_max, stop=stop)

    def accept(self, text: str) -> dict[str, Any]:
        """All values once there are all. Raises `ValueError` naming the keys that are missing or wrong."""
        now = self._now
        if isinstance(now, MergedTask):
            good, self._left = now.output.take(text)
            self._good |= good
        else:
            (name,) = self._left
            try:
                self._good[name] = now.accept(text)
                self._left = {}
            except ValueError as problem:
                self._left = {name: (str(problem), text)}
        if self._left:
            raise ValueError(told({name: why for name, (why, _) in self._left.items()}))
        return self.value or {}

    def repair(self, row: Mapping[str, Any], text: str, problem: str) -> bytes:
        """The request for the keys that are left alone, with what was there in their place."""
        names = tuple(self._left)
        if names == self._task.names:
            self._now = self._task
            return self._task.repair(row, text, problem)
        task = self._now = self._task.part(*names)
        wrong = {name: value for name, (_, value) in self._left.items() if value is not None}
        if not wrong:
            return task.body(row)
        said = wrong if len(names) > 1 else wrong[names[0]]
        return task.repair(row, said if isinstance(said, str) else msgspec.json.encode(said).decode(), problem)
