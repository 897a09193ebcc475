"""What could be changed about a task, with what each change should win: one at a time, the greatest gain first.

Estimates are for ordering only, and are called estimates; what is believed is the comparison that follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headway.measure.rewrite.candidates import by_rules, fixed_tokens
from headway.measure.rewrite.taskedit import TaskText
from headway.prompts.labels import Labels
from headway.prompts.lint.run import apply, lint_task
from headway.prompts.lint.source import source_of
from headway.prompts.task import Task
from headway.wire.prices import Prices, Rates

__all__ = ["METRICS", "Baseline", "Goal", "Proposal", "hints", "proposals"]

Goal: TypeAlias = Literal["cost", "latency", "ttft", "throughput"]
METRICS: Final[Mapping[Goal, str]] = {"cost": "dollars", "latency": "latency", "ttft": "ttft", "throughput": "latency"}
"""The metric of a comparison that a goal is about."""

_EFFORTS: Final = ("high", "medium", "low", "none")
_BOUND_MARGIN: Final = 1.25
_BOUND_STEP: Final = 8
_BOUND_MIN: Final = 16
_REPEATS_MIN: Final = 0.02
_PREFIX_TOKENS: Final = 1_024
"""Providers cache prefixes from here on. Source: FACTS section 6."""
_LIGHT: Final = ("lint", "filler", "courtesy", "duplicates", "reasons")
_WIDTHS: Final = (8, 32, 128)
_LINT_MAX: Final = 5
_QUOTE_CHARS: Final = 40
_GENERATION_SHARE: Final = 0.6
"""What generation takes of the latency of a call, where nothing is known: for ordering proposals only."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the task as it is came to, per row: means, unless said otherwise."""

    rows: int
    answered: int
    dollars: float | None
    latency_s: float
    ttft_s: float | None = None
    input_tokens: float
    cached_tokens: float = 0.0
    output_tokens: float
    output_tokens_most: int
    """Of all answers."""
    reasoning_tokens: float = 0.0
    repeats: float = 0.0
    """Share of all rows whose request was made by a row before, 0 to 1."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    name: str
    """Stable; a proposal is made once."""
    what: str
    """In a few words."""
    values: Mapping[str, Any]
    """Keys of the task file to what they become; None takes one out."""
    expected: float
    """The share of the goal's metric that it should save, 0 to 1. An estimate."""
    order: int = 9
    """For the goal ttft: what comes first whatever it saves."""


def proposals(
    text: TaskText, task: Task, base: Baseline, goal: Goal, *, models: Sequence[str] = (), width: int = 8
) -> list[Proposal]:
    """Every change that could help, the one with the greatest expected gain first.

    Args:
        text: The task as it is by now.
        task: The same, read.
        base: What it came to.
        goal: What is wanted.
        models: Other models that may be asked.
        width: Rows in flight where the task does not say.
    """
    share = _Shares(task, base, goal)
    found = [
        *_streaming(text, goal),
        *_shorter(text, task, base, share),
        *_bounded(text, task, base, share),
        *_effort(text, task, base, share),
        *_models(task, models, share),
        *_cached(text, base, goal),
        *_prefix(text, task, goal, share),
        *_width(text, goal, width),
        *_merged(text, goal),
        *_linted(text, task, share),
    ]
    worth = [one for one in found if one.expected > 0 or one.order < 9]
    if goal == "ttft":
        return sorted(worth, key=lambda one: (one.order, -one.expected))
    return sorted(worth, key=lambda one: -one.expected)


