"""Rules that choose a latency class by what a prompt is: its length, language, whether it holds code, a pattern.

The first rule that fits decides. Rules come from configuration only; what a pattern sees is bounded, and a pattern that
needs exponential time is its author's to mend.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

__all__ = ["TEXT_CHARS_MAX", "ContentRule", "has_code", "language_of", "tier_for"]

TEXT_CHARS_MAX = 20_000
"""How much of a prompt rules look at."""
_PATTERN_CHARS_MAX = 4_000

_CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import |#include|func |fn |public |private |SELECT |INSERT )"
    r"|[;{}]\s*$|=>|\)\s*\{",
    re.MULTILINE,
)
_SCRIPTS = (
    ("ja", 0x3040, 0x30FF),
    ("ko", 0xAC00, 0xD7AF),
    ("zh", 0x4E00, 0x9FFF),
    ("ru", 0x0400, 0x04FF),
    ("el", 0x0370, 0x03FF),
    ("he", 0x0590, 0x05FF),
    ("ar", 0x0600, 0x06FF),
    ("hi", 0x0900, 0x097F),
    ("th", 0x0E00, 0x0E7F),
)
_COMMON = {
    "en": frozenset("the and is to of in that it you for are with this have not my what can please".split()),
    "de": frozenset("der die das und ist nicht ich sie mit auf für ein eine den wie zu von bitte".split()),
    "fr": frozenset("le la les et est des une que pour dans pas je vous avec sur mon ce qui".split()),
    "es": frozenset("el los las y es una que para en no con por mi como su del se está".split()),
    "it": frozenset("il gli e è una che per non con sono mi come del della di questo ho si".split()),
    "pt": frozenset("o os e é uma que para não com em por meu como do da você está um".split()),
    "nl": frozenset("de het en is een niet ik dat van op voor met mijn zijn te hoe u aan".split()),
}


class ContentRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: all the conditions it names must hold. Lengths in characters, both ends included."""

    tier: str
    """The latency class that it chooses."""
    chars_min: int = 0
    chars_max: int | None = None
    language: str = ""
    """ISO 639-1, e.g. "en"; "" for any."""
    has_code: bool | None = None
    pattern: re.Pattern[str] | None = None

    def fits(self, text: str, chars: int) -> bool:
        """Whether it holds for a prompt of `chars` characters that begins with `text`."""
        if chars < self.chars_min or (self.chars_max is not None and chars > self.chars_max):
            return False
        if self.has_code is not None and has_code(text) is not self.has_code:
            return False
        if self.language and language_of(text) != self.language:
            return False
        return self.pattern is None or self.pattern.search(text[:_PATTERN_CHARS_MAX]) is not None


def tier_for(rules: Sequence[ContentRule], text: str) -> str:
    """The class of the first rule that fits; "balanced" where none does."""
    start = text[:TEXT_CHARS_MAX]
    return next((rule.tier for rule in rules if rule.fits(start, len(text))), "balanced")


def has_code(text: str) -> bool:
    """Whether it looks like code: a fence, a line that begins or ends as code does."""
    return _CODE.search(text[:TEXT_CHARS_MAX]) is not None


def language_of(text: str) -> str:
    """A guess at the language: by its script, else by common words; "" where neither says.

    Common words tell seven European languages apart from about a sentence on (Grefenstette, "Comparing two language
    identification schemes", 1995: short common words do as well as letter statistics once a text has 15 words).
    """
    sample = text[:2_000]
    for language, first, last in _SCRIPTS:
        if sum(first <= ord(char) <= last for char in sample) * 5 > len(sample.replace(" ", "")) > 0:
            return language
    words = re.findall(r"[^\W\d_]+", sample.lower())
    counts = {language: sum(word in common for word in words) for language, common in _COMMON.items()}
    ranked = sorted(counts.values(), reverse=True)
    if ranked[0] < 2 or ranked[0] == ranked[1]:
        return ""
    return max(counts, key=counts.__getitem__)
