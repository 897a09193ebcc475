"""The budgets of use cases for the time to the first token, and a sentence on what would bring a run within them.

Source of the budgets: the course material behind row M3: chat below 1 s, autocomplete below 100 ms, an assistant below
500 ms; work that nobody waits for has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final, Literal

import msgspec

from headway.measure.bench.equation import PARTS, RoundTrip, countable, parts_of
from headway.measure.probe import Probe
from headway.report import format as fmt

__all__ = ["BUDGETS_S", "Budget", "UseCase", "budget_of"]

UseCase = Literal["chat", "autocomplete", "assistant", "batch"]

BUDGETS_S: Final[dict[str, float | None]] = {"chat": 1.0, "autocomplete": 0.1, "assistant": 0.5, "batch": None}
"""Seconds until a user has to see something; None: nobody waits."""

ANSWERS_MIN: Final = 5
"""Below it a median is no more than one of a few answers."""
_HELP: Final = {
    "wait": "a higher rate limit, fewer requests at once, or more capacity at the provider helps",
    "connect": "kept connections help (one client for the whole program), and so does connecting ahead",
    "network": "a nearer region helps",
    "provider": "a smaller model, a shorter prompt, or a prefix that the provider has cached helps",
    "thinking": "less reasoning effort, or a model that does not reason, helps",
}


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands to its use case's budget. `value_s` None: there is no first token to judge by."""

    use_case: UseCase
    budget_s: float | None
    quantile: Literal["p95", "p50", ""] = ""
    """What it was judged by: p95 from 20 answers on, the median below."""
    value_s: float | None = None
    within: bool | None = None
    """None: there is no budget, or too little to judge by."""
    share_within: float | None = None
    """Of all requests, failures included: those whose first token came in time."""
    largest: str = ""
    """The largest part of the slow answers' time to the first token, a key of `equation.PARTS`."""
    sentence: str = ""


def budget_of(
    use_case: UseCase,
    probes: Sequence[Probe],
    *,
    quantile: Literal["p95", "p50"],
    value_s: float | None,
    round_trip: RoundTrip,
    due: int,
) -> Budget:
    """How a run stands to its use case's budget.

    Args:
        use_case: Whose budget.
        probes: All that count, failures among them.
        quantile: Which one `value_s` is.
        value_s: Of the time to the first token; of the whole answer, where answers did not stream.
        round_trip: Of the network.
        due: Requests that were due, skipped ones included: the denominator of `share_within`.
    """
    budget_s = BUDGETS_S[use_case]
    if budget_s is None:
        return Budget(use_case=use_case, budget_s=None, sentence="Batch work has no budget: nobody waits for a token.")
    if value_s is None:
        return Budget(use_case=use_case, budget_s=budget_s, sentence="There is no answer to hold against the budget.")
    seen = [(probe, shown_s) for probe in probes if probe.answered and (shown_s := _shown_s(probe)) is not None]
    if len(seen) < ANSWERS_MIN:
        few = f"{len(seen)} answer{'s are' if len(seen) > 1 else ' is'} too few to hold against {use_case}'s budget"
        sentence = f"{few} of {fmt.seconds(budget_s)}: it takes {ANSWERS_MIN}."
        return Budget(use_case=use_case, budget_s=budget_s, quantile=quantile, value_s=value_s, sentence=sentence)
    streamed = any(probe.streamed for probe, _ in seen)
    what = "TTFT" if streamed else "The whole answer, for it did not stream:"
    name = "median" if quantile == "p50" else "p95"
    within = value_s <= budget_s
    share = sum(shown_s <= budget_s for _, shown_s in seen) / due if due else None
    stands = (
        f"{what} {name} {fmt.seconds(value_s)} is {'within' if within else 'over'} {use_case}'s {fmt.seconds(budget_s)}"
    )
    largest, why = "", ""
    if not within:
        largest, why = _why(seen, budget_s, round_trip) if streamed else ("", ": streaming would show something sooner")
    elif share is not None and share < 1:
        why = f"; {fmt.percent(share)} of all requests were"
    return Budget(
        use_case=use_case,
        budget_s=budget_s,
        quantile=quantile,
        value_s=value_s,
        within=within,
        share_within=share,
        largest=largest,
        sentence=f"{stands}{why}.",
    )


def _shown_s(probe: Probe) -> float | None:
    """When a user sees something: the first token of a stream, all of a whole answer."""
    return probe.ttft_s if probe.streamed else probe.latency_s


def _why(seen: Sequence[tuple[Probe, float]], budget_s: float, trip: RoundTrip) -> tuple[str, str]:
    """The largest part of the answers that were over the budget, and what would help against it."""
    slow = [parts_of(probe, trip) for probe, shown_s in seen if shown_s > budget_s and countable(probe)]
    if not slow:
        return "", ""
    means = {name: fmean(parts[name] for parts in slow) for name in _HELP}
    total_s = sum(means.values()) or 1.0
    largest = max(means, key=lambda name: means[name])
    saved = (
        f"; a nearer region would save at most {fmt.seconds(means['network'])}"
        if largest != "network" and trip.seconds is not None
        else ""
    )
    return (
        largest,
        f": {fmt.percent(means[largest] / total_s)} of it is {PARTS[largest][0]}, so {_HELP[largest]}{saved}",
    )
