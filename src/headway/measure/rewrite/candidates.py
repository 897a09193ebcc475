"""Shorter versions of a task's fixed text: by rules, each step held to the guard, from the safe to the strong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headway.measure.rewrite.guard import problems
from headway.measure.rewrite.mending import broken, mended
from headway.measure.rewrite.steps import STEPS, Asked, Step
from headway.measure.rewrite.taskedit import TaskText
from headway.prompts.labels import Labels
from headway.prompts.output import Json, Output
from headway.prompts.outputs import Outputs
from headway.prompts.task import Task
from headway.wire.tokens import count_tokens

__all__ = ["Candidate", "asked_of", "by_rules", "fixed_tokens", "keep_of", "spread_out"]

TEXT_KEYS: Final = ("system", "prompt")
APART_MIN: Final = 0.03
"""Candidates nearer to each other than this are one: trying both would cost rows and win nothing."""
_NAMES_MAX: Final = 2_000
_LINES_MAX: Final = 200
_INSTRUCT: Final = "output.instruct"
_NEEDS_INSTRUCT: Final = ("reasoning", "constraint")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One proposal: which keys of the task file become what."""

    name: str
    how: str
    """In words: the steps, or the model that wrote it and its target."""
    values: Mapping[str, Any]
    tokens: int
    """Of the fixed text with it, the constraint's sentence included."""
    problems: tuple[str, ...] = ()
    """The guard's; empty: it may be tried."""
    written: bool = False
    """By a model."""
    dollars: float | None = 0.0
    """What writing it took; None: unknown."""


def fixed_tokens(text: TaskText, task: Task | None = None) -> int:
    """Tokens of what stands in every request: system text, constraint's sentence, the template without its columns."""
    task = task or text.variant().task
    prompt = str(text.value("prompt", ""))
    for column in task.columns:
        prompt = prompt.replace(f"{{{column}}}", "")
    instruct = text.value(_INSTRUCT, default=True)
    parts = [str(text.value("system", "")), task.output.instruction() if instruct else "", prompt]
    return sum(count_tokens(part, task.model) for part in parts if part.strip())


def keep_of(task: Task) -> tuple[str, ...]:
    """Names that a rewrite must keep: labels; a schema's properties and enum values."""
    return _kept(task.output)[:_NAMES_MAX]


def _kept(output: Output) -> tuple[str, ...]:
    if isinstance(output, Outputs):
        return tuple(
            dict.fromkeys([*output.asks, *(name for one in output.asks.values() for name in _kept(one.output))])
        )
    if isinstance(output, Labels):
        return output.labels
    if isinstance(output, Json) and output.schema is not None:
        return tuple(dict.fromkeys(_names(output.schema)))
    return ()


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
                yield from (str(name) for name in value) if key == "properties" else ()
                for one in value.values():
                    yield from _names(one)
            elif key == "enum" and isinstance(value, Sequence):
                yield from (one for one in value if isinstance(one, str))
            else:
                yield from _names(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _names(one)


def asked_of(text: TaskText, task: Task, *, instruct: bool | None = None) -> Asked:
    """What the steps need to know; `instruct`: whether the constraint's sentence is added (None: as it is)."""
    labels = isinstance(task.output, Labels)
    told = text.value(_INSTRUCT, default=True) if instruct is None else instruct
    return Asked(keep_of(task) if labels else (), labels, task.output.instruction() if told else "")


def by_rules(text: TaskText) -> list[Candidate]:
    """Every version that the steps give, each with all steps before it; the longest first.

    A step that breaks what the guard watches is left out, for this text alone.
    """
    task = text.variant().task
    keep = keep_of(task)
    now: dict[str, Any] = {key: text.value(key) for key in TEXT_KEYS if text.value(key)}
    values: dict[str, Any] = {}
    used: list[str] = []
    found: list[Candidate] = []
    said = False
    for name, step in STEPS:
        changes: dict[str, str] = {}
        told = name in _NEEDS_INSTRUCT or said
        asked = asked_of(text, task, instruct=True if told else None)
        for key, before in now.items():
            short = _stepped(before, step, asked, keep)
            if short != before.strip():
                changes[key] = short
        if not changes:
            continue
        now |= changes
        values |= changes
        said = said or (name in _NEEDS_INSTRUCT and not text.value(_INSTRUCT, default=True))
        if said:
            values |= _said(text, now, asked.beside)
        used.append(name)
        after = text.changed(values)
        tokens = fixed_tokens(after)
        found.append(Candidate(name=f"rules: {name}", how=", ".join(used), values=dict(values), tokens=tokens))
    return found


def _stepped(before: str, step: Step, asked: Asked, keep: Sequence[str]) -> str:
    """The text after a step; where the guard refuses all of it, after as many of its lines as it lets pass."""
    done = step(before, asked)
    text = mended(before, done.text.strip())
    if text == before.strip():
        return text
    if not problems(before, text, keep=keep, beside=asked.beside, waived=done.waived) and not broken(before, text):
        return text
    lines = before.split("\n")
    if len(lines) > _LINES_MAX:
        return before.strip()
    now = before
    left: list[str | None] = list(lines)
    for number, line in enumerate(lines):
        one = step(line, asked)
        if one.text.strip() == line.strip() or (not one.text.strip() and _leads(lines, number)):
            continue
        tried = [*left[:number], one.text.strip() or None, *left[number + 1 :]]
        after = mended(before, "\n".join(line for line in tried if line is not None))
        if not problems(now, after, keep=keep, beside=asked.beside, waived=one.waived) and not broken(before, after):
            left, now = tried, after
    return re.sub(r"\n{3,}", "\n\n", now).strip()


def _leads(lines: Sequence[str], number: int) -> bool:
    """Whether a line introduces what stands below it: by itself it cannot be judged."""
    return lines[number].rstrip().endswith(":") and any(line.strip() for line in lines[number + 1 :])


def _said(text: TaskText, now: Mapping[str, str], sentence: str) -> dict[str, Any]:
    """What makes the request say the constraint's sentence: a setting, or for a plain prompt the sentence itself."""
    if not text.plain:
        return {_INSTRUCT: True}
    return {text.plain: f"{now[text.plain]}\n\n{sentence}".strip()}


def spread_out(candidates: Sequence[Candidate], tokens_before: int) -> list[Candidate]:
    """Those worth trying, the shortest first: shorter than what there is, and apart from one another."""
    kept: list[Candidate] = []
    bound = tokens_before * (1 - APART_MIN)
    for one in sorted(candidates, key=lambda each: (each.tokens, each.written)):
        if one.tokens <= bound and (not kept or one.tokens >= kept[-1].tokens * (1 + APART_MIN)):
            kept.append(one)
    return kept
