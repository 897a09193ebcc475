"""What one target's part of a run has come to, while it goes on and in the end."""

from __future__ import annotations

from array import array
from collections import deque

import msgspec

from headway.measure.bench.clock import Late, variation
from headway.measure.bench.run_types import Lag, Load, OwnError, Run, Skipped, Target
from headway.measure.probe import Probe
from headway.measure.probing import IGNORED, ODD_PRICE

__all__ = ["GAPS_MAX", "Lane", "Setting"]

GAPS_MAX = 4_000_000
"""Gaps between content events that a target's run keeps; requests after that have none. 32 bytes each."""
LATE_NOTE_S = 0.001
WAITED = "concurrency_max others were under way when they were due, and their turn did not come"
SPENT = "the cap on spending was reached, so they were not sent"
STOPPED = "they were under way when the run was stopped"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the targets of a run share."""

    load: Load
    targets: int
    origin_s: float
    began_wall_s: float
    loop_lag: Lag
    own_error: OwnError | None
    cancelled: bool
    due_s: array[float] | None
    """The schedule's moments that count; None for closed loops."""


class Lane:
    """One target's requests."""

    __slots__ = (
        "counting", "gaps", "late", "probes", "skipped", "starts_s", "target", "under_way", "waiting", "warmup",
    )  # fmt: skip

    def __init__(self, target: Target) -> None:
        self.target = target
        self.probes: list[Probe] = []
        self.warmup: list[Probe] = []
        self.starts_s = array("d")
        self.late = Late()
        self.skipped: dict[str, int] = {}
        self.under_way = 0
        self.counting = 0
        """Of those under way, the requests that count."""
        self.waiting: deque[tuple[int, float]] = deque()
        """Due and not started: index and moment. Bounded by the schedule."""
        self.gaps = 0

    def started(self, intended_s: float, now_s: float) -> None:
        """A request that counts goes out."""
        self.starts_s.append(now_s)
        self.late.add(now_s - intended_s)

    def skip(self, reason: str, requests: int = 1) -> None:
        """Requests that count will not be started."""
        if requests:
            self.skipped[reason] = self.skipped.get(reason, 0) + requests

    def stopped(self, warmup: int) -> None:
        """It ends early: what is under way or waits, but for the first `warmup` requests, was due all the same."""
        self.skip(STOPPED, self.counting)
        self.skip(WAITED, sum(index >= warmup for index, _ in self.waiting))
        self.under_way = self.counting = 0
        self.waiting.clear()

    def ended(self, probe: Probe, *, counted: bool) -> None:
        """A request has ended, one way or another."""
        (self.probes if counted else self.warmup).append(probe)
        self.gaps += len(probe.gaps_s)

    def run(self, setting: Setting) -> Run:
        """Summed up."""
        probes = sorted(self.probes, key=lambda probe: probe.index)
        starts_s, due_s = self.starts_s, setting.due_s
        reached_s = None if due_s is None else due_s[: len(probes) + sum(self.skipped.values())]
        began_s = min((probe.intended_s for probe in probes), default=0.0)
        run = Run(
            target=self.target.name,
            model=self.target.model or self.target.name,
            load=setting.load,
            probes=tuple(probes),
            warmup=tuple(self.warmup),
            skipped=tuple(Skipped(reason=reason, count=count) for reason, count in self.skipped.items()),
            duration_s=max((probe.end_s for probe in probes), default=0.0) - began_s,
            asked_rate_per_s=None if reached_s is None else _rate(reached_s),
            achieved_rate_per_s=_rate(starts_s),
            asked_cv=None if reached_s is None else variation(reached_s),
            achieved_cv=None if reached_s is None else variation(starts_s),
            start_lag=self.late.lag(),
            loop_lag=setting.loop_lag,
            own_error=setting.own_error,
            began_wall_s=setting.began_wall_s,
            origin_s=setting.origin_s,
            cancelled=setting.cancelled,
        )
        return msgspec.structs.replace(run, notes=tuple(_notes(run, setting, gaps=self.gaps)))


def _rate(moments_s: array[float]) -> float | None:
    taken_s = moments_s[-1] - moments_s[0] if len(moments_s) > 1 else 0.0
    return (len(moments_s) - 1) / taken_s if taken_s > 0 else None


def _notes(run: Run, setting: Setting, *, gaps: int) -> list[str]:
    """What whoever reads the figures has to know."""
    load, probes, notes = run.load, run.probes, []
    sent = len(probes)
    if run.cancelled:
        notes.append(f"The run was stopped early: these are the {sent} requests that had ended by then.")
    if not run.warmup and sent:
        notes.append("There was no warm-up: the first requests carry what opening connections takes.")
    notes += [
        f"{one.count} of {run.due} requests have no answer: {one.reason}. Latencies leave them out."
        for one in run.skipped
    ]
    if not load.closed and run.start_lag.p99_s > LATE_NOTE_S and max(load.concurrency_max, 1) <= _most(probes):
        notes.append(
            f"Requests waited for one of {load.concurrency_max} places (concurrency_max): that is in their latency."
        )
    elif not load.closed and run.start_lag.p99_s > 5 * LATE_NOTE_S:
        notes.append(
            f"This process was up to {run.start_lag.p99_s * 1e3:.1f} ms late to start requests (p99): it was busy."
        )
    if load.closed and setting.targets > 1:
        notes.append(
            "Targets were asked in rounds, so the slowest one sets the pace: throughput needs a run of its own."
        )
    notes += _counted(probes)
    if gaps >= GAPS_MAX:
        notes.append("Gaps between tokens were kept of the first requests only, to bound memory.")
    return notes


def _counted(probes: tuple[Probe, ...]) -> list[str]:
    """What is missing in the answers themselves."""
    good = [probe for probe in probes if probe.answered]
    ignored = sum(probe.note == IGNORED for probe in good)
    odd = sum(probe.note == ODD_PRICE for probe in probes)
    unknown = sum(probe.usage is None for probe in good)
    paced = sum(probe.wait_s > LATE_NOTE_S for probe in probes)
    retried = sum(probe.attempts > 1 for probe in probes)
    told = (
        (odd, len(probes), "requests have a price that is no number: what they cost is unknown."),
        (ignored, len(good), "answers came whole although a stream was asked for: they have no time to first token."),
        (
            unknown,
            len(good),
            "answers said nothing of their tokens (no usage): they are in no figure that counts tokens.",
        ),
        (
            paced,
            len(probes),
            "requests waited in this process for the provider's limits; that is part of their latency.",
        ),
        (retried, len(probes), "requests took more than one try; their times hold all of them."),
    )
    return [f"{number} of {of} {text}" for number, of, text in told if number]


def _most(probes: tuple[Probe, ...]) -> int:
    """How many were under way at once, at most."""
    edges = [(probe.started_s, 1) for probe in probes] + [(probe.end_s, -1) for probe in probes]
    most = now = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    return most
