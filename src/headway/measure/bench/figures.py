"""What a run comes to: `figures_of` turns it into figures with intervals; nothing is sent, nothing is waited for.

Latency, TTFT and goodput count from the intended start. Failures are in every denominator that they belong to. Answers
that came from a cache are shown apart, and are in no latency of the provider. What cannot be told is None, never 0, and
a note says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from statistics import median
from typing import NamedTuple

import msgspec

from headway.measure.bench.budgets import Budget, UseCase, budget_of
from headway.measure.bench.equation import Equation, countable, equation_of, tpot_s
from headway.measure.bench.run_types import Lag, OwnError, Run, Skipped, Slo
from headway.measure.bench.spread import Spread, gap_spread_of, spread_of
from headway.measure.probe import Probe
from headway.report import format as fmt
from headway.report.figures import Failure

__all__ = ["Figures", "figures_of", "from_cache", "of_provider"]

_FAILURES_MAX = 20
_CACHED = frozenset({"memory", "sqlite", "redis", "joined", "stale"})
_EVENT_TOKENS_MAX = 1.5
"""Tokens an event from which on gaps between events are said not to be gaps between tokens."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One target under one load. Times in seconds, money in US dollars; None: cannot be told, and a note says why."""

    target: str
    model: str
    load: str
    """In words: "4 at once", "20/s poisson"."""
    due: int
    """Requests that were due, skipped ones included: the denominator of every share."""
    ok: int
    """Requests that were answered."""
    valid: int
    """Those of them whose answer is what the task asks for: the others are in no goodput, and no success to pay for."""
    invalid: str
    """What is wrong with the first of the others; "" where there is none."""
    failed: int
    failures: tuple[Failure, ...]
    """Alike ones together, the most frequent first; what was skipped is not among them."""
    skipped: tuple[Skipped, ...]
    cached: int
    """Answers that came from a cache or another request's call: in no figure but their own."""
    duration_s: float
    ttft: Spread
    """From the intended start to the first token of the answer; of streamed answers."""
    first_reasoning: Spread
    """From the intended start to the first reasoning token."""
    e2e: Spread
    """From the intended start to the end."""
    itl: Spread
    """Between content events that came apart, of all answers together."""
    tpot: Spread
    """Per output token after the first, a value an answer."""
    tokens_per_s: Spread
    """Of each stream: 1 / TPOT."""
    cached_e2e: Spread
    output_tokens_per_s: float | None
    """Of all streams together, reasoning included, over the run."""
    requests_per_s: float | None
    """Answered, over the run."""
    goodput_per_s: float | None
    """Answers that kept the SLO, over the run; None without an SLO."""
    good: float | None
    """Their share of what was due."""
    input_tokens: int | None
    """A mean answer's; None: no answer has usage."""
    output_tokens: int | None
    reasoning_tokens: int | None
    dollars: float | None
    """All requests that count, failed ones included; None: of one at least it is unknown."""
    dollars_known: float
    dollars_per_success: float | None
    equation: Equation
    budget: Budget | None
    """None: no use case was named."""
    asked_rate_per_s: float | None
    achieved_rate_per_s: float | None
    start_lag: Lag
    loop_lag: Lag
    own_error: OwnError | None
    cancelled: bool
    notes: tuple[str, ...]
    """What a reader has to know, a sentence each."""


def from_cache(probe: Probe) -> bool:
    """Whether its answer was kept, or another request's."""
    return probe.cache in _CACHED


def of_provider(run: Run) -> list[Probe]:
    """What the provider answered, be it worth something or not: what latencies are made of."""
    return [probe for probe in run.probes if probe.answered and not from_cache(probe)]


def figures_of(run: Run, *, slo: Slo | None = None, use_case: UseCase | None = None, tls: bool = True) -> Figures:
    """The figures of one target under one load.

    Args:
        run: As `run_load` returned it.
        slo: For goodput.
        use_case: Whose budget it is held against.
        tls: Whether its connections were encrypted, which tells what opening one says of the round trip.
    """
    asked = [probe for probe in run.probes if not from_cache(probe)]
    good = of_provider(run)
    ttft = spread_of([probe.ttft_s for probe in good if probe.streamed], tails=True)
    e2e = spread_of([probe.latency_s for probe in good], tails=True)
    per_token = [tpot_s(probe) for probe in good]
    equation = equation_of(asked, warmup=run.warmup, tls=tls)
    kept = None if slo is None else sum(slo.kept_by(probe) for probe in run.probes)
    money = _money(run)
    ok, valid = run.answered, sum(probe.ok for probe in run.probes)
    used = [probe.usage for probe in good if probe.usage is not None]
    return Figures(
        target=run.target,
        model=run.model or run.target,
        load=run.load.label,
        due=run.due,
        ok=ok,
        valid=valid,
        invalid=next((probe.error for probe in run.probes if probe.answered and not probe.ok), ""),
        failed=len(run.probes) - ok,
        failures=_failures(run.probes),
        skipped=run.skipped,
        cached=len(run.probes) - len(asked),
        duration_s=run.duration_s,
        ttft=ttft,
        first_reasoning=spread_of(
            [p.first_reasoning_s - p.intended_s for p in good if p.streamed and p.first_reasoning_s is not None]
        ),
        e2e=e2e,
        itl=gap_spread_of([probe.gaps_s for probe in good if probe.streamed]),
        tpot=spread_of(per_token),
        tokens_per_s=spread_of([1 / rate for rate in per_token if rate]),
        cached_e2e=spread_of([probe.latency_s for probe in run.probes if probe.answered and from_cache(probe)]),
        output_tokens_per_s=_rate(sum(usage.output_tokens for usage in used) if len(used) == len(good) else None, run),
        requests_per_s=_rate(ok, run),
        goodput_per_s=_rate(kept, run),
        good=kept / run.due if kept is not None and run.due else None,
        input_tokens=_mean([usage.input_tokens for usage in used]),
        output_tokens=_mean([usage.output_tokens for usage in used]),
        reasoning_tokens=_mean([usage.reasoning_tokens for usage in used]),
        dollars=money.dollars,
        dollars_known=money.known,
        dollars_per_success=money.dollars / valid if money.dollars is not None and valid else None,
        equation=equation,
        budget=None if use_case is None else _budget(use_case, run, asked, ttft if ttft.count else e2e, equation),
        asked_rate_per_s=run.asked_rate_per_s,
        achieved_rate_per_s=run.achieved_rate_per_s,
        start_lag=run.start_lag,
        loop_lag=run.loop_lag,
        own_error=run.own_error,
        cancelled=run.cancelled,
        notes=(*run.notes, *_notes(run, good, money)),
    )


