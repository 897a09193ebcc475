"""Choosing among candidates on some rows, and confirming the choice on others.

Trying twelve rewrites on the same rows and keeping the best keeps the luckiest. So the rows are divided: on one part a
candidate only has to look no worse; what gets through is compared again, against the original, on rows that nobody has
looked at, with an alpha that is shared by all that are confirmed: the first gets half of it, the next half of the rest,
the last one what is left. A worse rewrite is kept with at most that chance, however many were tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import msgspec

from headway.measure.compare.comparison import Comparison
from headway.measure.compare.told import RIGHT_MIN, RIGHT_ROWS_MIN
from headway.measure.rewrite.candidates import Candidate
from headway.measure.rewrite.comparisons import Comparisons
from headway.measure.rewrite.settings import Engines, Row, Told, TrySettings
from headway.measure.rewrite.taskedit import TaskText
from headway.measure.stats import MetricFinding

__all__ = ["Choice", "Tried", "between", "choose", "looks_worse", "why_not"]

Stage = Literal["guard", "choose", "confirm", "kept", "untried"]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate, how far it came, and why no further."""

    candidate: Candidate
    stage: Stage
    why: str
    """One sentence."""
    chosen: Comparison | None = None
    """On the rows to choose with."""
    confirmed: Comparison | None = None
    """On the rows that were held out."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all candidates."""

    tried: tuple[Tried, ...]
    dollars: float
    stopped: Literal["found", "exhausted", "money", "looks", "original"]
    """"original": that one is right too seldom to be held to."""

    @property
    def kept(self) -> Tried | None:
        """The one that holds."""
        return next((one for one in self.tried if one.stage == "kept"), None)

    @property
    def open(self) -> bool:
        """Whether more rows or money might have kept one."""
        return self.stopped in ("money", "looks", "original") or any(
            one.confirmed is not None and one.confirmed.findings.quality.not_inferior is None for one in self.tried
        )


async def choose(
    text: TaskText,
    candidates: Sequence[Candidate],
    rows: tuple[Sequence[Row], Sequence[Row]],
    settings: TrySettings,
    *,
    spent_usd: float = 0.0,
    engines: Engines | None = None,
    told: Told | None = None,
) -> Choice:
    """Try candidates in their order until one is confirmed.

    Args:
        text: The task as it is.
        candidates: Those the guard let pass, the one that is wanted most first.
        rows: To choose with, and to confirm with; see `divided`.
        settings: How.
        spent_usd: What of the money is gone.
        engines: As in `compare`.
        told: Is told of every step.
    """
    comparisons = Comparisons(settings, engines, told, spent_usd)
    chooser = _Chooser(text, rows, settings, comparisons)
    tried: list[Tried] = []
    for place, candidate in enumerate(candidates):
        stopped = chooser.stopped(place)
        if stopped:
            why = "not tried: " + ("the money was used up" if stopped == "money" else "enough were tried before it")
            tried += [Tried(candidate=one, stage="untried", why=why) for one in candidates[place:]]
            return Choice(tried=tuple(tried), dollars=comparisons.spent_usd, stopped=stopped)
        tried.append(await chooser.attempt(candidate))
        if chooser.wrong:
            tried += [
                Tried(candidate=one, stage="untried", why=f"not tried: {chooser.wrong}")
                for one in candidates[place + 1 :]
            ]
            return Choice(tried=tuple(tried), dollars=comparisons.spent_usd, stopped="original")
        if tried[-1].stage == "kept":
            why = "not tried: a shorter one holds"
            tried += [Tried(candidate=one, stage="untried", why=why) for one in candidates[place + 1 :]]
            return Choice(tried=tuple(tried), dollars=comparisons.spent_usd, stopped="found")
    broke = comparisons.broke
    return Choice(tried=tuple(tried), dollars=comparisons.spent_usd, stopped="money" if broke else "exhausted")


