"""The latency equation of a run: where the time of an answer went.

    total = our wait + connecting + network + provider before the first token + thinking + generation + closing
    TTFT  = our wait + connecting + network + provider [+ thinking]
    TTLT  = TTFT + (tokens - 1) * time per output token

The clocks of a probe are measured; what lies between sending and the first token is measured as one, and parted by the
network's round trip, which is derived: nobody outside the provider can see both of its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Literal

import msgspec

from headway.measure.probe import Probe
from headway.report import format as fmt

__all__ = [
    "PARTS",
    "RESIDUAL_MAX",
    "Equation",
    "Part",
    "RoundTrip",
    "countable",
    "equation_of",
    "parts_of",
    "round_trip_of",
    "tpot_s",
    "visible_tokens",
]

PARTS = {
    "wait": ("our wait", "measured: from the intended start until the request was about to be sent, less connecting"),
    "connect": ("connecting", "measured: name look-up, TCP and TLS; nothing where a kept connection was used"),
    "network": ("network", "derived: one round trip"),
    "provider": ("queue and prompt", "derived: from sending to the first token, less the network"),
    "thinking": ("thinking", "measured: from the first reasoning token to the first token of the answer"),
    "generation": ("generation", "measured: from the first to the last token of the answer"),
    "closing": ("closing", "measured: from the last token to the end of the stream"),
}
"""Part -> (what it is called, how it is known), in the order in which they happen."""

_TO_FIRST = ("wait", "connect", "network", "provider", "thinking")
_CHECKED_MIN = 3
"""The medians of one answer are that answer: it would always hold."""
RESIDUAL_MAX = 0.05
"""Beyond this share of the total, the product of the medians does not describe the run."""


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True):
    """The network's round trip. None: nothing told it."""

    seconds: float | None = None
    source: Literal["header", "connect", ""] = ""
    """"header": time to the first byte less what the provider says it worked; "connect": opening a connection."""
    samples: int = 0
    told: str = ""
    """How it is known, in a sentence."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One addend, as a mean, since means add up and medians do not."""

    name: str
    """A key of `PARTS`."""
    label: str
    mean_s: float
    share: float
    """Of the mean total, 0 to 1."""
    share_of_ttft: float | None = None
    """None for what comes after the first token."""
    known: str
    """"measured: ..." or "derived: ..."."""


