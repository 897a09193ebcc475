"""`compare`: two variants on the same rows, until it is known which is better, or the rows or the money are out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from headway.engine import Engine
from headway.errors import ConfigError, InputError, ProviderError
from headway.measure.compare.asking import Lane, Row
from headway.measure.compare.blocks import firsts, run_rows, run_set
from headway.measure.compare.checkers import check_right_answers, marked
from headway.measure.compare.comparison import Asked, Comparison, Noise, SetRuns, Stopped, pair_of
from headway.measure.compare.judge import Judge
from headway.measure.compare.noise import noise_of
from headway.measure.compare.opening import open_engine, own_check
from headway.measure.compare.purse import OUTPUT_TOKENS_ASSUMED, Purse, Teller
from headway.measure.compare.sets import SetTrial, set_size
from headway.measure.compare.settings import AA_ROWS, ROWS_MAX, CompareSettings, Progress, looks_of
from headway.measure.compare.told import concluded
from headway.measure.compare.variant import Variant, differences, named, same_asked
from headway.measure.stats import Findings
from headway.measure.stats.trial import Trial
from headway.types import Result

__all__ = ["CompareSettings", "Comparing", "compare"]

_REFUSED = ("auth", "billing")
_WARM_MAX = 8
"""Connections opened beforehand on each side, at most: each costs a request."""
_BLOCK = 10
"""Rows between two looks at the money."""


async def compare(
    a: Variant,
    b: Variant,
    rows: Sequence[Mapping[str, Any]],
    *,
    settings: CompareSettings | None = None,
    engines: Callable[[Variant], Engine] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Ask both variants about the same rows, and say which is better, by how much, and how sure that is.

    Args:
        a: What there is.
        b: What may be better.
        rows: The rows, as mappings; a random choice of them is asked where not all are.
        settings: How.
        engines: Makes an engine for a variant (and for the judge, a variant as well); they are closed at the end.
            The cap is theirs to keep to the cent where they have a `budget_usd`; without, it is kept by worst cases
            that know nothing of retries that are billed.
        progress: Is told how far it is.

    Raises:
        ConfigError: A setting, a key or a model is wrong; or a price is unknown, so that the cap could not be kept.
        InputError: No row has the columns that the prompts name; or the check failed on every row.
        ProviderError: Neither side gave any answer.
    """
    comparing = Comparing(a, b, rows, settings=settings, engines=engines, progress=progress)
    await comparing.run()
    return comparing.comparison()


