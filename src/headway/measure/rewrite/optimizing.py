"""`headway optimize`: measure, change one thing, verify, repeat.

A baseline is measured; the change with the greatest expected gain is compared with what there is by now, on the same
rows; it is kept if it is better at what is wanted and not inferior in quality; then the next one, until nothing is left
or the money is. At the end the original and the result are compared on rows that no step has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from headway.engine import Engine
from headway.errors import ConfigError, HeadwayError, ProviderError
from headway.measure.compare.asking import Answered, Lane
from headway.measure.compare.comparison import Comparison
from headway.measure.compare.purse import Purse, Teller
from headway.measure.compare.variant import Variant
from headway.measure.rewrite.comparisons import Comparisons
from headway.measure.rewrite.judging import after, judged, measured, repeats
from headway.measure.rewrite.optimized import Optimized, Step
from headway.measure.rewrite.proposals import Baseline, Goal, Proposal, hints, proposals
from headway.measure.rewrite.settings import Engines, Row, Told, TrySettings, demand_check, divided
from headway.measure.rewrite.taskedit import TaskText

__all__ = ["optimize"]

BASELINE_ROWS = 30
STEPS_MAX = 24
WORK_SHARE = 1 / 2
FINAL_TRIES_MAX = 3
_REFUSED = ("auth", "billing")


async def optimize(
    text: TaskText,
    rows: Sequence[Row],
    goal: Goal,
    settings: TrySettings,
    *,
    models: Sequence[str] = (),
    engines: Engines | None = None,
    told: Told | None = None,
) -> Optimized:
    """Improve a task, one verified change at a time.

    Args:
        text: The task.
        rows: Rows with right answers.
        goal: What is wanted.
        settings: How, and for how much.
        models: Other models that may be asked.
        engines: As in `compare`.
        told: Is told of every step.

    Raises:
        ConfigError: The task or a setting is wrong, or nothing says what a right answer is.
        InputError: There are too few rows.
        ProviderError: The task as it is gets no answer.
    """
    task = text.variant().task
    demand_check(task, settings, str(text.path))
    parts = divided(rows, seed=settings.seed, needed=task.columns, share=WORK_SHARE, rows_max=len(rows))
    return await _Optimizer(text, rows, parts, goal, settings, models, engines, told).run()


class _Optimizer:
    def __init__(
        self,
        text: TaskText,
        rows: Sequence[Row],
        parts: tuple[Sequence[Row], Sequence[Row]],
        goal: Goal,
        settings: TrySettings,
        models: Sequence[str],
        engines: Engines | None,
        told: Told | None,
    ) -> None:
        self._text, self._now, self._rows, self._goal = text, text, rows, goal
        self._work, self._final = parts
        self._settings, self._models, self._engines = settings, models, engines
        self._comparisons = Comparisons(settings, engines, told)
        self._steps: list[Step] = []
        self._kept: list[Proposal] = []
        self._stopped: Literal["done", "money", "steps"] = "done"

    async def run(self) -> Optimized:
        first = base = await self._baseline()
        self._comparisons.say(f"original: {base.answered} of {base.rows} rows answered")
        tried: set[str] = set()
        while self._stopped == "done":
            task = self._now.variant().task
            width = self._settings.concurrency
            found = proposals(self._now, task, base, self._goal, models=self._models, width=width)
            left = [one for one in found if one.name not in tried]
            if not left:
                break
            if len(self._steps) >= STEPS_MAX:
                self._stopped = "steps"
                break
            tried.add(left[0].name)
            step = await self._try(left[0])
            if step is None:
                self._stopped = "money"
                break
            self._steps.append(step)
            self._comparisons.say(f"{step.what}: {'kept' if step.kept else step.why}")
            if step.kept:
                self._kept.append(left[0])
                self._now = self._now.changed(left[0].values)
                base = after(base, step)
        final, dropped = await self._confirm()
        return Optimized(
            before=self._text,
            after=self._now,
            goal=self._goal,
            baseline=first,
            steps=tuple(self._steps),
            final=final,
            dollars=self._comparisons.spent_usd,
            stopped=self._stopped,
            rows_work=len(self._work),
            rows_final=len(self._final),
            hints=tuple(hints(self._now, self._goal, models=self._models, base=base)),
            dropped=tuple(dropped),
        )

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _baseline(self) -> Baseline:
        """Ask the task as it is about some rows."""
        variant = self._text.variant("original")
        rows = list(enumerate(self._work[:BASELINE_ROWS]))
        engine = self._engine(variant)
        teller = Teller(engine, variant)
        purse = Purse(self._settings.usd_max, [teller])
        try:
            lane = Lane(engine, variant, step="baseline")
            width = variant.run.width or self._settings.concurrency
            answered: list[Answered] = []
            while len(answered) < len(rows):
                block = rows[len(answered) : len(answered) + (width if answered else 1)]
                block = block[: purse.fit([row for _, row in block], [1])]
                if not block:
                    break
                answered += await asyncio.gather(*[lane.ask(row) for row in block])
                for one in answered[-len(block) :]:
                    teller.book(one.result)
                    if one.result.outcome in _REFUSED or one.result.status == 404:
                        raise ConfigError(f"{self._text.path} cannot be asked: {one.result.error}")
        except asyncio.CancelledError:
            self._comparisons.spent_usd += teller.spent_usd
            self._comparisons.say(f"original: interrupted after {len(answered)} of {len(rows)} rows")
            raise
        finally:
            await engine.aclose()
        self._comparisons.spent_usd += teller.spent_usd
        return self._summed(answered, variant)

    def _summed(self, answered: Sequence[Answered], variant: Variant) -> Baseline:
        good = [one for one in answered if one.result.outcome in ("ok", "invalid_output")]
        if not good:
            why = answered[0].result.error if answered else "the money cap is below the cost of one row"
            raise ProviderError(f"{self._text.path} as it is gets no answer: {why}")
        used = [one.result.usage for one in good if one.result.usage is not None]
        dollars = [one.result.dollars for one in good if one.result.dollars is not None]
        times = [one.ttft_s for one in good if one.ttft_s is not None]
        count = max(1, len(used))
        return Baseline(
            rows=len(answered),
            answered=len(good),
            dollars=sum(dollars) / len(dollars) if dollars else None,
            latency_s=sum(one.result.latency_s for one in good) / len(good),
            ttft_s=sum(times) / len(times) if times else None,
            input_tokens=sum(one.input_tokens for one in used) / count,
            cached_tokens=sum(one.cached_tokens for one in used) / count,
            output_tokens=sum(one.output_tokens for one in used) / count,
            output_tokens_most=max((one.output_tokens for one in used), default=0),
            reasoning_tokens=sum(one.reasoning_tokens for one in used) / count,
            repeats=repeats(variant, self._rows),
        )

    async def _try(self, proposal: Proposal) -> Step | None:
        """Compare what there is by now with one change; None: the money is out."""
        bare = Step(name=proposal.name, what=proposal.what, expected=proposal.expected, kept=False, why="", measured="")
        try:
            changed = self._now.changed(proposal.values).variant(proposal.name)
            found = await self._comparisons.compare(self._now.variant("before"), changed, self._work)
        except HeadwayError as error:
            return replace(bare, why=f"it cannot be asked: {error}")
        if found.stopped == "money" and not found.findings.decided:
            return None
        metric, said = measured(found, self._goal)
        kept, why = judged(found, self._goal, self._settings.margin)
        return replace(bare, kept=kept, why=why, measured=said, before=metric[0], after=metric[1], comparison=found)

    async def _confirm(self) -> tuple[Comparison | None, list[str]]:
        """Original against result; where that does not hold, without the step that cost most quality."""
        dropped: list[str] = []
        for _ in range(FINAL_TRIES_MAX):
            if self._now.text == self._text.text or self._comparisons.left_usd() == 0.0:
                return None, dropped
            found = await self._comparisons.compare(
                self._text.variant("original"), self._now.variant("result"), self._final, aa=True
            )
            if found.stopped == "money" and found.findings.quality.not_inferior is None:
                self._stopped = "money"
                return found, dropped
            if found.findings.quality.not_inferior is not False:
                return found, dropped
            worst = min(self._kept, key=lambda one: self._quality_change(one.name))
            dropped.append(worst.name)
            self._kept.remove(worst)
            self._comparisons.say(f"together they do not hold; without: {worst.what}")
            self._now = self._text
            for one in self._kept:
                self._now = self._now.changed(one.values)
        self._now = self._text
        return None, [*dropped, *(one.name for one in self._kept)]

    def _quality_change(self, name: str) -> float:
        step = next(one for one in self._steps if one.name == name)
        quality = step.comparison.findings.quality if step.comparison is not None else None
        return 0.0 if quality is None or quality.a is None or quality.b is None else quality.b - quality.a

    def _engine(self, variant: Variant) -> Engine:
        return (self._engines or self._settings.engines(self._comparisons.left_usd))(variant)