class Equation(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answers that streamed, came from the provider, and took one try."""

    answers: int = 0
    """How many it is made of; 0: there were none, and nothing else is said."""
    parts: tuple[Part, ...] = ()
    total_mean_s: float | None = None
    ttft_mean_s: float | None = None
    round_trip: RoundTrip = RoundTrip()
    tokens: float | None = None
    """Median of visible output tokens."""
    tpot_s: float | None = None
    """Median time per output token."""
    predicted_s: float | None = None
    """TTFT + (tokens - 1) * TPOT, of the three medians."""
    measured_s: float | None = None
    """Median time to the last token."""
    residual: float | None = None
    """(measured - predicted) / measured; near 0 where the equation describes the run."""
    check: str = ""
    """The same in a sentence."""


def visible_tokens(probe: Probe) -> int | None:
    """Output tokens of the answer proper, reasoning left out; None where usage is unknown or says there were none."""
    if probe.usage is None:
        return None
    tokens = probe.usage.output_tokens - probe.usage.reasoning_tokens
    return tokens if tokens > 0 else None


def tpot_s(probe: Probe) -> float | None:
    """Seconds per output token after the first: first to last token of the answer, over the tokens less one.

    None for whole answers, below two tokens, without usage, and where everything came at one moment.
    """
    first_s, last_s, tokens = probe.first_answer_s, probe.last_content_s, visible_tokens(probe)
    if not probe.streamed or first_s is None or last_s is None or tokens is None or tokens < 2 or last_s <= first_s:
        return None
    return (last_s - first_s) / (tokens - 1)


def countable(probe: Probe) -> bool:
    """Whether the equation can be written for this one: a stream, from the provider, in one try, all clocks there."""
    return (
        probe.answered
        and probe.streamed
        and probe.attempts <= 1
        and probe.sent_s is not None
        and probe.first_answer_s is not None
        and probe.last_content_s is not None
    )


def round_trip_of(probes: Sequence[Probe], *, tls: bool) -> RoundTrip:
    """The network's round trip, from what a run saw of it.

    The provider's header is asked first: time to the first byte less the time it says it worked is what the network
    took. Else opening a connection is: TCP takes one round trip, TLS 1.3 another one on top.

    Args:
        probes: With those of the warm-up, which opened most connections.
        tls: Whether the connections were encrypted.
    """
    told = [
        probe.first_byte_s - probe.sent_s - probe.provider_processing_s
        for probe in probes
        if probe.first_byte_s is not None
        and probe.sent_s is not None
        and probe.provider_processing_s is not None
        and probe.attempts <= 1
    ]
    if told and median(told) >= 0:
        return RoundTrip(
            seconds=median(told),
            source="header",
            samples=len(told),
            told="the median of time to the first byte less what the provider's header says it worked",
        )
    opened = [probe.connect_s for probe in probes if probe.connect_s is not None and probe.connect_s > 0]
    if not opened:
        return RoundTrip(told="no connection was opened while it was measured, and no header tells it")
    how = "half of" if tls else ""
    return RoundTrip(
        seconds=min(opened) / (2 if tls else 1),
        source="connect",
        samples=len(opened),
        told=f"{how} the quickest opening of a connection ({'TCP and TLS' if tls else 'TCP'})".strip(),
    )


def parts_of(probe: Probe, round_trip: RoundTrip) -> dict[str, float]:
    """The addends of one answer that is `countable`, in seconds; they add up to its total."""
    sent_s, first_s, last_s = probe.sent_s, probe.first_answer_s, probe.last_content_s
    assert sent_s is not None  # that is what countable means
    assert first_s is not None
    assert last_s is not None
    connect_s = min(probe.connect_s or 0.0, max(0.0, sent_s - probe.intended_s))
    thought_s = first_s if probe.first_reasoning_s is None else probe.first_reasoning_s
    thinking_from_s = min(max(thought_s, sent_s), first_s)
    until_first_s = max(0.0, thinking_from_s - sent_s)
    network_s = min(round_trip.seconds or 0.0, until_first_s)
    return {
        "wait": max(0.0, sent_s - probe.intended_s - connect_s),
        "connect": connect_s,
        "network": network_s,
        "provider": until_first_s - network_s,
        "thinking": first_s - thinking_from_s,
        "generation": last_s - first_s,
        "closing": max(0.0, probe.end_s - last_s),
    }


def equation_of(probes: Sequence[Probe], *, warmup: Sequence[Probe] = (), tls: bool = True) -> Equation:
    """The equation of a run.

    Args:
        probes: Those that count.
        warmup: Those that do not: their connections tell the round trip, nothing else of them is used.
        tls: Whether the connections were encrypted.
    """
    good = [probe for probe in probes if countable(probe)]
    trip = round_trip_of([*warmup, *probes], tls=tls)
    if not good:
        return Equation(round_trip=trip)
    each = [parts_of(probe, trip) for probe in good]
    means = {name: fmean(parts[name] for parts in each) for name in PARTS}
    total_s = sum(means.values())
    ttft_s = sum(means[name] for name in _TO_FIRST)
    parts = tuple(
        Part(
            name=name,
            label=label,
            mean_s=means[name],
            share=means[name] / total_s if total_s > 0 else 0.0,
            share_of_ttft=means[name] / ttft_s if ttft_s > 0 and name in _TO_FIRST else None,
            known=_known(name, known, trip),
        )
        for name, (label, known) in PARTS.items()
    )
    base = Equation(answers=len(good), parts=parts, total_mean_s=total_s, ttft_mean_s=ttft_s, round_trip=trip)
    return _checked(base, good)


def _known(name: str, known: str, trip: RoundTrip) -> str:
    if name == "network":
        return f"derived: {trip.told}" if trip.seconds is not None else f"unknown: {trip.told}"
    if name == "provider" and trip.seconds is None:
        return "measured: from sending to the first token, the network among it"
    return known


def _checked(equation: Equation, good: Sequence[Probe]) -> Equation:
    """The equation with its check: whether TTFT + (n - 1) * TPOT gives the time to the last token."""
    rates = [(probe, rate) for probe in good if (rate := tpot_s(probe)) is not None]
    if len(rates) < _CHECKED_MIN:
        return msgspec.structs.replace(
            equation, check=f"It takes {_CHECKED_MIN} answers with usage, of two tokens or more, to check the equation."
        )
    ttft_s = median(probe.ttft_s or 0.0 for probe, _ in rates)
    tokens = float(median(visible_tokens(probe) or 0 for probe, _ in rates))
    per_token_s = median(rate for _, rate in rates)
    measured_s = median((probe.last_content_s or 0.0) - probe.intended_s for probe, _ in rates)
    predicted_s = ttft_s + (tokens - 1) * per_token_s
    residual = (measured_s - predicted_s) / measured_s if measured_s > 0 else 0.0
    if abs(residual) <= RESIDUAL_MAX:
        check = f"TTFT + (tokens - 1) x TPOT gives the time to the last token to {fmt.percent(abs(residual))}."
    else:
        check = (
            f"TTFT + (tokens - 1) x TPOT of the medians is {fmt.percent(abs(residual))} "
            f"{'below' if residual > 0 else 'above'} the median time to the last token: answers differ much in length "
            "or pace, so judge them by the distributions."
        )
    return msgspec.structs.replace(
        equation,
        tokens=tokens,
        tpot_s=per_token_s,
        predicted_s=predicted_s,
        measured_s=measured_s,
        residual=residual,
        check=check,
    )
