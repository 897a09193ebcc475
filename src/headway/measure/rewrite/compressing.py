"""`headway compress`: the shortest version of a prompt's fixed text that is not inferior on rows.

Guard first, which is free; then candidates from the shortest to the longest, chosen on some rows and confirmed on
others (`choosing`); the first that holds is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from headway.measure.compare.comparison import Comparison
from headway.measure.rewrite.candidates import Candidate, by_rules, fixed_tokens, spread_out
from headway.measure.rewrite.choosing import Choice, Tried, choose
from headway.measure.rewrite.settings import Engines, Row, Told, TrySettings, demand_check, divided
from headway.measure.rewrite.taskedit import TaskText, unified
from headway.measure.rewrite.writing import Writer, write
from headway.wire.prices import Prices

__all__ = ["Compressed", "compress", "diff_of"]


class Compressed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Tokens are those of the fixed text, counted as the model's tokenizer would or estimated."""

    before: TaskText
    after: TaskText | None
    """None: nothing shorter holds."""
    model: str
    tokens_before: int
    tokens_after: int
    tried: tuple[Tried, ...]
    dollars: float
    dollars_writing: float
    rows_choose: int
    rows_confirm: int
    stopped: Literal["found", "exhausted", "money", "looks", "original", "nothing"]
    """"original": that one is right too seldom to be a yardstick."""
    open: bool = False
    """Nothing was kept, and more rows or money might have changed that."""
    notes: tuple[str, ...] = ()
    """What is worth a look all the same."""

    @property
    def comparison(self) -> Comparison | None:
        """Original against what was kept, on rows that were held out."""
        return next((one.confirmed for one in self.tried if one.stage == "kept"), None)

    @property
    def saved(self) -> float:
        """The share of the fixed text's tokens that is gone, 0 to 1."""
        return 1 - self.tokens_after / self.tokens_before if self.tokens_before else 0.0

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        kept = next((one for one in self.tried if one.stage == "kept"), None)
        if kept is not None:
            return (
                f"{self.tokens_before:,} -> {self.tokens_after:,} tokens of fixed text ({self.saved:.0%} less, "
                f"{kept.candidate.name}), confirmed on {kept.confirmed.rows if kept.confirmed else 0:,} rows that were "
                f"held out. {kept.why}"
            )
        if not self.tried:
            return f"Nothing to shorten: no rule finds anything in {self.tokens_before:,} tokens of fixed text."
        if all(one.stage == "guard" for one in self.tried):
            return "Nothing was kept: every candidate lost something that a rewrite must keep."
        if self.stopped == "original":
            why = next(one.why.removeprefix("not tried: ") for one in self.tried if one.chosen or one.confirmed)
            return f"Nothing was kept: {why}, and a prompt that does not work cannot be the yardstick."
        if self.open:
            last = next((one.why for one in reversed(self.tried) if one.stage == "confirm"), "the money ran out")
            return f"Nothing was kept, but that is not the last word: {last}."
        return "Nothing was kept: every shorter version answers worse, or may do so."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        comparison = self.comparison
        return {
            "schema": 1,
            "file": str(self.before.path),
            "model": self.model,
            "kept": self.after is not None,
            "sentence": self.sentence,
            "tokens_before": self.tokens_before,
            "tokens_after": self.tokens_after,
            "saved": self.saved,
            "notes": list(self.notes),
            "stopped": self.stopped,
            "open": self.open,
            "dollars": self.dollars,
            "dollars_writing": self.dollars_writing,
            "rows_choose": self.rows_choose,
            "rows_confirm": self.rows_confirm,
            "candidates": [_plain(one) for one in self.tried],
            "comparison": comparison.to_dict() if comparison is not None else None,
            "text": output_of(self.after) if self.after is not None else None,
            "diff": diff_of(self.before, self.after) if self.after is not None else "",
        }


async def compress(
    text: TaskText,
    rows: Sequence[Row],
    settings: TrySettings,
    *,
    writer: Writer | None = None,
    engines: Engines | None = None,
    told: Told | None = None,
) -> Compressed:
    """Find the shortest version that holds.

    Args:
        text: The task.
        rows: Rows with right answers; a part of them is held out until the end.
        settings: How, and for how much.
        writer: Who writes drafts beside the rules; None: nobody.
        engines: As in `compare`.
        told: Is told of every step.

    Raises:
        ConfigError: The task or a setting is wrong, or nothing says what a right answer is.
        InputError: There are too few rows.
    """
    task = text.variant().task
    demand_check(task, settings, str(text.path))
    before = fixed_tokens(text, task)
    parts = divided(rows, seed=settings.seed, needed=task.columns)
    ruled = by_rules(text)
    base = text.changed(ruled[-1].values) if ruled else text
    drafts: list[Candidate] = []
    writing = 0.0
    if writer is not None:
        cap = writer if writer.usd_max is not None else replace(writer, usd_max=settings.usd_max)
        drafts, writing = await write(text, base, cap, engines or settings.engines(lambda: cap.usd_max))
        if told is not None:
            told(f"{len(drafts)} drafts written, {sum(not one.problems for one in drafts)} pass the guard", writing)
    refused = [Tried(candidate=one, stage="guard", why=_because(one)) for one in drafts if one.problems]
    candidates = spread_out([*ruled, *(one for one in drafts if not one.problems)], before)
    choice = Choice(tried=(), dollars=writing, stopped="exhausted")
    if candidates:
        choice = await choose(text, candidates, parts, settings, spent_usd=writing, engines=engines, told=told)
    kept = choice.kept
    return Compressed(
        before=text,
        after=text.changed(kept.candidate.values) if kept is not None else None,
        model=task.model,
        tokens_before=before,
        tokens_after=kept.candidate.tokens if kept is not None else before,
        tried=(*refused, *choice.tried),
        dollars=choice.dollars,
        dollars_writing=writing,
        rows_choose=len(parts[0]),
        rows_confirm=len(parts[1]),
        stopped=choice.stopped if candidates else "nothing",
        open=kept is None and choice.open,
        notes=_notes(
            task.model, asked=any(one.chosen or one.confirmed for one in choice.tried), stopped=choice.stopped
        ),
    )


def _notes(model: str, *, asked: bool, stopped: str) -> tuple[str, ...]:
    """What may be wrong with what was given."""
    if stopped == "original":
        return ("See whether the prompt, the model and the column with right answers belong together.",)
    if not asked and Prices().rates(model) is None:
        return (f"The model {model!r} has no known price, and nothing was asked: is its name spelled right?",)
    return ()


def output_of(text: TaskText) -> str:
    """What is written: the task file, or for a plain prompt its text alone."""
    return str(text.value(text.plain)) if text.plain else text.text


def diff_of(before: TaskText, after: TaskText) -> str:
    """A unified diff of what is in the file and what would be."""
    return unified(before.path, output_of(before), output_of(after), "shorter")


def _because(candidate: Candidate) -> str:
    more = len(candidate.problems) - 1
    return candidate.problems[0] + (f" (and {more} more)" if more else "")


def _plain(tried: Tried) -> dict[str, Any]:
    one = tried.candidate
    return {
        "name": one.name,
        "how": one.how,
        "tokens": one.tokens,
        "stage": tried.stage,
        "why": tried.why,
        "problems": list(one.problems),
        "choose": tried.chosen.to_dict() if tried.chosen is not None else None,
        "confirm": tried.confirmed.to_dict() if tried.confirmed is not None else None,
    }
