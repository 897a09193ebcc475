"""Rules on saying things twice: word for word, nearly, or with the opposite meaning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.guard import STOPWORDS, negations_of, numbers_of
from headway.prompts.lint.passages import Passage, Text, words_of
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source

__all__ = ["RULES", "removal"]

WORDS_MIN: Final = 3
"""Shorter sentences come again without being instructions ("Be brief." is one word of guidance)."""
NEAR_WORDS_MIN: Final = 4
NEAR: Final = 0.75
"""Share of content words that two sentences have in common, from which they say the same."""
PASSAGES_MAX: Final = 1_000
"""Sentences of one source that are compared with one another."""

_ANAPHORIC: Final = re.compile(
    r"(?:then|otherwise|else|if so|if not|in (?:that|this|such a) case|this|that|these|those|it|do (?:so|this|that)"
    r"|next|after (?:that|this)|afterwards|i|we|he|she|they|there|finally|repeat|again|same|likewise"
    r"|dann|sonst|danach|luego|si no|puis|sinon)\b",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(
    r"(?:if|when|whenever|for|in case|unless|should|where|wenn|falls|bei|si|quand|cuando|para|если|когда)\b",
    re.IGNORECASE,
)
_REFERS: Final = re.compile(r"\b(?:it|its|this|that|these|those|if|when|here|above|below)\b", re.IGNORECASE)
_SPEAKER: Final = re.compile(r"[^.!?]{1,40}[:\uff1a] ")
_POINTS: Final = re.compile(
    r"\b(?:it|its|this|these|those|they|them|their|each|such|both|above|below|here)\b", re.IGNORECASE
)
_BOUND: Final = re.compile(
    r"\b(?:at (?:most|least)|(?:no )?(?:more|fewer|less) than|up to|exactly|maximum|minimum|limit|within)\b",
    re.IGNORECASE,
)
_POLAR: Final = frozenset(
    "no not never none nicht kein keine keinen nie niemals pas jamais nunca jam\u00e1s non \u043d\u0435".split()
)
_ENDED: Final = re.compile(r"[.!?\u3002\uff01\uff1f][\"')\]]*\Z")
_PADDING: Final = frozenset(
    "please remember note always make sure must be very really important also once again kindly ensure keep mind "
    "mentioned already above sure important".split()
)


class _Said(NamedTuple):
    text: Text
    passage: Passage
    after_condition: bool


def _duplicates(source: Source) -> Iterator[Hit]:
    """Later occurrences in the same section; those that stand next to each other as one."""
    for run in _exact_runs(source):
        (text, begin, _), _ = run[0]
        end = run[-1][0].passage.end
        kept = " ".join(twin.text.text[twin.passage.start : twin.passage.end] for _, twin in run)
        yield Hit(
            message=f"said before, word for word, on line {_line(source, run[0][1])}",
            key=text.key,
            start=begin.start,
            end=end,
            fix=removal(text, begin.start, end, kept=kept),
        )


def _exact_runs(source: Source) -> list[list[tuple[_Said, _Said]]]:
    """What can go without asking: each with the first occurrence, which stays."""
    first: dict[tuple[str, str], _Said] = {}
    pairs: list[tuple[_Said, _Said]] = []
    for said in _all(source):
        if _counts(said.passage.text):
            twin = first.setdefault((said.passage.text, said.passage.section), said)
            if twin is not said and _is_exact(said, twin):
                pairs.append((said, twin))
    sizes = Counter((said.text.key, said.passage.block) for said in _all(source))
    return [run for run in _runs(pairs) if _stands_alone(run, sizes)]


def _is_exact(said: _Said, twin: _Said) -> bool:
    """Whether the later one says nothing new: a sentence of its own, unconditional, with no row text in between."""
    text, passage, before = said.text, said.passage, twin.passage
    if passage.data or before.data or twin.after_condition or not (text.fixed and twin.text.fixed):
        return False
    if passage.mark[:-1].isdigit() or bool(passage.mark) != bool(before.mark) or not _ENDED.search(passage.text):
        return False
    if passage.labelled or before.labelled:  # said about that item, unless it is all of both
        whole = passage.alone and before.alone and bool(passage.mark)
        if not whole and not (twin.text is text and passage.run == before.run):
            return False
    if (
        _ANAPHORIC.match(passage.text)
        or _SPEAKER.match(passage.text)
        or text.within(passage.start, passage.end, "code", "column", "json")
    ):
        return False
    if twin.text is text:
        return not text.columns_between(before.end, passage.start)
    return not text.columns_between(0, passage.start)


def _stands_alone(run: list[tuple[_Said, _Said]], sizes: Counter[tuple[str, int]]) -> bool:
    """In the paragraph of its twin and referring to nothing else; or a list item; or a whole paragraph."""
    (said, twin) = run[0]
    if said.passage.mark:
        return not any(_POINTS.search(one.passage.text) for one, _ in run)
    if len(run) == sizes[said.text.key, said.passage.block]:
        return True
    same = said.text is twin.text and said.passage.block == twin.passage.block
    return same and not any(_POINTS.search(one.passage.text) for one, _ in run)


def _near(source: Source) -> Iterator[Hit]:
    """Sentences that say what an earlier one says: in other words, elsewhere, or the other way round."""
    seen: list[tuple[_Said, frozenset[str]]] = []
    exact = {(said.text.key, said.passage.start) for run in _exact_runs(source) for said, _ in run}
    for said in islice(_all(source), PASSAGES_MAX):
        passage = said.passage
        if passage.data or (said.text.key, passage.start) in exact or not (passage.mark or _ENDED.search(passage.text)):
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


def _same_matter(said: _Said, other: _Said) -> bool:
    """Whether sentences alike are about the same thing, and say the same of it or the opposite."""
    if other.passage.section != said.passage.section and _REFERS.search(said.passage.text):
        return False
    return not _differs(said.passage, other.passage) or _opposed(said.passage, other.passage)


def _near_hit(source: Source, said: _Said, other: _Said) -> Hit:
    text, passage = said.text, said.passage
    line = _line(source, other)
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
    return any(word in _POLAR or word.endswith("n't") for word in negations_of(text))


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


def _all(source: Source) -> Iterator[_Said]:
    for text in source.texts:
        before: Passage | None = None
        for passage in text.passages:
            follows = before is not None and before.block == passage.block and not passage.mark
            yield _Said(text, passage, bool(follows and before and _CONDITION.match(before.text)))
            before = passage


def _counts(text: str) -> bool:
    return len(words_of(text)) >= WORDS_MIN and len(text) >= 8


def _runs(found: list[tuple[_Said, _Said]]) -> Iterator[list[tuple[_Said, _Said]]]:
    """Duplicates side by side whose first occurrences are side by side as well."""
    run: list[tuple[_Said, _Said]] = []
    for pair in found:
        if run and not _follows(run[-1], pair):
            yield run
            run = []
        run.append(pair)
    if run:
        yield run


def _follows(pair: tuple[_Said, _Said], later: tuple[_Said, _Said]) -> bool:
    return all(
        one.text is next_.text
        and one.passage.block == next_.passage.block
        and not one.text.text[one.passage.end : next_.passage.start].strip()
        for one, next_ in zip(pair, later, strict=True)
    )


def removal(text: Text, start: int, end: int, *, kept: str = "") -> Edit:
    """The edit that takes a sentence or item out, with the white space (and the item's mark) that goes with it."""
    whole = text.text
    line_start = whole.rfind("\n", 0, start) + 1
    line_end = whole.find("\n", end)
    line_end = len(whole) if line_end < 0 else line_end
    alone_before = not re.sub(r"^[ \t]*(?:(?:[-*+\u2022\u2013]|\d{1,3}[.)])[ \t]+)?", "", whole[line_start:start])
    alone_after = not whole[end:line_end].strip()
    if alone_before and alone_after:
        return _line_removal(text, line_start, line_end, kept)
    if alone_after:  # the end of a line: the space in front goes with it
        start -= len(whole[:start]) - len(whole[:start].rstrip(" \t"))
        return Edit(key=text.key, start=start, end=end, kept=kept)
    end += len(whole[end:]) - len(whole[end:].lstrip(" \t"))
    return Edit(key=text.key, start=start, end=end, kept=kept)


def _line_removal(text: Text, start: int, end: int, kept: str) -> Edit:
    """Whole lines, and one of the line ends around them: two, where that leaves a gap between two paragraphs."""
    whole = text.text
    if end < len(whole):
        end += 1
        if whole[:start].endswith("\n\n") and whole.startswith("\n", end):
            end += 1
    elif start:
        start -= 1
        while start and whole[start - 1] == "\n" and whole[:start].endswith("\n"):
            start -= 1
    return Edit(key=text.key, start=start, end=end, kept=kept)


def _line(source: Source, said: _Said) -> int:
    return source.place(said.text.key, said.passage.start, said.passage.end).line


RULES: Final = (
    Rule(
        id="HW104",
        name="duplicate",
        tier="auto",
        title="the same sentence, item or paragraph again in one section",
        reason="The second time is paid for with every call and says nothing that the first does not.",
        find=_duplicates,
    ),
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
