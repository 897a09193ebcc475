"""`headway lint --verify`: which of the suggested changes hold on rows.

All suggestions together are tried first, on some of the rows; only where that looks worse are they halved, and halves
halved, to find those that do it. What is left is compared with the original on the rows that were held out: one
comparison decides about all that is kept, so no chance piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from headway.errors import ConfigError
from headway.measure.compare.comparison import Comparison
from headway.measure.rewrite.choosing import between, looks_worse, why_not
from headway.measure.rewrite.comparisons import Comparisons
from headway.measure.rewrite.settings import Engines, Row, Told, TrySettings, demand_check, divided
from headway.measure.rewrite.taskedit import TaskText
from headway.prompts.lint.findings import Finding
from headway.prompts.lint.run import edited
from headway.prompts.lint.source import Source

__all__ = ["Verdict", "Verified", "suggested", "verify", "verify_command"]

SUGGESTIONS_MAX: Final = 40
"""Tried at once; the rest is left for the next time."""
COMPARES_MAX: Final = 24


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one suggestion."""

    finding: Finding
    kept: bool
    why: str
    """One sentence; "" when it was kept."""
    tried: bool = True
    """False: it comes with no change that could be tried."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all of them."""

    before: TaskText
    after: TaskText | None
    """With all that holds; None: nothing does."""
    verdicts: tuple[Verdict, ...]
    comparison: Comparison | None
    """Original against `after` (or what might have been), on rows that were held out."""
    dollars: float
    rows_choose: int
    rows_confirm: int
    open: bool = False
    """More rows or money may tell."""

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        able = [one for one in self.verdicts if one.tried]
        if not able:
            return "There is nothing to verify: no suggestion comes with a change."
        kept = sum(one.kept for one in able)
        said = f"{kept} of {len(able)} suggestions hold"
        rest = len(self.verdicts) - len(able)
        without = f" {rest} more {'has' if rest == 1 else 'have'} no fix to try." if rest else ""
        if kept and self.comparison is not None:
            return f"{said}.{without} {self.comparison.sentence}{between(self.comparison, ' Quality: ', '.')}"
        return f"{said}{', and more rows or money may tell' if self.open else ''}.{without}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "schema": 1,
            "file": str(self.before.path),
            "sentence": self.sentence,
            "suggestions": [
                {
                    "rule": one.finding.rule,
                    "name": one.finding.name,
                    "kept": one.kept,
                    "why": one.why,
                    "tried": one.tried,
                }
                for one in self.verdicts
            ],
            "dollars": self.dollars,
            "rows_choose": self.rows_choose,
            "rows_confirm": self.rows_confirm,
            "open": self.open,
            "comparison": self.comparison.to_dict() if self.comparison is not None else None,
            "text": self.after.text if self.after is not None else None,
        }


def suggested(findings: Sequence[Finding]) -> list[Finding]:
    """Those that can be tried: of the suggest tier, with a change in the text or among the settings."""
    return [one for one in findings if one.tier == "suggest" and _is_able(one)][:SUGGESTIONS_MAX]


def _is_able(finding: Finding) -> bool:
    return finding.fix is not None or finding.change is not None


def _left(finding: Finding) -> Verdict:
    """The verdict on a suggestion that is not among those that are tried."""
    able = _is_able(finding)
    why = (
        f"not tried: {SUGGESTIONS_MAX} at once are enough; verify again" if able else "no fix to try: it takes a person"
    )
    return Verdict(finding=finding, kept=False, why=why, tried=able)


def with_findings(source: Source, findings: Sequence[Finding]) -> TaskText:
    """The task file with these made. A fix that the guard of lint refuses is left out."""
    after, _ = edited(source, [one.fix for one in findings if one.fix is not None])
    text = TaskText(path=Path(source.file), text=after.raw.removeprefix("\ufeff").replace("\r\n", "\n"))
    changes = {one.change.key: one.change.value for one in findings if one.change is not None}
    return text.changed(changes) if changes else text


