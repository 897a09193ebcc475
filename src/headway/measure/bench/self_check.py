"""A run judges itself: what it gets wrong by its own doing, and when that is too much for a verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Any, Final

import msgspec

from headway.engine import Engine
from headway.errors import HeadwayError
from headway.measure.bench.load import run_load
from headway.measure.bench.null import NullAccount, NullSettings, null_body, null_server
from headway.measure.bench.run_types import Load, OwnError, Run, Target
from headway.measure.probe import Probe
from headway.measure.stats.intervals import quantile_or_none

__all__ = ["RAW", "calibrate", "doubts", "null_like", "own_error_of", "refusal"]

RAW: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "upstreams": (),
        "cache": "off",
        "limits": "off",
        "attempts_max": 1,
        "hedge_ratio": 0.0,
        "prompt_cache": "off",
        "prompt_grouping": "off",
        "log": "off",
        "log_level": "off",
    }
)
"""An engine's settings for measuring a provider alone: nothing is kept, tried again, or sent elsewhere."""
NEARS = 0.5
"""The share of an effect from which on an own error is too near to it: half the effect, missed on one side alone, is
half of what would be claimed."""
REQUESTS_MIN, REQUESTS_MAX = 20, 2_000
SECONDS_MAX = 5.0
LAG_MAX_S, RATE_OFF_MAX, CV_OFF_MAX = 0.005, 0.02, 0.05
CV_REQUESTS_MIN = 30
OWN_SHARE_MAX = 0.05


async def calibrate(
    load: Load, *, null: NullSettings | None = None, streamed: bool = True, seconds_max: float = SECONDS_MAX
) -> OwnError:
    """Put the same load on a null server whose true times are known, for a few seconds, and compare.

    Args:
        load: The concurrency or the rate of this is used, not its length.
        null: What the server plays; `null_like` makes one of a run.
        streamed: Whether answers are streamed.
        seconds_max: How long requests are started, about.

    Raises:
        ConnectFailed: The server's process did not start.
        HeadwayError: Its account could not be had.
    """
    null = null or NullSettings()
    short = _shortened(load, null, seconds_max)
    target = Target(
        name="null", path="/v1/chat/completions", body=lambda index: null_body(index, stream=streamed), model="null"
    )
    with null_server(null) as url:
        # No file: what is set there is for providers. The key goes nowhere but to our own child.
        async with Engine(config=os.devnull, base_url=url, api_key="null", **RAW) as engine:
            [run] = await run_load(engine, [target], short)
            reply = await engine.request("GET", "/v1/account")
            account = msgspec.json.decode(await reply.read(), type=list[NullAccount])
    return own_error_of(run.probes, account)


def own_error_of(probes: Sequence[Probe], account: Sequence[NullAccount]) -> OwnError:
    """Measured less true, for the requests that both know.

    Raises:
        HeadwayError: There is none.
    """
    true = {entry.index: entry for entry in account}
    pairs = [(probe, true[probe.index]) for probe in probes if probe.ok and probe.index in true]
    if not pairs:
        said = next((probe.error for probe in probes if probe.error), "no request was made")
        raise HeadwayError(f"the null server answered nothing, so the measurement could not be calibrated: {said}")
    latency = [probe.latency_s - (entry.last_s - entry.arrived_s) for probe, entry in pairs]
    ttft = [probe.ttft_s - (entry.first_s - entry.arrived_s) for probe, entry in pairs if probe.ttft_s is not None]
    itl = [
        (probe.last_content_s - probe.first_answer_s - (entry.last_s - entry.first_s)) / (probe.content_events - 1)
        for probe, entry in pairs
        if probe.content_events > 1 and probe.last_content_s is not None and probe.first_answer_s is not None
    ]
    return OwnError(
        latency_p50_s=median(latency),
        latency_p99_s=quantile_or_none(latency, 0.99),
        ttft_p50_s=median(ttft) if ttft else None,
        ttft_p99_s=quantile_or_none(ttft, 0.99),
        itl_mean_s=sum(itl) / len(itl) if itl else None,
        requests=len(pairs),
        true_ttft_s=median(entry.first_s - entry.arrived_s for _, entry in pairs) if ttft else None,
        true_latency_s=median(entry.last_s - entry.arrived_s for _, entry in pairs),
    )


