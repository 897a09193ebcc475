"""Which sentences of the text an answer rests on, found by the words they share, without any call.

A sentence of the answer is followed down the tree: from the merged texts to the summaries that hold most of its words,
from those to their chunks, and there to the sentences. Only chunks on the way are looked at.
"""

from __future__ import annotations

import re
from collections import Counter as Bag
from collections.abc import Iterator, Sequence
from math import log
from typing import Final, NamedTuple

from headway.pipeline.mapreduce.chunks import Span
from headway.pipeline.mapreduce.result import Source
from headway.pipeline.mapreduce.work import Told
from headway.prompts.context.layout import cuts

__all__ = ["sources_of"]

SENTENCES_MAX: Final = 400
"""Sentences of an answer that are followed; more are left without."""
_SCORE_MIN: Final = 0.25
"""A share below this says nothing: common words make up as much."""
_SECOND: Final = 0.6
"""A second source has to be so good beside the first."""
_SENTENCE_CHARS_MAX: Final = 600
_WORD: Final = re.compile(r"[^\W_]+")
_ALONE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts whose words are not parted by spaces: compared by pairs of characters."""


class _Sentence(NamedTuple):
    start: int
    end: int
    words: frozenset[str]


class _Bags:
    """The sentences of what was looked at, by where it stands; kept, for sentences of an answer share sources."""

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        self._text = text
        self._spans = spans
        self._chunks: dict[int, list[_Sentence]] = {}
        self._told: dict[int, frozenset[str]] = {}

    def chunk(self, part: int) -> list[_Sentence]:
        if part not in self._chunks:
            start, end = self._spans[part]
            self._chunks[part] = list(_sentences(self._text, start, end))
        return self._chunks[part]

    def told(self, one: Told) -> frozenset[str]:
        if id(one) not in self._told:
            self._told[id(one)] = _words(one.text)
        return self._told[id(one)]


def sources_of(answer: str, members: Sequence[Told], text: str, spans: Sequence[Span]) -> tuple[Source, ...]:
    """For each sentence of the answer the best one or two of the text.

    Args:
        answer: The answer.
        members: What it was merged from.
        text: The text.
        spans: Its chunks.
    """
    bags, found = _Bags(text, spans), []
    for sentence in list(_sentences(answer, 0, len(answer)))[:SENTENCES_MAX]:
        parts = {part for one in _best_of(sentence.words, members, bags) for part in _down(sentence.words, one, bags)}
        candidates = [(part, one) for part in sorted(parts) for one in bags.chunk(part)]
        shown = answer[sentence.start : sentence.end].strip()
        for score, place in _ranked(sentence.words, [one.words for _, one in candidates]):
            part, one = candidates[place]
            found.append(Source(
                sentence=shown, chunk=part + 1, start=one.start, end=one.end, text=text[one.start : one.end],
                score=round(score, 3),
            ))  # fmt: skip
    return tuple(found)


def _down(words: frozenset[str], one: Told, bags: _Bags) -> Iterator[int]:
    """The chunks that it leads to, from a text that was merged."""
    if one.below:
        for below in _best_of(words, one.below, bags):
            yield from _down(words, below, bags)
    elif one.text:
        yield one.first


def _best_of(words: frozenset[str], members: Sequence[Told], bags: _Bags) -> list[Told]:
    said = [one for one in members if one.text]
    return [said[place] for _, place in _ranked(words, [bags.told(one) for one in said])]


def _ranked(words: frozenset[str], bags: Sequence[frozenset[str]]) -> list[tuple[float, int]]:
    """The best one or two: the share of the words that is in each, rare words counting for more."""
    if not words or not bags:
        return []
    seen = Bag(word for bag in bags for word in words & bag)
    weights = {word: log(1 + len(bags) / (0.5 + seen[word])) for word in words}
    whole = sum(weights.values())
    scores = [(sum(weights[word] for word in words & bag) / whole, -place) for place, bag in enumerate(bags)]
    best = sorted(scores, reverse=True)[:2]
    return [(score, -place) for score, place in best if score >= max(_SCORE_MIN, _SECOND * best[0][0])]


def _sentences(text: str, start: int, end: int) -> Iterator[_Sentence]:
    at = start
    for stop in cuts(text, start, end, "sentence"):
        while at < stop:
            behind = min(stop, at + _SENTENCE_CHARS_MAX)  # what has no full stop is no sentence: pieces of it
            while at < behind and text[at].isspace():
                at += 1
            upto = behind
            while upto > at and text[upto - 1].isspace():
                upto -= 1
            if upto > at and (words := _words(text[at:upto])):
                yield _Sentence(at, upto, words)
            at = behind


def _words(text: str) -> frozenset[str]:
    found: set[str] = set()
    for word in _WORD.findall(text.lower()):
        if _ALONE.search(word):
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif len(word) > 2 or word.isdigit():
            found.add(word)
    return frozenset(found)
