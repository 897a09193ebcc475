"""Text as the simulator sees it: tokens, stems, sentences; and the dice everything random is thrown with."""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import blake2b
from random import Random
from typing import Final, Generic, TypeVar

__all__ = ["STOPWORDS", "Memo", "count_tokens", "dice", "digest", "memo_key", "pieces", "sentences", "stem", "stems"]

K = TypeVar("K")
V = TypeVar("V")

_PIECE: Final = re.compile(r" ?[A-Za-z]{1,9}|[0-9]{1,3}| ?[^\sA-Za-z0-9]{1,2}|\s{1,16}")
_WORD: Final = re.compile(r"[a-z]+|[0-9]+|[^\W\d_]+")
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*|[.!?]+")
_NEGATED: Final = re.compile(r"\b(?:can|won|don|doesn|didn|isn|wasn|hasn|haven|couldn|wouldn|aren|weren)['’]?t\b")
_EXACT_CHARS_MAX: Final = 65_536
_KEY_CHARS_MAX: Final = 2_000

_STOP: Final = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does"
    " doing done for from get got had has have having he her here hers him his how i if in into is it its just let"
    " like may me might my of off on or our out please she should so some such than that the their them then there"
    " these they this those through to too until up upon us very was we were what when where which while who whom"
    " why will with would you your yours"
)
STOPWORDS: Final = frozenset(_STOP.split())
"""Words that carry no evidence. "not" is not one of them."""

_SUFFIXES: Final = (
    ("ication", "y"), ("ements", ""), ("ement", ""), ("ations", ""), ("ation", ""), ("ments", ""), ("ment", ""),
    ("ings", ""), ("ing", ""), ("ies", "y"), ("ied", "y"), ("ery", ""), ("als", ""), ("al", ""), ("ers", ""),
    ("er", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""), ("e", ""),
)  # fmt: skip


class Memo(Generic[K, V]):
    """A map of at most `size` entries that forgets what was used longest ago."""

    __slots__ = ("_entries", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; None when there is none."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        """Keep and return the value."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.size:
            self._entries.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def pieces(text: str) -> list[str]:
    """The text cut into tokens; joined they are the text again. About 4 characters each in English prose.

    A stand-in for a byte-pair vocabulary: words of up to 9 letters with the space before them, numbers by three
    digits, other characters in pairs, runs of white space.
    """
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """How many `pieces` there are; beyond 65,536 characters extrapolated from those."""
    if len(text) <= _EXACT_CHARS_MAX:
        return len(_PIECE.findall(text))
    return round(len(_PIECE.findall(text[:_EXACT_CHARS_MAX])) * len(text) / _EXACT_CHARS_MAX)


def stem(word: str) -> str:
    """A lower-case word without its common English endings: "payments", "paying" and "pay" are one."""
    for suffix, instead in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiousl":
        return word[:-1]
    return word


def stems(text: str) -> list[str]:
    """The stems of the words that carry evidence, in order, repeated as in the text."""
    folded = _NEGATED.sub("not", text.lower().replace("_", " "))
    return [stem(word) for word in _WORD.findall(folded) if word not in STOPWORDS]


def sentences(text: str) -> list[str]:
    """The text's sentences (or lines), without white space at their ends."""
    return [found for match in _SENTENCE.findall(text) if (found := match.strip())]


def digest(*parts: str | bytes | int) -> bytes:
    """16 bytes that stand for all parts; lengths are in it, so that parts cannot run into each other."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        hashed.update(len(raw).to_bytes(8, "little"))
        hashed.update(raw)
    return hashed.digest()


def memo_key(text: str) -> str | bytes:
    """The text, or its digest where it is long: a memo's keys are bounded too."""
    return text if len(text) <= _KEY_CHARS_MAX else digest(text)


def dice(*parts: str | bytes | int) -> Random:
    """Random numbers that depend on the parts and on nothing else."""
    return Random(int.from_bytes(digest(*parts), "little"))
