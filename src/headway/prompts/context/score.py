"""How well texts answer a query: BM25, by bm25s."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

from headway.prompts.context.regexes import library, pattern

__all__ = ["scores"]

_ALONE: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts that put no space between words: each character is one."""
_WORDS: Final = rf"[{_ALONE}]|[\w--[{_ALONE}]]+"
_ASCII_WORDS: Final = re.compile(r"\w+", re.ASCII)
_OTHER: Final = " "
_QUERY_MAX: Final = 512
_DIGITS: Final = 4


def scores(texts: Sequence[str], query: str) -> list[float]:
    """A score for each text, 0 where it holds no word of the query; the same for the same texts everywhere.

    Words are compared without case and without an English plural's s. A query counts with its first 512 words.
    Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with bm25s's
    defaults k1 = 1.5 and b = 0.75.
    """
    wanted = [_singular(word) for word in _words(query)[:_QUERY_MAX]]
    # Words that are not asked for count by their number alone: as one word, they take a tenth of the time.
    known = {form: word for word in wanted for form in (word, word + "s") if _singular(form) == word}
    bags = [[known.get(word, _OTHER) for word in _words(text)] for text in texts]
    if not any(word is not _OTHER for bag in bags for word in bag):
        return [0.0] * len(bags)
    index = library("bm25s").BM25()
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for all it says to be shown, a line for each text
    index.index(bags, show_progress=False)
    # Sums of 32-bit numbers depend on their order, which the library leaves to the hash of words: they are rounded.
    return [round(float(score), _DIGITS) for score in index.get_scores(wanted)]


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    words: list[str] = pattern(_WORDS).findall(text.casefold())
    return words


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
