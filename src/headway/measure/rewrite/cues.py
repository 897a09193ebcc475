"""Numbers and negations of a prompt, each with the words it is about: what a rewrite may neither lose nor move.

"At most 3 bullets" is a number (3), its bound (at most) and its neighbourhood (bullets); "never mention prices" is a
negation and its scope (mention, prices). A rewrite has to hold an occurrence of the same kind about the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final, Literal, TypeAlias

import msgspec

from headway.measure.rewrite.words import NUMBERS, content, ordered, unwrapped

__all__ = ["Cue", "added_numbers", "cues", "lost"]

Kind: TypeAlias = Literal["number", "not", "except", "only"]

_SCOPE_WORDS_MAX: Final = 5
_NEAR_WORDS_MAX: Final = 3
_COUNTED_MAX: Final = 2
_SHARE_MIN: Final = 0.4
"""Of a negation's words that its counterpart has to be about. Chosen on tests/measure/rewrite_prompts.py."""

_IDIOMS: Final = re.compile(
    r"\bcan(?:not|['’]t) (?:thank you|stress (?:this )?) ?enough\b|\bgoes without saying\b|\bno matter (?:what|how"
    r"|which)\b|\bnot only\b|\bno doubt\b|\bwhether or not\b|\bdo(?: not|n't) hesitate to\b"
    r"|\blast but not least\b|\b(?:do not|don't|never) forget (?:to|that)\b|\bnot to mention\b|\bno problem\b"
    r"|\bnot limited to\b|\bbut not limited\b|\bthe only thing\b|\bif only\b|\bnot just\b|\bno longer\b",
    re.IGNORECASE,
)
_YES_NO: Final = re.compile(r"\byes\b(\W{1,3}|\W+or\W+)\bno\b", re.IGNORECASE)
_AT_MOST: Final = (
    r"at (?:the )?most|(?:no|not|never) (?:more|longer|greater|higher|later) than|up to|(?:a )?maximum(?: of)?|max\.?"
    r"|(?:must|should|may|do|does)(?: not|n't) exceed|not exceed(?:ing)?|never exceed|never more than"
    r"|limit(?:ed)? (?:it |them |yourself |the \w+ )?to|within|<=|≤|capped at|under|below|fewer than|less than"
    r"|shorter than"
)
_AT_LEAST: Final = (
    r"at (?:the (?:very )?)?least|(?:no|not|never) (?:fewer|less|shorter|lower|earlier) than|(?:a )?minimum(?: of)?"
    r"|min\.?"
    r"|never (?:fewer|less) than|>=|≥|more than|over|above|longer than|greater than|exceeds?|exceeding"
)
_BOUNDS: Final = (
    ("atmost", _AT_MOST),
    ("atleast", _AT_LEAST),
    ("exactly", r"exactly|precisely|strictly"),
    ("about", r"about|around|approximately|roughly|approx\.?|circa|~"),
)
_BOUND_BEFORE: Final = tuple(
    (name, re.compile(rf"(?:(?<=\s)|^)(?:{words})\s*(?:\b(?:the|a|an|of|than|only)\s+)?[$€£]?$", re.IGNORECASE))
    for name, words in _BOUNDS
)
_BOUND_AFTER: Final = (
    ("atmost", re.compile(r"^\s*(?:\w+\s+){0,1}(?:or (?:fewer|less|shorter|below|under)|max\b|maximum\b"
        r"|at (?:the )?most)", re.I)),
    ("atleast", re.compile(r"^\s*(?:\w+\s+){0,1}(?:or (?:more|longer|above|over)|min\b|minimum\b|at least"
        r"|and (?:above|over|up))", re.I)),
)  # fmt: skip
_WORDS: Final = NUMBERS | {
    "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90", "hundred": "100",
    "thousand": "1000", "million": "1000000", "twice": "2", "dozen": "12", "half": "0.5", "single": "1",
    "third": "3", "fourth": "4", "fifth": "5", "zero": "0",
}  # fmt: skip
_ONE: Final = (
    r"(?:(?<=exactly )|(?<=only )|(?<=than )|(?<=at most )|(?<=least )|(?<=just ))one\b"
    r"|\bone(?=[ -](?:short |single |brief |more )?(?:sentences?|words?|labels?|bullets?|lines?|paragraphs?|categor\w+"
    r"|days?|hours?|minutes?|weeks?|months?|years?|items?|values?|per\b))"
)
_NUMBER: Final = re.compile(rf"\d+(?:[.,]\d+)*|{_ONE}|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_MARKER: Final = re.compile(r"(?m)^\s*\(?\d{1,2}[.)]\s+")
# Not `lint.guard.NEGATIONS`, single words that are counted: here phrases count too, and what kind of bound they set.
_NOT: Final = (
    r"not|never|no|none|nor|neither|nothing|nobody|cannot|without|avoid(?:ing)?|refrain|exclude[sd]?|omit(?:ted)?|skip"
    r"|outside|ignore[sd]?|forbid(?:den)?|prohibited|instead of|rather than|leave out|free of|\w+n['’]t|dont|doesnt"
)
_POLAR: Final = (
    ("only", r"nothing (?:else|but|more)|no other|no others|only|solely|exclusively|and nothing"),
    ("except", r"except(?:ing|ion)?|unless|excluding|other than|apart from|save for"),
    ("not", _NOT),
)
_POLARITY: Final = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in _POLAR), re.IGNORECASE)
_LOOSE_ONLY: Final = re.compile(r"\b(?:just|alone)\b", re.IGNORECASE)
_CLAUSE: Final = re.compile(
    r"[,.;:!?()\n–—]\s|[,.;:!?()\n–—]$|\b(?:and|but) (?=(?:do|never|always|include|use|make|then|return)\b)"
)