async def verify(
    source: Source,
    findings: Sequence[Finding],
    rows: Sequence[Row],
    settings: TrySettings,
    *,
    engines: Engines | None = None,
    told: Told | None = None,
) -> Verified:
    """Find out which suggestions hold.

    Args:
        source: A task, as it was linted.
        findings: What lint found in it; those that cannot be tried are passed over.
        rows: Rows with right answers.
        settings: How, and for how much.
        engines: As in `compare`.
        told: Is told of every step.

    Raises:
        ConfigError: It is no task, or nothing says what a right answer is.
        InputError: There are too few rows.
    """
    if source.kind != "task":
        raise ConfigError(f"{source.file}: only a task file can be verified, for a prompt alone cannot be asked")
    before = with_findings(source, [])
    able = [one for one in suggested(findings) if with_findings(source, [one]).text != before.text]
    task = before.variant().task
    demand_check(task, settings, source.file)
    parts = divided(rows, seed=settings.seed, needed=task.columns)
    comparisons = Comparisons(settings, engines, told)
    verifier = _Verifier(source, before, settings, parts, comparisons)
    good = await verifier.good(able) if able else []
    comparison = await verifier.confirm(good) if good else None
    holds = comparison is not None and comparison.not_inferior
    last = "" if comparison is None or holds else why_not(comparison, settings.margin)
    found = {
        id(one): Verdict(
            finding=one, kept=holds and one in good, why="" if holds and one in good else verifier.why(one) or last
        )
        for one in able
    }
    listed = [one for one in findings if one.tier == "suggest"]
    verdicts = tuple(found.get(id(one)) or _left(one) for one in listed)
    return Verified(
        before=before,
        after=with_findings(source, good) if holds else None,
        verdicts=verdicts,
        comparison=comparison,
        dollars=comparisons.spent_usd,
        rows_choose=len(parts[0]),
        rows_confirm=len(parts[1]),
        open=comparisons.broke or (comparison is not None and comparison.findings.quality.not_inferior is None),
    )


def verify_command(
    source: Source,
    findings: Sequence[Finding],
    rows: Sequence[Row],
    settings: TrySettings,
    *,
    told: Told | None = None,
) -> Verified:
    """`verify` for a command line, in a loop of its own."""
    return asyncio.run(verify(source, findings, rows, settings, told=told))


class _Verifier:
    def __init__(
        self,
        source: Source,
        before: TaskText,
        settings: TrySettings,
        parts: tuple[Sequence[Row], Sequence[Row]],
        comparisons: Comparisons,
    ) -> None:
        self._source, self._settings, self._comparisons = source, settings, comparisons
        self._original = before.variant("original")
        self._parts = parts
        self._why: list[tuple[Finding, str]] = []
        self._compares = 0

    def why(self, finding: Finding) -> str:
        """Why a suggestion is not among the good ones; "" when it is."""
        return next((why for one, why in self._why if one is finding), "")

    async def good(self, findings: Sequence[Finding]) -> list[Finding]:
        """Those that do not look worse on the rows to choose with."""
        return await self._with([], list(findings))

    async def _with(self, kept: list[Finding], more: list[Finding]) -> list[Finding]:
        """As many of `more` as go together with `kept`."""
        if self._comparisons.broke or self._compares >= COMPARES_MAX:
            self._why += [(one, "not tried: the money or the tries were used up") for one in more]
            return kept
        why = await self._looks_worse([*kept, *more])
        if not why:
            return [*kept, *more]
        if len(more) == 1:
            self._why.append((more[0], why))
            return kept
        half = len(more) // 2
        return await self._with(await self._with(kept, more[:half]), more[half:])

    async def _looks_worse(self, findings: Sequence[Finding]) -> str:
        found = await self._compare(findings, self._parts[0], aa=False)
        if found.stopped == "money":
            return "not tried: the money was used up"
        why = looks_worse(found, self._settings.margin)
        self._comparisons.say(f"{len(findings)} suggestions together: {why or 'no worse'}")
        return why

    async def confirm(self, findings: Sequence[Finding]) -> Comparison:
        """On the rows that were held out."""
        return await self._compare(findings, self._parts[1], aa=True)

    async def _compare(self, findings: Sequence[Finding], rows: Sequence[Row], *, aa: bool) -> Comparison:
        self._compares += 1
        variant = with_findings(self._source, findings).variant("with suggestions")
        return await self._comparisons.compare(self._original, variant, rows, aa=aa)
