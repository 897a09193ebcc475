"""How well lint finds what the corpus is labelled with. Shared by the tests and `bench/bench_lint.py`.

The corpus is `lint_corpus/`: prompts and tasks written for it, with the faults that were put into them in `labels.json`
(file -> part, and rule -> lines; line 0 is a fault of the settings). Labels were written before the rules were tuned.
The part "held_out" was not looked at while that was done; one of its labels ("resume.txt", which of two empty lines is
the surplus one) was moved by a line afterwards, to where the others have it. Rules of the auto tier are scored by line,
the others by file, since where exactly a near-duplicate begins is a matter of taste.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from headway.prompts.lint.registry import RULES
from headway.prompts.lint.run import lint_task
from headway.prompts.lint.source import read_source

CORPUS = Path(__file__).parent / "lint_corpus"
AUTO = tuple(rule.id for rule in RULES if rule.tier == "auto")


class Score(NamedTuple):
    """Faults found, found where there are none, and missed."""

    right: int
    extra: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of the findings that are faults; None without findings."""
        return self.right / (self.right + self.extra) if self.right + self.extra else None

    @property
    def recall(self) -> float | None:
        """Share of the faults that were found; None without faults."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None

    def plus(self, other: Score) -> Score:
        """Both together."""
        return Score(*(one + two for one, two in zip(self, other, strict=True)))


def labels() -> dict[str, dict[str, dict[str, list[int]]]]:
    """File -> {"part": ..., "expect": {rule: lines}}."""
    return json.loads((CORPUS / "labels.json").read_text("utf-8"))


def score(part: str = "") -> dict[str, Score]:
    """Rule -> score, over one part of the corpus or all of it."""
    scores: dict[str, Score] = defaultdict(lambda: Score(0, 0, 0))
    for name, label in labels().items():
        if part and label["part"] != part:
            continue
        found: dict[str, set[int]] = defaultdict(set)
        for one in lint_task(read_source(CORPUS / name)):
            found[one.rule].add(one.where.line)
        for rule in {*found, *label["expect"]}:
            here, wanted = found[rule], set(label["expect"].get(rule, ()))
            if rule not in AUTO:
                here, wanted = {0} if here else set(), {0} if wanted else set()
            scores[rule] = scores[rule].plus(Score(len(here & wanted), len(here - wanted), len(wanted - here)))
    return dict(sorted(scores.items()))


def auto(scores: dict[str, Score]) -> Score:
    """The auto tier's rules together."""
    total = Score(0, 0, 0)
    for rule in AUTO:
        total = total.plus(scores.get(rule, Score(0, 0, 0)))
    return total
