"""One call of `headway bench`: looks ahead, puts each load on all targets, checks itself, stops at the money cap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from headway.engine import Engine
from headway.errors import ConfigError, HeadwayError
from headway.measure.bench.find_max import find_max
from headway.measure.bench.load import LoadRun
from headway.measure.bench.null import NullSettings
from headway.measure.bench.questions import preflight, requests_of
from headway.measure.bench.run_types import Found, Load, OwnError, Progress, Run, Slo, Target, Trial
from headway.measure.bench.self_check import calibrate, null_like
from headway.measure.probe import Probe

__all__ = ["Done", "Limits", "Measuring", "most_usd"]

_QUICK = NullSettings(ttft_s=0.03, itl_s=0.005, tokens=9)
_HEAVY_CONCURRENCY, _HEAVY_RATE_PER_S = 8, 20.0
_CHECK_S = 2.0
_ALONE = 5
_NOT_ALONE = (
    "not even one request at a time kept the SLO, so no rate does; raise its limits, or see where the time goes"
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a bench may spend, and whether it checks itself."""

    usd_max: float
    """Nothing is started that could take it above this, as far as prices are known."""
    request_usd: tuple[float | None, ...] = ()
    """What one request to each target may cost at most; None where that is unknown."""
    watch: bool = True
    """Whether to stop in time; False where all of it fits, whatever happens."""
    check: bool = True
    """Measure the measurement's own error under each load against a null server on this machine, for a few seconds."""
    streamed: bool = True


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of it so far."""

    loads: tuple[tuple[Run, ...], ...] = ()
    found: dict[str, Found] = {}
    notes: tuple[str, ...] = ()
    interrupted: bool = False


def most_usd(loads: Sequence[Load], limits: Limits) -> float | None:
    """What all loads may cost at most, the request ahead of them included; None where that cannot be told."""
    counts = [requests_of(load) for load in loads]
    if None in counts or None in limits.request_usd:
        return None
    return sum(usd or 0.0 for usd in limits.request_usd) * (1 + sum(count or 0 for count in counts))


class Measuring:
    """Runs the loads one after the other. `done` is what there is at any time, also after an interruption.

    Args:
        engine: What requests go through.
        targets: Whom to ask.
        limits: Money, and the self check.
        progress: Told what is being done, and how far it is.
    """

    def __init__(
        self,
        engine: Engine,
        targets: Sequence[Target],
        limits: Limits,
        *,
        progress: Callable[[str], Progress] | None = None,
    ) -> None:
        self._engine = engine
        self._targets = list(targets)
        self._limits = limits
        self._progress = progress
        self._spent_usd = 0.0
        self._over = False
        self._first: tuple[Probe, ...] = ()
        self._places = 1  # requests to each target that may be under way
        self._warming = 0  # and those of the warm-up, which are not booked yet
        self._round_usd = sum(usd or 0.0 for usd in limits.request_usd)
        self.done = Done()

    @property
    def spent_usd(self) -> float:
        """So far, warm-up included, as far as prices are known."""
        return self._spent_usd

    async def ahead(self) -> None:
        """One request to each target. Raises `ConfigError` where one is refused: all others would be, too."""
        found = [await preflight(self._engine, target) for target in self._targets]
        self._targets, self._first = [target for target, _ in found], tuple(probe for _, probe in found)
        self._spend(self._first)

    async def measure(self, loads: Sequence[Load]) -> None:
        """Every load in turn, and what this process adds under it."""
        for load in loads:
            if self._over:
                self._note("--max-usd was reached: what was to come after it was left out.")
                return
            runs = await self._one(load)
            own = await self._own_error(load, runs) if self._limits.check and not self._over else None
            self.done = replace(
                self.done, loads=(*self.done.loads[:-1], tuple(replace(run, own_error=own) for run in runs))
            )

    async def find(self, slo: Slo, *, start_per_s: float, trial_s: float, seed: int = 0) -> None:
        """The highest rate of each target that keeps the SLO; no trial is begun that could pass the money cap.

        Raises:
            ConfigError: The SLO has no limit.
        """
        for target, each in zip(self._targets, self._limits.request_usd or [None] * len(self._targets), strict=True):
            request_usd = each or 0.0
            if not self._affordable(request_usd, _ALONE):
                self._note("--max-usd was reached while rates were tried: what was to come after that was left out.")
                return
            tell = self._progress(f"{target.name}: rates tried") if self._progress is not None else None
            trials: list[Trial] = []

            def tried(trial: Trial, trials: list[Trial] = trials, tell: Progress | None = tell) -> None:
                trials.append(trial)
                self._spend((*trial.run.warmup, *trial.run.probes))
                if tell is not None:
                    tell(len(trials), None)

            if not await self._kept_alone(target, slo):
                found = Found(rate_per_s=None, sentence=_NOT_ALONE)
                self.done = replace(self.done, found=self.done.found | {target.name: found})
                continue
            found = await find_max(
                self._engine, target, slo, start_per_s=start_per_s, trial_s=trial_s, seed=seed, progress=tried,
                affordable=partial(self._affordable, request_usd),
            )  # fmt: skip
            self.done = replace(self.done, found=self.done.found | {target.name: found})
            if self._over:
                self._note("--max-usd was reached while rates were tried: what was to come after that was left out.")
                return

    def _affordable(self, request_usd: float, requests: int) -> bool:
        """Whether so many requests fit into what is left of the money, at their worst; over, once they do not."""
        if self._limits.watch and self._spent_usd + requests * request_usd > self._limits.usd_max:
            self._over = True
        return not self._over

    async def _kept_alone(self, target: Target, slo: Slo) -> bool:
        """Whether one request at a time keeps the SLO at all: else ever lower rates would be tried, for long."""
        driver = LoadRun(self._engine, [target], Load(count=_ALONE))
        await driver.run()
        [run] = driver.runs()
        self._spend(run.probes)
        self._over = self._over or driver.spent
        return driver.spent or any(slo.kept_by(probe) for probe in run.probes)

    async def _one(self, load: Load) -> tuple[Run, ...]:
        """One load, stopped before the money runs out; what there is stays, whatever happens."""
        self._places, self._warming = load.concurrency if load.closed else 1, load.warmup_count
        driver = LoadRun(
            self._engine,
            self._targets,
            load,
            progress=self._progress(load.label) if self._progress is not None else None,
            ended=lambda probe: self._ended(probe, driver, load),
        )
        try:
            await driver.run()
        except asyncio.CancelledError:
            self.done = replace(self.done, interrupted=True)
            raise
        finally:
            runs, self._warming = tuple(driver.runs()), 0
            self._spend([probe for run in runs for probe in run.warmup])
            if driver.spent:
                self._over = True
                self._note(f"The cap on spending was reached at {load.label}, which was ended by it.")
            # What was asked ahead opened the connections: it tells the round trip, as the rest of the warm-up does.
            runs = tuple(replace(run, warmup=(*self._first, *run.warmup)) for run in runs)
            self.done = replace(self.done, loads=(*self.done.loads, runs))
        return runs

    def _ended(self, probe: Probe, driver: LoadRun, load: Load) -> None:
        self._spend([probe])
        if self._over:
            self._note(f"--max-usd was reached at {load.label}, which was ended by it.")
            driver.stop()

    def _spend(self, probes: Sequence[Probe]) -> None:
        """Book what it took; over once what is or will be under way could pass the cap."""
        self._spent_usd += sum(probe.dollars or 0.0 for probe in probes)
        if self._limits.watch:
            next_usd = (self._places + self._warming) * self._round_usd
            self._over = self._over or self._spent_usd + next_usd > self._limits.usd_max

    async def _own_error(self, load: Load, runs: Sequence[Run]) -> OwnError | None:
        """What this process gets wrong under the load; without it, there is a note in its place."""
        heavy = load.concurrency >= _HEAVY_CONCURRENCY if load.closed else (load.rate_per_s or 0.0) >= _HEAVY_RATE_PER_S
        null = null_like(runs[0]) if heavy and runs[0].answered else _QUICK
        if self._progress is not None:
            self._progress("checking itself")(0, None)
        try:
            return await calibrate(load, null=null, streamed=self._limits.streamed, seconds_max=_CHECK_S)
        except ConfigError:
            raise
        except HeadwayError as error:
            self._note(f"The measurement could not check itself: {error}")
            return None

    def _note(self, sentence: str) -> None:
        self.done = replace(self.done, notes=tuple(dict.fromkeys((*self.done.notes, sentence))))