class Cue(msgspec.Struct, frozen=True):
    """A number or a negation, and what it is about."""

    kind: Kind
    value: str
    """A number's digits; a negation's own word."""
    bound: str
    """A number's bound: "atmost", "atleast", "exactly", "about" or ""."""
    about: frozenset[str]
    """Stems: a number's neighbours, or the words a negation governs."""
    clause: frozenset[str]
    """Stems of the whole clause."""
    said: str
    """The words around it, for messages; "" for what may only serve as a counterpart."""
    counted: frozenset[str] = frozenset()
    """Stems: what follows a number at once, "bullets" in "3 short bullets" and "short" as well."""
    nots: int = 0
    """Negations in its clause: where there are two, both have to stay, for one alone turns it round."""


def cues(text: str) -> list[Cue]:
    """Every number and negation in the text."""
    text = "\n".join(unwrapped(_MARKER.sub("", text)))
    text = _YES_NO.sub("yesno", _IDIOMS.sub(" ", text))
    return [*_numbers(text), *_polarities(text)]


def lost(original: Sequence[Cue], rewrite: Sequence[Cue], frequency: Mapping[str, int]) -> list[Cue]:
    """Those of the original that have no counterpart.

    Args:
        original: Of the original.
        rewrite: Of the rewrite.
        frequency: How often each stem stands in the original: what is rare tells more.
    """
    return [cue for cue in original if cue.said and not any(_same(cue, other, frequency) for other in rewrite)]


def added_numbers(original: Sequence[Cue], rewrite: Sequence[Cue]) -> list[Cue]:
    """Numbers that only the rewrite has."""
    known = {cue.value for cue in original if cue.kind == "number"}
    return [cue for cue in rewrite if cue.kind == "number" and cue.value not in known]


def _same(cue: Cue, other: Cue, frequency: Mapping[str, int]) -> bool:
    if cue.kind == "number":
        return (
            other.kind == "number"
            and cue.value == other.value
            and cue.bound == other.bound
            and (not cue.about or bool(cue.about & other.clause))
            and (not cue.counted or not other.counted or bool(cue.counted & other.counted))
        )
    kinds = {"except": ("except", "not"), "not": ("not", "except")}.get(cue.kind, (cue.kind,))
    if cue.nots > 1:
        kinds = (*kinds, "only")  # "never one that is not listed" is "only listed ones"
    if other.kind not in kinds or (other.kind == "only" != cue.kind and other.nots):
        return False
    if cue.kind == "not" and other.kind == "except" and cue.value.lower() not in ("excluding", "without", "exclude"):
        return False
    if other.kind == "not" and other.nots < cue.nots + (cue.kind == "except"):
        return False  # "unless x" may become "if not x", where there is one more negation then
    weights = {word: 1 / sqrt(frequency.get(word, 0) or 1) for word in cue.about}
    shared = sum(weight for word, weight in weights.items() if word in other.clause)
    return shared >= _SHARE_MIN * sum(weights.values())


def _numbers(text: str) -> list[Cue]:
    found = []
    for match in _NUMBER.finditer(text):
        before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 24]
        bound = next((name for name, pattern in _BOUND_BEFORE if pattern.search(before)), "")
        bound = bound or next((name for name, pattern in _BOUND_AFTER if pattern.search(after)), "")
        left, right = _clause(text, match.start(), match.end())
        near = [*ordered(left)[-_NEAR_WORDS_MAX:], *ordered(right)[:_NEAR_WORDS_MAX]]
        about = frozenset(word for word in near if not word[:1].isdigit())
        said = text[max(0, match.start() - 20) : match.end() + 25]
        value = _value(match[0])
        counted = frozenset(word for word in ordered(right)[:_COUNTED_MAX] if not word[:1].isdigit())
        clause = content(f"{left} {right}")
        found.append(Cue("number", value, bound, about, clause, " ".join(said.split()), counted))
    return found


def _polarities(text: str) -> list[Cue]:
    found = []
    for match in [*_POLARITY.finditer(text), *_LOOSE_ONLY.finditer(text)]:
        kind: Kind = match.lastgroup or "only"  # type: ignore[assignment]
        left, right = _clause(text, match.start(), match.end())
        if re.search(r"\b(?:more|longer|fewer|less|later|exceed)\b", right[:12]) and _NUMBER.search(right[:32]):
            continue  # "no more than 3" is the bound of a number
        if match.lastgroup is None:
            found.append(Cue("only", "", "", frozenset(), content(f"{left} {right}"), ""))
            continue
        scope = ordered(right)[:_SCOPE_WORDS_MAX] or ordered(left)[-_NEAR_WORDS_MAX:]
        said = " ".join(text[max(0, match.start() - 25) : match.end() + 35].split())
        nots = (kind == "not") + sum(m.lastgroup == "not" for m in _POLARITY.finditer(f"{left} | {right}"))
        found.append(Cue(kind, match[0], "", frozenset(scope), content(f"{left} {right}"), said, frozenset(), nots))
    return found


def _clause(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after, within the clause."""
    left, right = text[max(0, start - 160) : start], text[end : end + 160]
    cuts = list(_CLAUSE.finditer(left))
    cut = _CLAUSE.search(right)
    return left[cuts[-1].end() :] if cuts else left, right[: cut.start()] if cut else right


def _value(word: str) -> str:
    word = word.lower()
    if word == "one":
        return "1"
    if word in _WORDS:
        return _WORDS[word]
    digits = word.replace(",", "")
    return digits.lstrip("0") or "0" if "." not in digits else digits.rstrip("0").rstrip(".")
