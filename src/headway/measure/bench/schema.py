"""What `headway bench` found, whole: `Bench`, and as JSON. docs/measuring.md explains it field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from headway.measure.bench.definitions import Tool, in_terms_of
from headway.measure.bench.figures import Figures, figures_of
from headway.measure.bench.run_types import Found, Run, Slo
from headway.measure.bench.self_check import doubts
from headway.measure.bench.terms import Term
from headway.measure.bench.verdict import Verdict, verdict_of

__all__ = ["VERSION", "Bench", "Highest", "InTerms", "Settings", "bench_of"]

VERSION = 1
"""Of the JSON: raised when a field changes its meaning or goes; new fields do not raise it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the figures are made of the runs; nothing of it changes what is sent."""

    slo: Slo | None = None
    use_case: Literal["chat", "autocomplete", "assistant", "batch"] | None = None
    definitions: Tool | None = None
    """Whose terms the runs are given in besides; None: our own alone."""
    tls: bool = True


class InTerms(msgspec.Struct, frozen=True, kw_only=True):
    """One row in another tool's terms."""

    target: str
    load: str
    tool: Tool
    terms: tuple[Term, ...]
    differs: tuple[str, ...]


class Highest(msgspec.Struct, frozen=True, kw_only=True):
    """What --find-max found for one target."""

    target: str
    rate_per_s: float | None
    """The highest rate that kept the SLO; None: not even the lowest that was tried did."""
    bounded: bool
    """Whether a higher rate was seen to fail."""
    tried: tuple[tuple[float, float, bool], ...]
    """(requests/s, share that kept the SLO, whether that was enough), in the order in which they were tried."""
    sentence: str


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of one call of `headway bench`."""

    version: int = VERSION
    asked: Mapping[str, str] = {}
    """What it was told, in words."""
    slo: Slo | None = None
    rows: tuple[Figures, ...] = ()
    """One a target and load."""
    verdicts: tuple[Verdict, ...] = ()
    """One a load, where there are several targets."""
    highest: tuple[Highest, ...] = ()
    in_terms: tuple[InTerms, ...] = ()
    notes: tuple[str, ...] = ()
    """What holds for all rows, a sentence each."""


def bench_of(
    loads: Sequence[Sequence[Run]],
    settings: Settings,
    *,
    asked: Mapping[str, str] | None = None,
    found: Mapping[str, Found] | None = None,
    notes: Sequence[str] = (),
) -> Bench:
    """Everything that is to be said of some runs.

    Args:
        loads: The runs of each load, those of one load in the same order of targets.
        settings: How.
        asked: What it was told, for the report.
        found: By target, what --find-max found.
        notes: More of them.
    """
    rows, verdicts, terms = [], [], []
    for runs in loads:
        figures = [figures_of(run, slo=settings.slo, use_case=settings.use_case, tls=settings.tls) for run in runs]
        figures = [
            msgspec.structs.replace(one, notes=_once((*one.notes, *doubts(run))))
            for run, one in zip(runs, figures, strict=True)
        ]
        rows += figures
        verdict = verdict_of(runs, figures)
        if verdict is not None:
            verdicts.append(verdict)
        if settings.definitions is not None:
            terms += [_terms(run, settings.definitions, settings.slo) for run in runs]
    return Bench(
        asked=asked or {},
        slo=settings.slo,
        rows=tuple(rows),
        verdicts=tuple(verdicts),
        highest=tuple(_highest(name, one) for name, one in (found or {}).items()),
        in_terms=tuple(terms),
        notes=tuple(notes),
    )


def _once(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def _terms(run: Run, tool: Tool, slo: Slo | None) -> InTerms:
    found = in_terms_of(tool, run.probes, duration_s=run.duration_s, slo=slo)
    return InTerms(target=run.target, load=run.load.label, tool=tool, terms=found.terms, differs=found.differs)


def _highest(target: str, found: Found) -> Highest:
    tried = tuple((trial.rate_per_s, trial.share, trial.kept) for trial in found.trials)
    return Highest(
        target=target, rate_per_s=found.rate_per_s, bounded=found.bounded, tried=tried, sentence=found.sentence
    )
