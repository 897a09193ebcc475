"""Sentences, bullets and summaries out of a text; and plain prose where there is no text to take from."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from random import Random
from typing import Final

from headway.sim.text import sentences, stems

__all__ = ["bullets", "filler", "sentence", "shortened", "summary"]

_CHARS_MAX: Final = 60_000
_TEXT: Final = (
    "the answer of a simulator is made of plain words in a fixed order that depends on the seed and on what was asked"
    " so every run gives the same text again and nothing in it should be read as knowledge while its length and its"
    " speed are those of the model that is played here for tests and for measurements without any key"
)
_WORDS: Final = _TEXT.split()


def summary(text: str, count: int) -> list[str]:
    """The `count` sentences with the most frequent stems, in the text's order; fewer when it has fewer.

    Looks at the first 60,000 characters.
    """
    parts = sentences(text[:_CHARS_MAX])
    if len(parts) <= count:
        return parts
    found = [stems(part) for part in parts]
    frequency = Counter(word for words in found for word in set(words))
    scores = [
        sum(frequency[word] for word in set(words)) / sqrt(len(words) + 3) * (1.2 if place == 0 else 1.0)
        for place, words in enumerate(found)
    ]
    best = sorted(range(len(parts)), key=lambda place: (-scores[place], place))[:count]
    return [parts[place] for place in sorted(best)]


def shortened(text: str, words_max: int) -> str:
    """The text, or its first words when it has more."""
    words = text.split()
    return " ".join(words) if len(words) <= words_max else " ".join(words[:words_max]).rstrip(",;:-")


def sentence(text: str, words_max: int) -> str:
    """One sentence with one full stop at its end."""
    plain = " ".join(text.split()).rstrip(".!?;:,- ").replace(". ", ", ").replace("! ", ", ").replace("? ", ", ")
    return (shortened(plain, words_max) if words_max else plain) + "." if plain else ""


def bullets(text: str, count: int, *, exactly: bool, words_max: int) -> list[str]:
    """That many bullets' texts; halves of sentences when there are too few of them and the number is exact."""
    parts = [part.rstrip(".!?;:, ") or part for part in summary(text, count)] or ["nothing to report"]
    while exactly and len(parts) < count:
        place = max(range(len(parts)), key=lambda p: len(parts[p].split()))
        words = parts[place].split()
        if len(words) < 2:
            parts.append("nothing more to report")
            continue
        parts[place : place + 1] = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
    return [shortened(part, words_max) if words_max else " ".join(part.split()) for part in parts]


def filler(words: int, rng: Random) -> str:
    """Prose of that many words, the same for the same dice."""
    found: list[str] = []
    while len(found) < words:
        start, length = rng.randrange(len(_WORDS)), rng.randint(8, 18)
        line = [_WORDS[(start + step) % len(_WORDS)] for step in range(length)]
        line = line[: words - len(found)]
        line[0] = line[0].capitalize()
        line[-1] += "."
        found += line
    return " ".join(found)