class _Shares:
    """What a change in tokens or model should do to the goal's metric."""

    def __init__(self, task: Task, base: Baseline, goal: Goal) -> None:
        self._base, self._goal = base, goal
        self._prices = Prices()
        self._rates = self._prices.rates(task.model)

    def of_input(self, tokens: float) -> float:
        """Of so many input tokens less in every request."""
        base = self._base
        if self._goal == "cost":
            if self._rates is None or not base.dollars:
                return min(1.0, tokens / max(1.0, base.input_tokens + base.output_tokens))
            return min(1.0, tokens * self._rates.base.input / base.dollars)
        part = tokens / max(1.0, base.input_tokens)
        return part * (0.5 if self._goal == "ttft" else 0.1)

    def of_output(self, tokens: float) -> float:
        """Of so many output tokens less."""
        base = self._base
        if self._goal == "cost":
            if self._rates is None or not base.dollars:
                return min(1.0, tokens / max(1.0, base.input_tokens + base.output_tokens))
            return min(1.0, tokens * self._rates.base.output / base.dollars)
        return (
            _GENERATION_SHARE * min(1.0, tokens / max(1.0, base.output_tokens)) * (0.5 if self._goal == "ttft" else 1.0)
        )

    def of_thinking(self, tokens: float) -> float:
        """Of so many reasoning tokens less: all of them come before the first token."""
        return self.of_output(tokens) * (1.8 if self._goal == "ttft" else 1.0)

    def of_model(self, model: str) -> float:
        """Of another model: by price, and for time by price too, since nothing else is known before it is measured."""
        rates = self._prices.rates(model)
        if rates is None or self._rates is None:
            return 0.05
        less = 1 - self._cost(rates) / max(1e-12, self._cost(self._rates))
        return less if self._goal == "cost" else 0.3 * max(0.0, less) + 0.05

    def _cost(self, rates: Rates) -> float:
        return self._base.input_tokens * rates.base.input + self._base.output_tokens * rates.base.output


def _streaming(text: TaskText, goal: Goal) -> Iterator[Proposal]:
    if goal == "ttft" and not text.value("run.stream", default=False):
        yield Proposal(name="stream", what="stream the answers", values={"run.stream": True}, expected=0.5, order=0)


def _shorter(text: TaskText, task: Task, base: Baseline, share: _Shares) -> Iterator[Proposal]:
    """The fixed text by rules: the label alone, then everything that rules can do, then only the light ones."""
    before = fixed_tokens(text, task)
    ruled = by_rules(text)
    if not ruled:
        return
    light = [one for one in ruled if one.name.split(": ")[1] in _LIGHT]
    strong = ruled[-1]
    asks_less = any(step in strong.how.split(", ") for step in ("reasoning", "constraint"))
    output = max(0.0, base.output_tokens - base.reasoning_tokens - 6) if asks_less and _label(task) else 0.0
    for name, one, less in (("compress", strong, output), ("compress lightly", light[-1] if light else None, 0.0)):
        if one is None or one.tokens >= before:
            continue
        what = f"shorten the fixed text by rules, {before:,} -> {one.tokens:,} tokens"
        gain = share.of_input(before - one.tokens) + (share.of_output(less) if less else 0.0)
        yield Proposal(name=name, what=what, values=one.values, expected=min(0.95, gain), order=1)


def _bounded(text: TaskText, task: Task, base: Baseline, share: _Shares) -> Iterator[Proposal]:
    """A bound that fits the answers; a label's own sentence, where the text does not ask for it."""
    if _label(task) and text.value("output.instruct", default=True) is False and base.output_tokens > 16:
        less = max(0.0, base.output_tokens - base.reasoning_tokens - 6)
        values: dict[str, Any] = {"output.instruct": True}
        yield Proposal(name="label alone", what="ask for the label alone", values=values,
                       expected=share.of_output(less) * 0.9, order=2)  # fmt: skip
    bound = task.max_output_tokens
    if base.answered < 20 or not base.output_tokens_most:
        return
    wanted = max(_BOUND_MIN, _BOUND_STEP * ceil(_BOUND_MARGIN * base.output_tokens_most / _BOUND_STEP))
    if bound is None or bound > 2 * wanted:
        now = "no bound" if bound is None else f"{bound:,}"
        what = f"max_output_tokens: {now} -> {wanted:,} (the longest answer took {base.output_tokens_most:,})"
        yield Proposal(name="bound", what=what, values={"max_output_tokens": wanted}, expected=0.01, order=3)


def _effort(text: TaskText, task: Task, base: Baseline, share: _Shares) -> Iterator[Proposal]:
    if base.reasoning_tokens < 1 or task.api == "messages":
        return
    now = str(text.value("reasoning_effort", "")) or "medium"
    lower = _EFFORTS[_EFFORTS.index(now) + 1 :] if now in _EFFORTS else ()
    for effort in reversed(lower):
        part = 1.0 if effort == "none" else 0.6
        what = f"reasoning_effort: {text.value('reasoning_effort', 'not set')} -> {effort}"
        gain = share.of_thinking(base.reasoning_tokens * part)
        yield Proposal(name=f"effort {effort}", what=what, values={"reasoning_effort": effort}, expected=gain, order=4)