class _Chooser:
    def __init__(
        self,
        text: TaskText,
        rows: tuple[Sequence[Row], Sequence[Row]],
        settings: TrySettings,
        comparisons: Comparisons,
    ) -> None:
        self._text, self._settings, self._comparisons = text, settings, comparisons
        self._original = text.variant("original")
        self._choose, self._confirm = rows
        self._confirms = 0
        self._alpha_left = settings.alpha
        self.wrong = ""
        """Why the original cannot be the yardstick; "" when it can."""

    def stopped(self, place: int) -> Literal["money", "looks", ""]:
        """Why no more can be tried; "" if it can."""
        if self._comparisons.broke:
            return "money"
        return "looks" if self._confirms >= self._settings.confirmed_max or place >= self._settings.tried_max else ""

    async def attempt(self, candidate: Candidate) -> Tried:
        """Choose, then confirm."""
        variant = self._text.changed(candidate.values).variant(candidate.name)
        chosen: Comparison | None = None
        if self._choose:
            chosen = await self._comparisons.compare(self._original, variant, self._choose)
            if chosen.stopped == "money":
                return Tried(
                    candidate=candidate, stage="untried", why="not tried: the money was used up", chosen=chosen
                )
            if self._is_wrong(chosen):
                return Tried(candidate=candidate, stage="untried", why=f"not tried: {self.wrong}", chosen=chosen)
            if why := looks_worse(chosen, self._settings.margin):
                self._comparisons.say(f"{candidate.name}: {why}")
                return Tried(candidate=candidate, stage="choose", why=why, chosen=chosen)
        self._confirms += 1
        last = self._confirms == self._settings.confirmed_max
        alpha = self._alpha_left if last else self._alpha_left / 2
        self._alpha_left -= alpha
        confirmed = await self._comparisons.compare(
            self._original, variant, self._confirm, alpha=alpha, aa=self._confirms == 1
        )
        if self._is_wrong(confirmed):
            return Tried(candidate=candidate, stage="confirm", why=self.wrong, chosen=chosen, confirmed=confirmed)
        if confirmed.not_inferior and not _worse(confirmed):
            self._comparisons.say(f"{candidate.name}: holds")
            return Tried(candidate=candidate, stage="kept", why=confirmed.sentence, chosen=chosen, confirmed=confirmed)
        why = why_not(confirmed, self._settings.margin)
        self._comparisons.say(f"{candidate.name}: {why}")
        return Tried(candidate=candidate, stage="confirm", why=why, chosen=chosen, confirmed=confirmed)

    def _is_wrong(self, found: Comparison) -> bool:
        """Whether the original is right so seldom that being no worse than it says nothing."""
        quality = found.findings.quality
        if quality.rows >= RIGHT_ROWS_MIN and quality.a is not None and quality.a < RIGHT_MIN:
            self.wrong = f"the original is right on {quality.a:.0%} of {quality.rows} rows only"
            self._comparisons.say(self.wrong)
        return bool(self.wrong)


def looks_worse(found: Comparison, margin: float) -> str:
    """Why a candidate is not worth confirming; "" when it is: a look at few rows, and no proof of anything.

    Worse by the margin and one standard error more: of those that are as good as the original, one in six at most is
    turned away here.
    """
    quality = found.findings.quality
    if quality.rows == 0 or quality.a is None or quality.b is None:
        return "quality could not be judged on any row"
    if worse := _worse(found):
        return worse
    drop = quality.a - quality.b
    error = sqrt(quality.only_a + quality.only_b) / quality.rows
    if quality.not_inferior is False or drop > margin + error:
        open_ = "" if quality.not_inferior is False else ", open"
        return f"{_points(drop)} points worse on {quality.rows} rows{between(found, ' (', ')')}{open_}"
    return ""


def between(found: Comparison, before: str, after: str) -> str:
    """The interval of the difference in quality, in points, between two pieces of text; "" where there is none."""
    interval = found.findings.quality.difference
    if interval is None:
        return ""
    return f"{before}{_signed(interval.low)} to {_signed(interval.high)} points{after}"


def why_not(found: Comparison, margin: float) -> str:
    """Why a confirmation did not confirm."""
    quality = found.findings.quality
    if found.stopped == "money":
        return "open: the money ran out while it was compared"
    if quality.not_inferior is False:
        return f"worse by more than {_points(margin)} points on {quality.rows} rows that were held out"
    if worse := _worse(found):
        return f"{worse} on the rows that were held out"
    low = quality.difference.low if quality.difference is not None else None
    seen = "" if low is None else f"; it may be {_points(-low)} points worse"
    more = found.findings.rows_more
    need = f", and about {more:,} more rows would tell" if more else ""
    return f"open on {quality.rows} rows that were held out{seen}{need}"


def _worse(found: Comparison) -> str:
    """What else became worse: shorter text that makes for longer answers, or repairs, has won nothing."""
    for name, why in (("failures", "it fails more often"), ("dollars", "it costs more"), ("latency", "it is slower")):
        metric = found.findings.metric(name)
        if metric is not None and metric.verdict == "worse":
            return why + _by(metric)
    return ""


def _by(metric: MetricFinding) -> str:
    """By how much, with the interval and the rows that it rests on."""
    if metric.ratio is not None:
        low, high = sorted((metric.ratio.low - 1, metric.ratio.high - 1))
        return f" ({low:+.0%} to {high:+.0%}, {metric.rows} rows)"
    if metric.difference is not None:
        return f" ({_signed(metric.difference.low)} to {_signed(metric.difference.high)} points, {metric.rows} rows)"
    return ""


def _points(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0")


def _signed(share: float) -> str:
    return f"{share * 100:+.1f}".removesuffix(".0")
