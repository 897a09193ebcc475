"""What a rewrite of a prompt must keep, checked without asking anybody: the first of two nets, and the free one.

Kept have to be: labels and other names, numbers with their bounds, negations with what they govern, quoted text,
code, {columns}, addresses, identifiers, members of lists, and a counterpart for every sentence that is a rule. Free to
go are courtesy, personas, emphasis, clauses that say why, and introductions, as long as none of the above is in them.
The second net is a comparison on rows (`measure.compare`): what reads well may still answer worse.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

from headway.measure.rewrite.cues import added_numbers, cues, lost
from headway.measure.rewrite.pieces import SAMPLES, listed, verbatim
from headway.measure.rewrite.words import Said, content, ordered, sentences, without_why
from headway.prompts.plain import has_term

__all__ = ["CHARS_MAX", "PROBLEMS_MAX", "problems"]

PROBLEMS_MAX: Final = 20
CHARS_MAX: Final = 60_000
"""Of a text that is longer nothing is known, so it counts as refused."""
_CUES_MAX: Final = 1_500
_SENTENCES_MAX: Final = 1_500
COVERED_MIN: Final = 0.5
"""Of a rule's weighted words that one place of the rewrite has to hold. Chosen on tests/measure/rewrite_prompts.py."""

_GUARDED: Final = ("rule", "definition", "plain")
"""Sentences that must have a counterpart. What cannot be told for courtesy or background counts as a rule."""
_NEARLY: Final = 0.75
TOLD_MIN: Final = 1 / 3
"""Of the words that no other sentence has, that place has to hold so many."""

_SAMPLE_WEIGHT: Final = 0.15
_QUOTE_CHARS: Final = 70
_SAMPLES: Final = re.compile(rf"\b(?:{SAMPLES})\b", re.IGNORECASE)
_STRONG: Final = re.compile(
    r"\b(?:must|always|have to|has to|required|need to|needs to|never|shall|only)\b", re.IGNORECASE
)
_FIRM: Final = re.compile(_STRONG.pattern + r"|\bnot\b|n['’]t\b|\bexactly\b", re.IGNORECASE)
_WEAK: Final = re.compile(
    r"\b(?:you (?:may|might|can|could)|may|might|can be|could be|optional(?:ly)?|prefer(?:ably|red)?|if possible"
    r"|where possible"
    r"|try to|usually|generally|consider|ideally|feel free)\b",
    re.IGNORECASE,
)
_OPPOSITES: Final = tuple(
    tuple(pair.split("/"))
    for pair in (
        "before/after", "highest/lowest", "oldest/newest", "earliest/latest", "above/below", "include/exclude",
        "always/never", "true/false", "uppercase/lowercase", "minimum/maximum", "increase/decrease", "accept/reject",
        "allow/forbid", "ascending/descending", "more/less", "more/fewer", "larger/smaller", "longer/shorter",
        "first/last",
        "any/all", "enable/disable", "keep/remove", "public/private", "start/end", "all/some", "every/some",
    )
)  # fmt: skip


def problems(
    original: str, rewrite: str, *, keep: Sequence[str] = (), beside: str = "", waived: Sequence[str] = ()
) -> list[str]:
    """What the rewrite lost or made up, a sentence each; empty: it may be tried.

    Args:
        original: The text as it was.
        rewrite: The text that is proposed.
        keep: Names that must stay if the original has them: labels, enum values, JSON keys.
        beside: Text that goes with the rewrite in any case, such as the constraint's own sentence.
        waived: Sentences of the original that were taken out on purpose, for a reason of their own.
    """
    for sentence in waived:
        original = original.replace(sentence, " ", 1)
    whole = f"{rewrite}\n{beside}"
    if max(len(original), len(whole)) > CHARS_MAX:
        return [f"the text is longer than the {CHARS_MAX:,} characters that the guard reads"]
    if not whole.strip():
        return ["nothing is left of the text"] if original.strip() else []
    said = sentences(original)
    guarded = "\n".join(without_why(one.text) for one in said if one.role not in ("persona", "polite"))
    found = [
        f"the label or name '{name}' is gone" for name in keep if has_term(name, original) and not has_term(name, whole)
    ]
    found += _letters(original, whole)
    found += _counted(guarded, original, whole)
    found += _lists(said, whole, keep)
    found += _rules(said, whole, keep)
    found += _examples(said, whole, keep)
    return list(dict.fromkeys(found))[:PROBLEMS_MAX]