class Comparing:
    """A comparison under way: `run` it; `comparison()` is what is known so far, also after it was cancelled."""

    def __init__(
        self,
        a: Variant,
        b: Variant,
        rows: Sequence[Mapping[str, Any]],
        *,
        settings: CompareSettings | None = None,
        engines: Callable[[Variant], Engine] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._a, self._b = named(a, b)
        self._settings = how = settings or CompareSettings()
        self._engines = engines or self._engine
        self._progress = progress
        self._rng = Random(how.seed)
        self._rows = _chosen(rows, (a, b), self._rng)
        self._rows_max = min(len(self._rows), how.rows_max or ROWS_MAX)
        self._differences = differences(a, b)
        self._widths = (a.run.width or how.concurrency, b.run.width or how.concurrency)
        self._checker = how.checker or own_check(a.task, b.task)
        check_right_answers(self._checker, rows)
        self._in_step = self._widths[0] == self._widths[1]
        self._same = same_asked(self._differences)
        self._trial = Trial(how.trial(self._rows_max, shared=not self._in_step, same_asked=self._same))
        self._tellers: list[Teller] = []
        self._purse = Purse(how.usd_max, self._tellers)
        self._asked: list[Asked] = []
        self._noise: Noise | None = None
        self._sets: SetRuns | None = None
        self._stopped: Stopped = "interrupted"

    async def run(self) -> None:
        """Ask until it is decided, or the rows or the money are out. See `compare` for what is raised."""
        opened: list[Engine] = []
        try:
            lanes = []
            for variant in (self._a, self._b):
                opened.append(self._engines(variant))
                lanes.append(Lane(opened[-1], variant))
                self._tellers.append(Teller(opened[-1], variant))
            if isinstance(self._checker, Judge):
                judge = self._checker.variant
                opened.append(self._engines(judge))
                read = max(lane.variant.task.max_output_tokens or OUTPUT_TOKENS_ASSUMED for lane in lanes)
                self._tellers.append(Teller(opened[-1], judge, read_tokens=read))
                self._checker.open(opened[-1], self._tellers[-1].book)
            await self._run(*lanes)
        finally:
            for engine in opened:
                await engine.aclose()

    async def _run(self, a: Lane, b: Lane) -> None:
        if not await self._warm_up(a, b):
            self._stopped = "money"
            return
        if self._settings.aa and self._differences:
            await self._measure_noise(a)
        self._stopped = await (self._in_rows if self._in_step else self._in_sets)(a, b)

    async def _warm_up(self, a: Lane, b: Lane) -> bool:
        """Requests that do not count; False: there is no money for any.

        One on each side shows whether it can be asked at all; then as many at once as will be in flight open
        connections on both sides alike.
        """
        lanes = list(zip((a.bare(), b.bare()), self._tellers, strict=False))
        row = self._rows[0]
        if not self._fit([row], (1, 1), judged=False):
            return False
        self._tell("rows", 0, self._rows_max)
        results = []
        for lane, teller in lanes:
            results.append(result := (await lane.ask(row)).result)
            teller.book(result)
            if result.outcome in _REFUSED or result.status == 404:
                raise ConfigError(f"{lane.variant.name} cannot be asked: {result.error}")
        if all(result.outcome == "throttled" for result in results):
            self._check_answered(results)  # the engine was patient twice: all others would wait as long
        rows = self._rows[: min(max(self._widths), _WARM_MAX) if max(self._widths) > 1 else 0]
        rows = rows[: self._fit(rows, (1, 1), judged=False)]
        for lane, teller in lanes:
            for answered in await asyncio.gather(*(lane.ask(row) for row in rows)):
                results.append(result := answered.result)
                teller.book(result)
        self._check_answered(results if rows else ())
        return True

    async def _measure_noise(self, a: Lane) -> None:
        """A against A, on rows from the far end, which are the last to be compared."""
        rows = self._rows[-AA_ROWS:]
        rows = rows[: self._fit(rows, (2, 0), judged=False)]
        if len(rows) < 2:
            return
        self._tell("noise", 0, len(rows))
        bare = a.bare()
        asked = await run_rows(bare, bare, rows, firsts(len(rows), self._rng), width=self._widths[0])
        for one in asked:
            self._tellers[0].book(one.a.result)
            self._tellers[0].book(one.b.result)
        self._noise = noise_of(asked, self._settings)

    async def _in_rows(self, a: Lane, b: Lane) -> Stopped:
        """Row by row, both side by side, from look to look."""
        width, decided = self._widths[0], False
        for upto in looks_of(self._rows_max):
            while (done := len(self._asked)) < upto:
                block = self._rows[done : min(upto, done + max(_BLOCK, 2 * width))]
                block = block[: self._fit(block, (1, 1))]
                asked = await run_rows(a, b, block, firsts(len(block), self._rng), width=width)
                if not asked or not await self._took_in(asked):
                    return "money"
            decided = self._look().decided
            if decided and self._settings.early:
                break
        return "decided" if decided else "rows"

    async def _in_sets(self, a: Lane, b: Lane) -> Stopped:
        """Set by set, each variant as it runs them."""
        size = set_size(self._rows_max, self._widths)
        count = self._rows_max // size
        trial = SetTrial(count, size, self._settings.alpha / 2)
        order = firsts(count, self._rng)
        decided = False
        for number in range(count):
            rows = self._rows[number * size : (number + 1) * size]
            if self._fit(rows, (1, 1)) < size:
                return "money"
            name = f"set {number + 1}"
            asked, took = await run_set(a, b, rows, widths=self._widths, a_first=order[number], name=name)
            if not await self._took_in(asked):
                return "money"
            trial.add(*took)
            if trial.due:
                self._sets = trial.look()
                decided = self._sets.finding.verdict != "unclear" and self._quality_known()
                if decided and self._settings.early:
                    break
        return "decided" if decided else "rows"

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _took_in(self, asked: Sequence[Asked]) -> bool:
        """Book, mark and keep a block; False when the money ran out in the middle of it."""
        for one in asked:
            self._tellers[0].book(one.a.result)
            self._tellers[1].book(one.b.result)
        whole = [one for one in asked if "budget" not in (one.a.result.outcome, one.b.result.outcome)]
        ttft = self._a.run.stream or self._b.run.stream
        for one in whole:
            done = await self._marked(one)
            self._asked.append(done)
            self._trial.add(pair_of(done, ttft=ttft))
        self._check_answered([side.result for one in self._asked for side in (one.a, one.b)])
        self._tell("rows", len(self._asked), self._rows_max)
        return len(whole) == len(asked)

    def _check_answered(self, results: Sequence[Result]) -> None:
        """Go on only where one was answered at least: no verdict comes of nothing, and waiting for it takes long."""
        if results and all(one.outcome != "ok" for one in results):
            names = f"neither {self._a.name} nor {self._b.name}"
            raise ProviderError(f"{names} gave an answer; the first: {results[0].error}")

    async def _marked(self, one: Asked) -> Asked:
        """With its marks. They are given one after the other, while nothing is measured."""
        if self._checker is None:
            return one
        row = one.a.result.row
        score_a = await marked(self._checker, row, one.a.result)
        score_b = await marked(self._checker, row, one.b.result)
        return replace(one, score_a=score_a, score_b=score_b)

    def _look(self) -> Findings:
        """What the rows say by now. The same look again costs nothing of alpha."""
        return self._trial.look(described=False)

    def _quality_known(self) -> bool:
        """Whether quality is not what one has to wait for: the same is asked, nothing is marked, or it is decided."""
        return self._same or self._checker is None or self._look().quality.not_inferior is not None

    def _fit(self, rows: Sequence[Row], times: tuple[int, int], *, judged: bool = True) -> int:
        """How many of the rows may be asked about, so often on each side."""
        judge = (2 * judged,) if isinstance(self._checker, Judge) else ()
        return self._purse.fit([row for _, row in rows], (*times, *judge))

    def _engine(self, variant: Variant) -> Engine:
        return open_engine(variant, self._settings)

    def _tell(self, stage: str, done: int, of: int) -> None:
        if self._progress is not None:
            self._progress(stage, done, of, self._purse.spent_usd)

    def comparison(self) -> Comparison:
        """What is known by now.

        Raises:
            InputError: The check failed on every row.
        """
        judge = self._checker if isinstance(self._checker, Judge) else None
        bare = Comparison(
            a=self._a.name,
            b=self._b.name,
            differences=self._differences,
            findings=self._trial.look(final=self._stopped in ("money", "interrupted")),
            noise=self._noise,
            sets=self._sets,
            rows=len(self._asked),
            rows_max=self._rows_max,
            stopped=self._stopped,
            dollars=self._purse.spent_usd,
            dollars_judge=judge.dollars if judge is not None else 0.0,
            dollars_estimated=any(teller.unknown for teller in self._tellers),
            seed=self._settings.seed,
            asked=tuple(self._asked),
        )
        return concluded(bare, self._a, self._b, checked=self._checker is not None)


def _chosen(rows: Sequence[Mapping[str, Any]], variants: Sequence[Variant], rng: Random) -> list[Row]:
    """The rows, in an order that is drawn."""
    needed = {column for variant in variants for column in variant.task.columns}
    if not rows:
        raise InputError("there are no rows to compare on")
    if not any(needed <= row.keys() for row in rows):
        missing = sorted(needed - rows[0].keys())
        raise InputError(f"no row has column {missing[0]!r}, which a prompt needs; there is {', '.join(rows[0])}")
    chosen = list(enumerate(rows))
    rng.shuffle(chosen)
    return chosen
