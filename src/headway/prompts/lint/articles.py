"""English articles: "a" or "an" by the word that follows, where a fix has changed which one that is."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["article_for", "with_articles"]

_PAIR: Final = re.compile(r"\b(?P<article>[Aa]n?)(?P<gap>[ \t]+)(?P<word>[A-Za-z][\w'-]*)")
_VOWEL: Final = re.compile(r"(?:[aeiou]|hour|honest|hono[u]?r|heir)", re.IGNORECASE)
_CONSONANT: Final = re.compile(
    r"(?:uni[tqvfocls]|us(?:[ae]|ual|ing)|eu|one\b|one-|once\b|ubiq|uti|ufo|ure|ura|utop|uk\b|us\b)", re.IGNORECASE
)
_LETTERS_AS_VOWELS: Final = "AEFHILMNORSX"
_SPELLED_CHARS_MAX: Final = 5


def article_for(word: str) -> str:
    """Give "an" before a vowel as it is spoken, else "a"; abbreviations go by their first letter's name."""
    if 1 < len(word) <= _SPELLED_CHARS_MAX and word.isupper():
        return "an" if word[0] in _LETTERS_AS_VOWELS else "a"
    return "an" if _VOWEL.match(word) and not _CONSONANT.match(word) else "a"


def with_articles(before: str, after: str) -> str:
    """`after` with articles that fit where the word behind one is another than in `before`."""
    known = {(found["article"].lower(), found["word"].lower()) for found in _PAIR.finditer(before)}

    def fitted(found: re.Match[str]) -> str:
        head = found.string[: found.start()].rstrip(" \t")
        named = found["article"][0] == "A" and head != "" and head[-1] not in ".!?:\n-*)"  # "option A"
        if named or (found["article"].lower(), found["word"].lower()) in known:
            return found[0]
        return found["article"][0] + article_for(found["word"])[1:] + found["gap"] + found["word"]

    return _PAIR.sub(fitted, after)