def null_like(run: Run) -> NullSettings:
    """A null server that keeps a run's median times, at most a second to the first token and two in all."""
    good = [probe for probe in run.probes if probe.answered]
    firsts = [probe.ttft_s for probe in good if probe.ttft_s is not None]
    tokens = round(median([probe.content_events for probe in good])) if good else 1
    whole_s = min(2.0, median([probe.latency_s for probe in good])) if good else 0.05
    first_s = min(1.0, median(firsts)) if firsts else whole_s
    tokens = min(2_000, max(1, tokens))
    itl_s = max(0.0, whole_s - first_s) / (tokens - 1) if tokens > 1 else 0.0
    return NullSettings(ttft_s=first_s, itl_s=itl_s, tokens=tokens)


def refusal(own_error_s: float | None, effect_s: float, what: str = "latency") -> str:
    """Why no verdict is given: the measurement's own error nears the effect; "" where it does not.

    Args:
        own_error_s: Of that figure, from `OwnError`; None where it was not calibrated, which refuses nothing.
        effect_s: The difference that a verdict would be about, or the margin to a limit.
        what: What the figure is called.
    """
    if own_error_s is None or abs(own_error_s) < NEARS * abs(effect_s):
        return ""
    return (
        f"no verdict on {what}: this measurement is off by {abs(own_error_s) * 1e3:.1f} ms by its own doing, and the "
        f"difference is {abs(effect_s) * 1e3:.1f} ms; lower the load, or run it on a machine that is less busy"
    )


def doubts(run: Run) -> tuple[str, ...]:
    """What speaks against a run's own figures, a sentence each; none where it may be trusted."""
    found = []
    if run.loop_lag.p99_s > LAG_MAX_S:
        found.append(
            f"This process was late by {run.loop_lag.p99_s * 1e3:.1f} ms at times (loop lag, p99), in every figure."
        )
    asked, achieved = run.asked_rate_per_s, run.achieved_rate_per_s
    if asked is not None and achieved is not None and abs(achieved / asked - 1.0) > RATE_OFF_MAX:
        found.append(f"{achieved:.4g} requests a second were started where {asked:.4g} were asked for.")
    wanted, came = run.asked_cv, run.achieved_cv
    if wanted is not None and came is not None and run.due >= CV_REQUESTS_MIN and abs(came - wanted) > CV_OFF_MAX:
        found.append(
            f"Arrivals were not what was asked for: their gaps vary by {came:.2f} (CV) instead of {wanted:.2f}."
        )
    own = run.own_error
    if own is not None and own.ttft_p50_s is not None:
        firsts = [probe.ttft_s for probe in run.probes if probe.ttft_s is not None]
        if firsts and abs(own.ttft_p50_s) > OWN_SHARE_MAX * median(firsts):
            found.append(f"The measurement adds {own.ttft_p50_s * 1e3:.1f} ms to the time to first token by itself.")
    return tuple(found)


def _shortened(load: Load, null: NullSettings, seconds_max: float) -> Load:
    """The same load, for a few seconds, with room for all."""
    places = load.concurrency if load.closed else 0
    per_s = places / max(null.service_s, 0.001) if load.closed else load.rate_per_s or _mean_rate(load)
    count = max(REQUESTS_MIN, 2 * places, min(REQUESTS_MAX, round(per_s * seconds_max)))
    warmup = max(4, places, round(0.1 * count))
    arrivals = "poisson" if load.arrivals == "trace" else load.arrivals
    return msgspec.structs.replace(
        load, rate_per_s=None if load.closed else per_s, arrivals=arrivals, offsets_s=(), count=count, duration_s=None,
        warmup_count=warmup, warmup_s=0.0, ramp_s=null.service_s if load.closed else 0.0, concurrency_max=100_000,
        deadline_s=None, texts=False,
    )  # fmt: skip


def _mean_rate(load: Load) -> float:
    offsets = load.offsets_s
    taken_s = offsets[-1] - offsets[0]
    return (len(offsets) - 1) / taken_s if taken_s > 0 else 1.0
