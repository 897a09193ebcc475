"""The highest rate that keeps a service level: open-loop trials, one rate after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headway.engine import Engine
from headway.errors import ConfigError
from headway.measure.bench.load import LoadRun
from headway.measure.bench.rate_search import RateSearch
from headway.measure.bench.run_types import COUNT_MAX, Found, Load, Slo, Target, Trial
from headway.measure.probe import Probe

__all__ = ["find_max"]

REQUESTS_MIN = 100
"""Of a trial, so that a share of 0.99 can be told from 0.98."""
OFFERED_MIN = 0.95
"""Share of the rate that this process has to reach, for a trial to say something of the server."""
HELD_BACK_MAX = 6
"""Trials more, for our own engine's send rate to grow to what is tried."""
PACED_S = 0.001
_BUSY = "this process could not send {:.3g} requests a second, so the server may hold more"
OWN_SHARE_MAX = 0.25
"""Share of a limit that requests may be late to start for want of this process's time."""


async def find_max(
    engine: Engine,
    target: Target,
    slo: Slo,
    *,
    start_per_s: float = 1.0,
    rate_max_per_s: float = 1_000.0,
    trial_s: float = 20.0,
    warmup_s: float = 2.0,
    rest_s: float = 1.0,
    resolution_ratio: float = 0.05,
    trials_max: int = 14,
    seed: int = 0,
    deadline_s: float | None = None,
    progress: Callable[[Trial], None] | None = None,
    affordable: Callable[[int], bool] | None = None,
) -> Found:
    """Find the highest rate of Poisson arrivals at which `slo.share_min` of all requests keep the limits.

    A trial ends early once so many have failed that it is lost. The rate that is found is tried a second time.

    Args:
        engine: As for `run_load`.
        target: Whom to ask.
        slo: What an answer has to keep.
        start_per_s: The first rate, in requests a second; halved where it fails.
        rate_max_per_s: No higher one is tried.
        trial_s: A trial's length; longer at low rates, so that it has 100 requests.
        warmup_s: Ahead of each trial, at its rate.
        rest_s: Between trials, for the server's queues to empty.
        resolution_ratio: How near the found rate and the next one that failed have to be.
        trials_max: At most so many trials, 2 to 100; those that our own engine's growing send rate spoilt are not
            counted, and are at most 6.
        seed: Of the arrivals.
        deadline_s: Of each request; None: twice the SLO's `e2e_s`, where it has one.
        progress: Told of every trial.
        affordable: Whether so many requests may be paid for; asked before every trial, and the search ends where not.

    Raises:
        ConfigError: The SLO has no limit, or an argument is out of range.
    """
    if slo.ttft_s is slo.e2e_s is slo.itl_s is slo.tpot_s is None:
        raise ConfigError("an SLO without a limit holds at any rate; give one, e.g. ttft=1s")
    if not 2 <= trials_max <= 100 or not 0 < start_per_s <= rate_max_per_s or not resolution_ratio > 0:
        raise ConfigError("find_max needs 2 to 100 trials, 0 < start <= maximum, and a resolution above 0")
    if deadline_s is None and slo.e2e_s is not None:
        deadline_s = 2.0 * slo.e2e_s
    search = RateSearch(
        start_per_s, rate_max_per_s=rate_max_per_s, resolution_ratio=resolution_ratio, trials_max=trials_max
    )
    trials: list[Trial] = []
    held_back = 0
    while (rate_per_s := search.next_rate()) is not None:
        if trials:
            await asyncio.sleep(rest_s)
        count = min(COUNT_MAX // 2, max(REQUESTS_MIN, round(rate_per_s * trial_s)))
        load = Load(
            rate_per_s=rate_per_s, count=count, warmup_s=warmup_s, concurrency_max=100_000, deadline_s=deadline_s,
            seed=seed + len(trials),
        )  # fmt: skip
        if affordable is not None and not affordable(count + round(warmup_s * rate_per_s)):
            return _found(search, trials, ended="another try could have passed the cap on spending")
        trial, driver = await _try(engine, target, slo, load, confirms=search.confirms)
        trials.append(trial)
        if progress is not None:
            progress(trial)
        if driver.spent:
            return _found(search, trials, ended="the cap on spending was reached")
        if _held_back(trial, slo) and held_back < HELD_BACK_MAX:
            held_back += 1
            continue
        if not _offered(trial, slo):
            return _found(search, trials, ended=_BUSY.format(rate_per_s))
        search.add(rate_per_s, held=trial.kept)
    return _found(search, trials)


async def _try(engine: Engine, target: Target, slo: Slo, load: Load, *, confirms: bool) -> tuple[Trial, LoadRun]:
    """One trial, given up once it is lost."""
    assert load.count is not None
    assert load.rate_per_s is not None
    bad, bad_max = 0, int(load.count * (1.0 - slo.share_min) + 1e-9)

    def ended(probe: Probe) -> None:
        nonlocal bad
        bad += not slo.kept_by(probe)
        if bad > bad_max:
            driver.stop()

    driver = LoadRun(engine, [target], load, ended=ended)
    await driver.run()
    [run] = driver.runs()
    good = sum(slo.kept_by(probe) for probe in run.probes)
    trial = Trial(
        rate_per_s=load.rate_per_s,
        kept=bad <= bad_max and not run.cancelled,
        share=good / run.due if run.due else 0.0,
        due=run.due,
        early=run.cancelled,
        confirms=confirms,
        run=run,
    )
    return trial, driver


def _held_back(trial: Trial, slo: Slo) -> bool:
    """Whether a trial was lost to our own engine, which doubles its send rate step by step: it is faster the next time.

    Where the provider refuses requests for their number, it holds them back for good reason: that is the server's end.
    """
    probes = (*trial.run.warmup, *trial.run.probes)
    bad = [probe for probe in trial.run.probes if not slo.kept_by(probe)]
    paced = sum(probe.wait_s > PACED_S for probe in bad)
    refused = any(probe.outcome == "throttled" or probe.attempts > 1 for probe in probes)
    return not trial.kept and not refused and paced * 2 > len(bad)


def _offered(trial: Trial, slo: Slo) -> bool:
    """Whether this process could send as fast as it was asked to: else it is not the server that was tried."""
    run, limits = trial.run, [limit for limit in (slo.ttft_s, slo.e2e_s) if limit is not None]
    asked, achieved = run.asked_rate_per_s, run.achieved_rate_per_s
    if limits and run.start_lag.p99_s > OWN_SHARE_MAX * min(limits):
        return False
    return trial.early or asked is None or achieved is None or achieved >= OFFERED_MIN * asked


def _found(search: RateSearch, trials: list[Trial], *, ended: str = "") -> Found:
    rate, failed = search.found_per_s, search.failed_per_s
    if ended:
        told = f"{rate:.3g}/s kept the SLO; {ended}" if rate is not None else ended
    elif rate is None:
        told = f"not even {failed or 0.0:.3g}/s kept the SLO; look at one request at a time first"
    elif failed is None:
        told = f"{rate:.3g}/s kept the SLO, and nothing faster was tried; raise the maximum to find where it ends"
    else:
        told = f"between {rate:.3g} and {failed:.3g} requests/s: {rate:.3g} held, {failed:.3g} did not"
    twice = any(trial.confirms and trial.kept and trial.rate_per_s == rate for trial in trials)
    if rate is not None and not ended and not twice:
        told += "; it was not tried a second time"
    return Found(rate_per_s=rate, bounded=failed is not None, trials=tuple(trials), sentence=told)