class _Money(NamedTuple):
    dollars: float | None
    known: float
    unknown: int
    """Requests that may have cost something nobody knows."""
    billable: int


def _money(run: Run) -> _Money:
    costs = [_dollars(probe) for probe in run.probes if _costs(probe)]
    known = [cost for cost in costs if cost is not None and isfinite(cost)]
    unknown = len(costs) - len(known)
    return _Money(None if unknown or not run.probes else sum(known), sum(known), unknown, len(costs))


def _dollars(probe: Probe) -> float | None:
    """What it cost; None where that is an estimate, for the answer said nothing of its tokens."""
    return probe.dollars if probe.usage is not None or not probe.dollars else None


def _costs(probe: Probe) -> bool:
    """Whether money may have been spent on it: what failed before it was sent, or was refused, is free."""
    refused = probe.status is not None and probe.status >= 400
    return not from_cache(probe) and not (probe.dollars is None and not probe.ok and (probe.sent_s is None or refused))


def _budget(use_case: UseCase, run: Run, asked: Sequence[Probe], shown: Spread, equation: Equation) -> Budget:
    return budget_of(
        use_case,
        asked,
        quantile="p50" if shown.p95 is None else "p95",
        value_s=shown.p50 if shown.p95 is None else shown.p95,
        round_trip=equation.round_trip,
        due=run.due,
    )


def _rate(amount: float | None, run: Run) -> float | None:
    return amount / run.duration_s if amount is not None and run.duration_s > 0 else None


def _mean(counts: Sequence[int]) -> int | None:
    return round(sum(counts) / len(counts)) if counts else None


def _failures(probes: Sequence[Probe]) -> tuple[Failure, ...]:
    """Alike by outcome and status, with the message of the first."""
    firsts: dict[tuple[str, str], Probe] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for probe in probes:
        if not probe.answered:
            key = probe.outcome, "" if probe.status in (None, 200) else str(probe.status)
            firsts.setdefault(key, probe)
            counts[key] += 1
    return tuple(
        Failure(outcome=key[0], code=key[1], count=count, row=firsts[key].index, message=firsts[key].error)
        for key, count in counts.most_common(_FAILURES_MAX)
    )


def _notes(run: Run, good: Sequence[Probe], money: _Money) -> list[str]:
    """What cannot be told, or must not be misread, and why; `Run.notes` have said what is missing in the answers."""
    notes = []
    whole = sum(not p.streamed for p in good)
    if not good:
        notes.append("No answer came from the provider, so there are no latencies.")
    elif whole:
        which = "The answers" if whole == len(good) else f"{whole:,} of {len(good):,} answers"
        notes.append(f"{which} came whole: TTFT, ITL and TPOT cannot be seen of them, only when they ended.")
    kept = [p.latency_s for p in run.probes if p.answered and from_cache(p)]
    if kept:
        notes.append(
            f"{len(kept):,} answers came from a cache, in {fmt.seconds(median(kept))} (median): they are in "
            "requests/s, goodput and the cost of a success, and in no time of the provider."
        )
    if silent := sum(p.outcome == "empty" for p in run.probes):
        notes.append(f"{silent:,} answers held no token; they count as failed.")
    if money.unknown:
        notes.append(f"What {money.unknown:,} of {money.billable:,} requests cost is unknown, so no sum is given.")
    if hidden := [p.usage.reasoning_tokens for p in good if p.usage is not None and p.first_reasoning_s is None]:
        mean = sum(hidden) / len(hidden)
        if mean >= 1 and any(p.streamed for p in good):
            notes.append(
                f"About {mean:.0f} reasoning tokens an answer were generated unseen: their time is in the provider's "
                "part before the first token."
            )
    events = [(p.usage.output_tokens - p.usage.reasoning_tokens, p.content_events) for p in good if p.usage is not None]
    tokens, seen = sum(t for t, e in events if e), sum(e for _, e in events if e)
    if seen and tokens / seen > _EVENT_TOKENS_MAX:
        notes.append(f"An event carries {tokens / seen:.1f} tokens on average: ITL is per event, TPOT per token.")
    if good and not any(countable(p) for p in good) and not whole:
        notes.append("No answer shows all clocks, so its time cannot be taken apart.")
    return notes
