"""Shorter versions written by a model: asked with clear rules, checked by the guard, given one chance to mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from headway.engine import Engine
from headway.measure.compare.purse import Purse, Teller
from headway.measure.compare.variant import Variant
from headway.measure.rewrite.candidates import Candidate, asked_of, fixed_tokens, keep_of
from headway.measure.rewrite.guard import problems
from headway.measure.rewrite.taskedit import TaskText
from headway.prompts.task import Task
from headway.types import Result

__all__ = ["TARGETS", "Writer", "write"]

TARGETS: Final = (0.7, 0.5, 0.35)
"""Shares of the words that are asked for."""
TEMPERATURES: Final = (None, 0.3)
"""None: the model's own. A model that refuses the other one gives a candidate less, for nothing."""
TOKENS_MIN: Final = 40
"""A text below it is not worth a model's time."""

_RULES: Final = """You shorten the instructions in prompts. A model that reads your version must do exactly what it did.

Keep: every rule and condition, every label and name with its meaning, every number with its bound (at most, at \
least), every negation and restriction (not, never, only, unless, except, without), quoted text, code, JSON keys, URLs \
and {columns} in braces, letter by letter.
Leave out: courtesy, personas, emphasis, reasons, introductions, and what is said twice.
Prefer short imperative lines. Add nothing: no rule, no number, no heading. Answer with the shortened text alone."""
_ASK: Final = """{wish}

<text>
{text}
</text>"""
_PROBLEMS_CHARS: Final = 4_000
"""What a repair says of a draft besides the draft, at most."""
_FENCE: Final = re.compile(r"\A\s*(?:```\w*\n)?(?:<text>)?\s*(.*?)\s*(?:</text>)?\s*(?:```)?\s*\Z", re.DOTALL)


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes, and how often."""

    model: str = ""
    """"": the task's own."""
    drafts_max: int = 4
    """0: nobody writes."""
    usd_max: float | None = None
    """What all drafts and repairs may cost; None for no cap."""


async def write(
    text: TaskText, base: TaskText, writer: Writer, engines: Callable[[Variant], Engine]
) -> tuple[list[Candidate], float]:
    """Drafts of the fixed text, the guard's problems with each in it, and what they took in US dollars.

    Args:
        text: The task as it is.
        base: The task after the rules: what is shortened, and what drafts are held to.
        writer: Who, how often and for how much.
        engines: Makes an engine for the writer, which is closed here.
    """
    task = base.variant().task
    key = "system" if str(base.value("system", "")).strip() else "prompt"
    fixed = str(base.value(key, ""))
    if writer.drafts_max < 1 or fixed_tokens(base, task) < TOKENS_MIN:
        return [], 0.0
    model = writer.model or task.model
    wanted = [(target, heat) for heat in TEMPERATURES for target in TARGETS][: writer.drafts_max]
    pen = _Pen(text, base, key, model)
    engine = engines(Variant(name="writer", task=_task(task, model, None)))
    teller = Teller(engine, Variant(name="writer", task=_task(task, model, None)))
    purse = Purse(writer.usd_max, [teller])
    drafts: list[Candidate] = []
    try:
        for target, heat in wanted:
            row = {"wish": f"Use at most {target:.0%} of its words.", "text": fixed}
            again = {**row, "text": f"{fixed}\n{fixed}{' ' * _PROBLEMS_CHARS}"}
            if purse.fit([row, again], [1]) < 2:
                break  # there has to be money for a repair
            result = await _asked(engine, _task(task, model, heat), row, teller)
            draft = pen.draft(result, target)
            if draft is None:
                continue
            if draft.problems:
                repair = {"wish": _repair_wish(draft, target, str(draft.values[key])), "text": fixed}
                mended = pen.draft(await _asked(engine, _task(task, model, heat), repair, teller), target)
                draft = mended if mended is not None and len(mended.problems) < len(draft.problems) else draft
            drafts.append(draft)
    finally:
        await engine.aclose()
    return drafts, teller.spent_usd


class _Pen:
    """Makes candidates of answers."""

    def __init__(self, text: TaskText, base: TaskText, key: str, model: str) -> None:
        self._text, self._base, self._key, self._model = text, base, key, model
        self._task = base.variant().task
        self._asked = asked_of(base, self._task)

    def draft(self, result: Result, target: float) -> Candidate | None:
        """The answer as a candidate; None where there is no answer."""
        match = _FENCE.match(result.text)
        draft = match[1] if match else ""
        if result.error or not draft:
            return None
        before = str(self._base.value(self._key))
        found = problems(before, draft, keep=keep_of(self._task), beside=self._asked.beside)
        values = {key: self._base.value(key) for key in ("system", "prompt", "output.instruct")}
        changed = {key: value for key, value in values.items() if value != self._text.value(key)}
        changed[self._key] = draft
        if self._key == "prompt" and any("column" in one for one in found):
            tokens = 0  # it would be no template
        else:
            tokens = fixed_tokens(self._text.changed(changed), self._task)
        return Candidate(
            name=f"written: {target:.0%}",
            how=f"written by {self._model}, asked for {target:.0%} of the words",
            values=changed,
            tokens=tokens,
            problems=tuple(found),
            written=True,
            dollars=result.dollars,
        )


def _repair_wish(draft: Candidate, target: float, text: str) -> str:
    """What was wrong with a draft; it is quoted, for the model does not remember it."""
    listed = "\n".join(f"- {one}" for one in draft.problems)
    return (
        f"Use at most {target:.0%} of its words. Your last version was:\n\n{text}\n\nWhat is wrong with it:\n{listed}"
    )


async def _asked(engine: Engine, task: Task, row: dict[str, str], teller: Teller) -> Result:
    async for result in engine.map([row], task, concurrency=1):
        teller.book(result)
        return result
    raise AssertionError("a row gives a result")


def _task(own: Task, model: str, heat: float | None) -> Task:
    """What the writer is asked; through the same API as the task."""
    return Task(
        model=model,
        api=own.api,
        system=_RULES,
        prompt=_ASK,
        temperature=heat,
        repairs_max=0,
        where="the writer",
    )