def _letters(original: str, whole: str) -> list[str]:
    """Pieces that must stand as they were, and columns that nobody had."""
    spaced = " ".join(whole.split())
    found = []
    for name, piece in verbatim(original):
        plain = " ".join(piece.split())
        same = has_term(plain, spaced) if name == "the term" else plain in spaced
        if not same and not (name == "the quoted text" and plain.rstrip(".,") in spaced):
            found.append(f"{name} {_quote(piece)} is gone")
    columns = {piece for name, piece in verbatim(original) if name == "the column"}
    added = [piece for name, piece in verbatim(whole) if name == "the column" and piece not in columns]
    return found + [f"the column {piece} is new" for piece in added]


def _counted(guarded: str, original: str, whole: str) -> list[str]:
    here, there = cues(whole), cues(guarded)
    if max(len(here), len(there)) > _CUES_MAX:
        return [f"the text has more than {_CUES_MAX:,} numbers and negations, too many for the guard to compare"]
    found = []
    for cue in lost(there, here, Counter(ordered(original))):
        what = "number" if cue.kind == "number" else "restriction"
        found.append(f"the {what} in '{cue.said}' is gone or is about something else")
    return found + [f"the number in '{cue.said}' is new" for cue in added_numbers(cues(original), here)]


def _lists(said: Sequence[Said], whole: str, keep: Sequence[str]) -> list[str]:
    """Names and members that stood in one list have to stand in one list again, or at the head of a line each."""
    places = [one.text for one in sentences(whole)]
    stems = [content(place) for place in places]
    heads = {word for place in places for word in ordered(place)[:2]}
    found = []
    for one in said:
        names = [name for name in keep if has_term(name, one.text)]
        if len(names) > 2 and not any(all(has_term(name, place) for name in names) for place in places):
            gone = [name for name in names if not any(_heads(name, place) for place in places)]
            found += [f"'{gone[0]}' is missing from the list in {_quote(one.text)}"] if gone else []
        for place in places if len(names) > 3 else ():
            short = [name for name in names if not has_term(name, place)]
            if len(short) == 1 and not any(_names(other.text, names) == len(names) - 1 for other in said):
                found.append(f"'{short[0]}' is missing from the list in {_quote(place)}")
        members = listed(one.text) if one.role in ("rule", "definition") else []
        if members and not any(set(members) <= have for have in stems):
            gone = [word for word in members if word not in heads]
            found += [f"of the list in {_quote(one.text)} a member is gone ('{gone[0]}...')"] if gone else []
    return found


def _names(text: str, names: Sequence[str]) -> int:
    return sum(has_term(name, text) for name in names)


def _heads(name: str, place: str) -> bool:
    return has_term(name, place[: len(name) + 4])


def _rules(said: Sequence[Said], whole: str, keep: Sequence[str]) -> list[str]:
    """Rules without a counterpart, weakened ones, and ones that were turned round or given to another label."""
    now = sentences(whole)
    places = [one.text for one in now if one.role != "example"] or [one.text for one in now] or [whole]
    if max(len(places), len(said)) > _SENTENCES_MAX:
        return [f"the text has more than {_SENTENCES_MAX:,} sentences, too many for the guard to compare"]
    windows = [f"{a} {b}" for a, b in zip(places, [*places[1:], ""], strict=True)]
    stems = [content(window) for window in windows]
    own = [content(place) for place in places]
    frequency = Counter(word for one in said if one.role != "example" for word in content(one.text))
    found = []
    for one in said:
        if one.role not in _GUARDED:
            continue
        weights = _weights(without_why(one.text), frequency)
        total = sum(weights.values())
        if not total:
            continue
        scores = [_share(weights, here) for here in stems]
        best = _place(scores, [_share(weights, here) for here in own])
        telling = [word for word, weight in weights.items() if frequency[word] == 1 and weight > _SAMPLE_WEIGHT]
        told = sum(word in stems[best] for word in telling)
        if scores[best] < COVERED_MIN * total or told < TOLD_MIN * len(telling):
            found.append(f"the rule {_quote(one.text)} has no counterpart")
            continue
        if problem := _turned(one, places[best], windows[best]) or _relabelled(one, places[best], windows[best], keep):
            found.append(problem)
    return found


