"""Rules on saying things twice: word for word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from headway.prompts.lint.chunks import repeated_chunks
from headway.prompts.lint.passages import Passage, Text, words_of
from headway.prompts.lint.removing import removal
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source

__all__ = ["ENDED", "RULES", "Said", "everything", "exact_runs", "line_of"]

WORDS_MIN: Final = 3
"""Shorter sentences come again without being instructions ("Be brief." is one word of guidance)."""

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
_SPEAKER: Final = re.compile(r"[^.!?]{1,40}[:\uff1a] ")
_POINTS: Final = re.compile(
    r"\b(?:it|its|this|these|those|they|them|their|each|such|both|above|below|here)\b", re.IGNORECASE
)
ENDED: Final = re.compile(r"[.!?\u3002\uff01\uff1f][\"')\]]*\Z")


class Said(NamedTuple):
    """A passage of a text, and whether the sentence before it in its paragraph sets a condition."""

    text: Text
    passage: Passage
    after_condition: bool


def _duplicates(source: Source) -> Iterator[Hit]:
    """Later occurrences in the same section; those that stand next to each other as one."""
    chunks = [(text, chunk) for text in source.texts for chunk in repeated_chunks(text)]
    for text, chunk in chunks:
        line = source.place(text.key, chunk.first, chunk.first + 1).line
        yield Hit(
            message=f"{chunk.lines} lines said before, letter by letter, from line {line} on",
            key=text.key,
            start=chunk.start,
            end=chunk.end,
            fix=chunk.fix,
        )
    for run in exact_runs(source):
        (text, begin, _), _ = run[0]
        end = run[-1][0].passage.end
        if any(text is one and chunk.start <= begin.start and end <= chunk.end for one, chunk in chunks):
            continue
        kept = " ".join(twin.text.text[twin.passage.start : twin.passage.end] for _, twin in run)
        yield Hit(
            message=f"said before, word for word, on line {line_of(source, run[0][1])}",
            key=text.key,
            start=begin.start,
            end=end,
            fix=removal(text, begin.start, end, kept=kept),
        )


def exact_runs(source: Source) -> list[list[tuple[Said, Said]]]:
    """What can go without asking: each with the first occurrence, which stays."""
    first: dict[tuple[str, str], Said] = {}
    pairs: list[tuple[Said, Said]] = []
    for said in everything(source):
        if _counts(said.passage.text):
            twin = first.setdefault((said.passage.text, said.passage.section), said)
            if twin is not said and _is_exact(said, twin):
                pairs.append((said, twin))
    sizes = Counter((said.text.key, said.passage.block) for said in everything(source))
    return [run for run in _runs(pairs) if _stands_alone(run, sizes)]


def _is_exact(said: Said, twin: Said) -> bool:
    """Whether the later one says nothing new: a sentence of its own, unconditional, with no row text in between."""
    text, passage, before = said.text, said.passage, twin.passage
    if passage.data or before.data or twin.after_condition or not (text.fixed and twin.text.fixed):
        return False
    if passage.mark[:-1].isdigit() or bool(passage.mark) != bool(before.mark) or not ENDED.search(passage.text):
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


def _stands_alone(run: list[tuple[Said, Said]], sizes: Counter[tuple[str, int]]) -> bool:
    """In the paragraph of its twin and referring to nothing else; or a list item; or a whole paragraph."""
    (said, twin) = run[0]
    if said.passage.mark:
        return not any(_POINTS.search(one.passage.text) for one, _ in run)
    if len(run) == sizes[said.text.key, said.passage.block]:
        return True
    same = said.text is twin.text and said.passage.block == twin.passage.block
    return same and not any(_POINTS.search(one.passage.text) for one, _ in run)


def everything(source: Source) -> Iterator[Said]:
    """All that a source says, in order."""
    for text in source.texts:
        before: Passage | None = None
        for passage in text.passages:
            follows = before is not None and before.block == passage.block and not passage.mark
            yield Said(text, passage, bool(follows and before and _CONDITION.match(before.text)))
            before = passage


def _counts(text: str) -> bool:
    return len(words_of(text)) >= WORDS_MIN and len(text) >= 8


def _runs(found: list[tuple[Said, Said]]) -> Iterator[list[tuple[Said, Said]]]:
    """Duplicates side by side whose first occurrences are side by side as well."""
    run: list[tuple[Said, Said]] = []
    for pair in found:
        if run and not _follows(run[-1], pair):
            yield run
            run = []
        run.append(pair)
    if run:
        yield run


def _follows(pair: tuple[Said, Said], later: tuple[Said, Said]) -> bool:
    return all(
        one.text is next_.text
        and one.passage.block == next_.passage.block
        and not one.text.text[one.passage.end : next_.passage.start].strip()
        for one, next_ in zip(pair, later, strict=True)
    )


def line_of(source: Source, said: Said) -> int:
    """The file's line where it begins."""
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
)