def _models(task: Task, models: Sequence[str], share: _Shares) -> Iterator[Proposal]:
    for model in models:
        if model != task.model:
            what = f"model: {task.model} -> {model}"
            yield Proposal(
                name=f"model {model}", what=what, values={"model": model}, expected=share.of_model(model), order=5
            )


def _cached(text: TaskText, base: Baseline, goal: Goal) -> Iterator[Proposal]:
    if base.repeats >= _REPEATS_MIN and text.value("settings.cache", "off") == "off":
        what = f"cache = memory ({base.repeats:.0%} of the rows were asked before)"
        yield Proposal(name="cache", what=what, values={"settings.cache": "memory"}, expected=base.repeats, order=6)


def _prefix(text: TaskText, task: Task, goal: Goal, share: _Shares) -> Iterator[Proposal]:
    fixed = fixed_tokens(text, task)
    if goal in ("cost", "ttft") and fixed >= _PREFIX_TOKENS and text.value("settings.prompt_cache", "off") == "off":
        what = f"prompt_cache = auto (the {fixed:,} fixed tokens are the same in every request)"
        yield Proposal(name="prompt cache", what=what, values={"settings.prompt_cache": "auto"},
                       expected=share.of_input(fixed) * 0.3, order=7)  # fmt: skip


def _width(text: TaskText, goal: Goal, width: int) -> Iterator[Proposal]:
    if goal != "throughput":
        return
    now = 1 if text.value("run.order") == "sequential" else int(text.value("run.concurrency") or width)
    wider = next((each for each in _WIDTHS if each >= 2 * now), None)
    if wider is not None:
        values: dict[str, Any] = {"run.concurrency": wider}
        if text.value("run.order") == "sequential":
            values["run.order"] = "parallel"
        what = f"{wider} rows in flight instead of {now}"
        yield Proposal(name=f"width {wider}", what=what, values=values, expected=1 - now / wider)


def _merged(text: TaskText, goal: Goal) -> Iterator[Proposal]:
    outputs = text.value("outputs")
    if not isinstance(outputs, Mapping) or len(outputs) < 2 or text.value("run.merge"):
        return
    calls = len(outputs)
    what = f"the {calls} outputs in one call"
    yield Proposal(name="merge", what=what, values={"run.merge": "merged"}, expected=0.5 * (1 - 1 / calls), order=8)


def _linted(text: TaskText, task: Task, share: _Shares) -> Iterator[Proposal]:
    """What lint suggests and has a change for; the safe fixes are in the shorter text already."""
    source = source_of(str(text.path), text.text, "task", task=task)
    found = [one for one in lint_task(source) if one.tier == "suggest" and one.tokens_saved]
    found.sort(key=lambda one: -(one.tokens_saved or 0))
    for one in found[:_LINT_MAX]:
        if one.fix is not None:
            values: dict[str, Any] = {one.fix.key: apply(str(text.value(one.fix.key, default="")), [one.fix])}
        elif one.change is not None:
            values = {one.change.key: one.change.value}
        else:
            continue
        output = one.output_tokens_saved
        gain = share.of_input(max(0, (one.tokens_saved or 0) - output)) + (share.of_output(output) if output else 0.0)
        name = f"lint {one.rule} {one.quote[:_QUOTE_CHARS]}".strip()
        yield Proposal(name=name, what=f"{one.rule}: {one.message}", values=values, expected=min(0.95, gain), order=8)


def hints(text: TaskText, goal: Goal, *, models: Sequence[str], base: Baseline) -> list[str]:
    """What may help besides, and cannot be verified here."""
    found = []
    if goal in ("cost", "throughput") and not models:
        found.append("name cheaper or faster models with --models; each is tried on your rows")
    if goal == "throughput":
        found.append(
            'under a limit of requests a minute, prompt_grouping = "load" sends small rows together (docs/grouping.md)'
        )
    if goal == "cost":
        found.append(
            "rows that can wait a day cost half in the batch lane: headway run --deadline 24h (docs/running-a-job.md)"
        )
    if base.repeats >= _REPEATS_MIN:
        found.append('cache = "disk" keeps answers between runs (docs/caching.md)')
    if goal == "ttft" and base.input_tokens > 4_000:
        found.append("bound the context: long inputs are read before the first token comes")
    return found


def _label(task: Task) -> bool:
    return isinstance(task.output, Labels)
