"""Rules on saying nearly the same: in other words, in another place, or with the opposite meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from headway.prompts.lint.guard import DENIALS, STOPWORDS, negations_of, numbers_of
from headway.prompts.lint.passages import Passage, words_of
from headway.prompts.lint.removing import removal
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.rules_repeat import ENDED, Said, everything, exact_runs, line_of
from headway.prompts.lint.source import Source

__all__ = ["RULES"]

NEAR_WORDS_MIN: Final = 4
NEAR: Final = 0.75
"""Share of content words that two sentences have in common, from which they say the same."""
PASSAGES_MAX: Final = 1_000
"""Sentences of one source that are compared with one another."""

_REFERS: Final = re.compile(r"\b(?:it|its|this|that|these|those|if|when|here|above|below)\b", re.IGNORECASE)
_BOUND: Final = re.compile(
    r"\b(?:at (?:most|least)|(?:no )?(?:more|fewer|less) than|up to|exactly|maximum|minimum|limit|within)\b",
    re.IGNORECASE,
)
_PADDING: Final = frozenset(
    "please remember note always make sure must be very really important also once again kindly ensure keep mind "
    "mentioned already above sure important".split()
)


def _near(source: Source) -> Iterator[Hit]:
    """Sentences that say what an earlier one says: in other words, elsewhere, or the other way round."""
    seen: list[tuple[Said, frozenset[str]]] = []
    exact = {(said.text.key, said.passage.start) for run in exact_runs(source) for said, _ in run}
    for said in islice(everything(source), PASSAGES_MAX):
        passage = said.passage
        if passage.data or (said.text.key, passage.start) in exact or not (passage.mark or ENDED.search(passage.text)):
            continue
        content = _content(passage.text)
        if len(content) < NEAR_WORDS_MIN:
            continue
        for other, words in seen:
            if _alike(content, words) and _same_matter(said, other):
                yield _near_hit(source, said, other)
                break
        else:
            seen.append((said, content))


def _same_matter(said: Said, other: Said) -> bool:
    """Whether sentences alike are about the same thing, and say the same of it or the opposite."""
    if other.passage.section != said.passage.section and _REFERS.search(said.passage.text):
        return False
    return not _differs(said.passage, other.passage) or _opposed(said.passage, other.passage)


def _near_hit(source: Source, said: Said, other: Said) -> Hit:
    text, passage = said.text, said.passage
    line = line_of(source, other)
    place = {"key": text.key, "start": passage.start, "end": passage.end}
    if _opposed(passage, other.passage):
        return Hit(message=f"says nearly what line {line} says, but not the same", tier="never", **place)  # type: ignore[arg-type] # as above
    edit = removal(text, passage.start, passage.end, kept=other.text.text[other.passage.start : other.passage.end])
    between = other.text is text and text.columns_between(other.passage.end, passage.start)
    why = "again, behind the row's text; one place is enough" if between else "in other words, or in another section"
    return Hit(message=f"says what line {line} says, {why}", fix=edit, **place)  # type: ignore[arg-type] # of those types


def _near_repeats(source: Source) -> Iterator[Hit]:
    return (hit for hit in _near(source) if hit.tier != "never")


def _conflicts(source: Source) -> Iterator[Hit]:
    return (hit for hit in _near(source) if hit.tier == "never")


def _opposed(said: Passage, before: Passage) -> bool:
    """Whether two sentences that are alike differ in a bound, or in yes and no. Items of lists are rarely rivals."""
    one, other = said.text, before.text
    if _denies(one) != _denies(other):
        return True
    if said.labelled or before.labelled or not (_BOUND.search(one) and _BOUND.search(other)):
        return False
    return bool(numbers_of(one) and numbers_of(other)) and numbers_of(one) != numbers_of(other)


def _differs(said: Passage, before: Passage) -> bool:
    """Whether one of two sentences says a number or a negation that the other does not."""
    one, other = said.text, before.text
    return numbers_of(one) != numbers_of(other) or _denies(one) != _denies(other)


def _denies(text: str) -> bool:
    return any(word in DENIALS or word.endswith("n't") for word in negations_of(text))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Most words in common, and one with none of its own: "the facts" and "the habits" are two matters."""
    common = len(one & other)
    fewer, more = sorted((len(one), len(other)))
    return common == fewer >= NEAR_WORDS_MIN - 1 and common >= NEAR * more


def _content(text: str) -> frozenset[str]:
    """What a sentence is about: its words without numbers, the little ones, padding and endings."""
    return frozenset(
        _stem(word)
        for word in words_of(text)
        if word not in STOPWORDS and not word.isdigit() and word not in _PADDING and word not in negations_of(word)
    )


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


RULES: Final = (
    Rule(
        id="HW201",
        name="near-duplicate",
        tier="suggest",
        title="the same guidance in other words, or in another place",
        reason="Guidance that is said twice is paid for twice; a system prompt tightened by hand takes a third less "
        "input "
        "(measured: -35 % input, -22 % latency). Whether the repetition helped your model is for rows to tell.",
        find=_near_repeats,
    ),
    Rule(
        id="HW210",
        name="conflict",
        tier="never",
        title="two sentences alike, but for a number or a not",
        reason="The model follows one of them, and not always the same. Only you know which is meant.",
        find=_conflicts,
    ),
)