def _examples(said: Sequence[Said], whole: str, keep: Sequence[str]) -> list[str]:
    """Examples whose label is another one now: what stands behind the arrow, or after the quotation."""
    now = [one.text for one in sentences(whole) if one.role == "example"]
    found = []
    for one in said:
        quotes = [piece for name, piece in verbatim(one.text) if name == "the quoted text"]
        if one.role != "example" or not quotes:
            continue
        names = [name for name in keep if has_term(name, _tail(one.text, quotes[0]))]
        for place in now if names else ():
            after = [name for name in keep if has_term(name, _tail(place, quotes[0]))] if quotes[0] in place else names
            if not set(after) <= set(names):
                found.append(f"the example {_quote(one.text)} has another label now")
    return found


def _tail(example: str, quote: str) -> str:
    return example.partition(quote)[2]


def _place(scores: Sequence[float], own: Sequence[float]) -> int:
    """The sentence that is the counterpart: of those whose surroundings say the rule, the one that says most itself."""
    enough = _NEARLY * max(scores)
    return max((place for place in range(len(scores)) if scores[place] >= enough), key=lambda place: own[place])


def _share(weights: Mapping[str, float], here: frozenset[str]) -> float:
    return sum(weight for word, weight in weights.items() if word in here)


def _weights(sentence: str, frequency: Counter[str]) -> dict[str, float]:
    """Stem -> weight: rare words tell a rule from the others; what only illustrates hardly counts."""
    cut = _SAMPLES.search(sentence)
    head, samples = (sentence[: cut.start()], sentence[cut.end() :]) if cut else (sentence, "")
    weights = {word: 1.0 / sqrt(frequency[word] or 1) for word in ordered(head)}
    for word in ordered(samples):
        weights.setdefault(word, _SAMPLE_WEIGHT)
    return weights


def _relabelled(one: Said, place: str, window: str, keep: Sequence[str]) -> str:
    """A sentence when the counterpart is about another label."""
    names = [name for name in keep if has_term(name, one.text)]
    if not 0 < len(names) <= 2:
        return ""  # a list: `_lists` looks at these
    strange = [name for name in keep if name not in names and _heads(name, place)]
    if strange and any(_heads(name, one.text) for name in names):
        return f"what {_quote(one.text)} says is said of '{strange[0]}' now"
    where = place if any(has_term(name, place) for name in keep) else window
    gone = [name for name in names if not has_term(name, where)]
    return f"the rule {_quote(one.text)} is not about '{gone[0]}' any more" if gone else ""


def _turned(one: Said, place: str, window: str) -> str:
    """A sentence when the counterpart asks for less, or for the opposite."""
    rule = one.text
    if _STRONG.search(rule) and not _WEAK.search(rule) and _WEAK.search(place) and not _FIRM.search(place):
        return f"the rule {_quote(rule)} is only advice now"
    before, after = _plain(rule), _plain(window)
    conditional = one.role == "rule" and before & {"if", "when", "both"}
    for pair in (*_OPPOSITES, ("and", "or")) if conditional else _OPPOSITES:
        for here, there in (pair, pair[::-1]):
            if here in before and there not in before and there in after and here not in after:
                return f"the rule {_quote(rule)} says '{there}' now instead of '{here}'"
    return ""


def _plain(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", text.lower()))


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return f"'{line if len(line) <= _QUOTE_CHARS else line[: _QUOTE_CHARS - 1] + '…'}'"
