"""What a prompt asks for: its plan (labels, form, bounds), and where in it the item stands.

Reading is by patterns, as documented in docs/simulator.md; a prompt that fits none asks for a summary. A template
used for many rows is read once: everything but the item is the key of the plan.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from headway.sim.label_list import find_labels
from headway.sim.labels import LabelIndex
from headway.sim.quality import PromptFacts
from headway.sim.text import count_tokens

__all__ = ["Plan", "read_plan", "split_item"]

_NOUNS: Final = (
    "ticket|text|message|input|question|query|e-?mail|review|comment|document|article|customer|user|request|utterance"
    "|item|feedback|complaint|transcript|passage|paragraph|conversation|post|headline|context|chunk|notes?"
)
_VERBS: Final = (
    "classify|categori[sz]e|summari[sz]e|extract|label|tag|translate|rewrite|route|analy[sz]e|describe|condense|merge"
)
_MARK: Final = re.compile(
    rf"[#*>\s\"]*(?:(?:[A-Za-z][\w'’-]* ){{0,3}}(?:{_NOUNS})"
    r"(?: (?:text|below|message|query|body))?(?: ?#?(?P<number>\d{1,4}))?"
    rf"|(?:{_VERBS})(?!.*\b(?:one of|labels?|categor|classes|intents?|options?)).{{0,120}})\s*\**\s*",
    re.IGNORECASE,
)
_MARK_CHARS_MAX: Final = 200
_HEAD_CHARS: Final = 40_000
_TAIL_CHARS: Final = 20_000
_MARKS_MAX: Final = 2_000
_BOUNDS: Final = ("\n", ". ", "! ", "? ", ": ", "; ")
_AFTER: Final = re.compile(r"\**\s*")
_ORDERS: Final = re.compile(
    rf"\W*(?:you are|your task|please|return|answer|respond|reply|output|{_VERBS}|write|use\b|do not|don't|only"
    r"|choose|pick|select|labels?\b|categories|rules?\b|guidelines?|note|given|read\b|list\b|give|provide|make sure"
    r"|be\b|if the|examples?\b|options?\b|assign|determine|identify|decide|the (?:following|possible|available)|act as"
    r"|that cannot be used)",
    re.IGNORECASE,
)
_FORM: Final = re.compile(
    r"only (?:the|with the|json|one)|one of\b|exactly \d|at most \d|bullets?\b|\bjson\b|one sentence|nothing else",
    re.IGNORECASE,
)
_CUE: Final = re.compile(
    r"\n[ \t]{0,8}(?:the )?(?:label|category|answer|intent|class|output|summary|response) ?:\s{0,8}\Z", re.I
)
_NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
_N: Final = r"(?P<n>\d{1,4}|" + "|".join(_NUMBERS) + ")"
_BULLETS: Final = re.compile(
    rf"(?:(?P<how>exactly|at most|up to|no more than|a maximum of|max\.?)\s{{1,3}})?\b{_N}\s{{1,3}}"
    r"(?:[\w'\"*-]{1,20} ){0,2}?"
    r"(?:bullets?(?:[- ]points?)?|key points)\b",
    re.I,
)
_BULLET_WORDS: Final = re.compile(
    rf"(?:at most|no more than|up to|max(?:imum)?\.?(?: of)?|under)\s{{1,3}}{_N}\s{{1,3}}words", re.I
)
_SENTENCES: Final = re.compile(rf"\b{_N}(?: short| single)?[- ]sentences?\b|a single sentence", re.I)
_WORDS: Final = re.compile(
    rf"(?:(?P<how>at most|no more than|up to|under|max(?:imum)?\.?(?: of)?|fewer than)\s{{1,3}})?\b{_N}[- ]words?\b",
    re.I,
)
_ONLY: Final = re.compile(
    r"\b(?:only|just)\b[^.\n]{0,40}\b(?:label|category|class|intent|name|word|option|one of)\b|nothing else"
    r"|no (?:explanation|other text|extra)|\b(?:label|category|intent) only\b|without (?:any )?explanation",
    re.I,
)
_CHOICE: Final = re.compile(
    r"\b(?:classif\w+|categori\w+|which (?:category|label|intent)|label the|triage|route)\b", re.I
)
_JSON: Final = re.compile(r"\b(?:only|return|respond|valid|as|in|output)\b[^.\n]{0,30}\bjson\b", re.I)
_KEYS: Final = re.compile(
    r"\b(?:keys|fields|properties)\b(?: (?:named|called|are|of))?:?\s{1,3}"
    r"([`'\"]?[A-Za-z_]\w{0,40}[`'\"]?(?:(?:, ?(?:and )?| and )[`'\"]?[A-Za-z_]\w{0,40}[`'\"]?){0,19})",
    re.I,
)
_SKELETON: Final = re.compile(r"\"([A-Za-z_]\w{0,40})\" ?:")
_GUIDE: Final = re.compile(r"\b(?:rules?|if (?:the|a|it)|when the|examples?|definitions?|e\.g\.|means)\b", re.I)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer has to be."""

    labels: LabelIndex | None = None
    choice: bool = False
    """A classification is asked for, with or without a list."""
    label_only: bool = False
    bullets: int = 0
    bullets_exactly: bool = False
    words_max: int = 0
    """Of the whole answer, or of each bullet."""
    words_wanted: int = 0
    """About so many words of prose are asked for."""
    sentences: int = 0
    json: bool = False
    keys: tuple[str, ...] = ()
    """Of the JSON object, as far as the prompt names them."""
    facts: PromptFacts = PromptFacts()
    demands: bool = False
    """Says what to do, so that a text next to it is the item as a whole."""


def read_plan(text: str) -> Plan:
    """Read the instructions: everything in the prompt but the item; of long ones the start and the end."""
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        text = f"{text[:_HEAD_CHARS]}\n{text[-_TAIL_CHARS:]}"
    names, hints = find_labels(text)
    labels = LabelIndex(names, hints) if names else None
    wish = _BULLETS.search(text)
    how = "" if wish is None else (wish["how"] or "exactly").lower()
    limit = _BULLET_WORDS.search(text)
    words = _WORDS.search(text) if not limit else None
    lines = _SENTENCES.search(text) if not wish else None
    json = bool(_JSON.search(text))
    choice = labels is not None or bool(_CHOICE.search(text))
    keys: tuple[str, ...] = ()
    if json:
        keys = tuple(dict.fromkeys(_SKELETON.findall(text)))[:20]
        if not keys and (named := _KEYS.search(text)):
            keys = tuple(w for w in re.findall(r"[A-Za-z_]\w*", named[1]) if w != "and")
    return Plan(
        labels=labels,
        choice=choice,
        label_only=bool(_ONLY.search(text)),
        bullets=_number(wish) if wish else 3 if re.search(r"\bbullets?\b", text, re.I) else 0,
        bullets_exactly=how == "exactly",
        words_max=_number(limit) if limit else _number(words) if words and words["how"] else 0,
        words_wanted=_number(words) if words and not words["how"] else 0,
        sentences=_number(lines) if lines else 0,
        json=json,
        keys=keys,
        facts=PromptFacts(
            labels=len(names),
            ambiguous_share=labels.ambiguous_share if labels else 0.0,
            guided=bool(hints) or bool(_GUIDE.search(text)),
            idle_tokens=_idle_tokens(text, names),
        ),
        demands=choice or bool(wish or lines or words or limit) or json or bool(re.search(_VERBS, text, re.I)),
    )


def _number(match: re.Match[str] | None) -> int:
    if match is None:
        return 0
    found = match.groupdict().get("n") or "one"
    return _NUMBERS.get(found.lower()) or int(found)


def _idle_tokens(text: str, names: tuple[str, ...]) -> int:
    """Tokens of lines and sentences that hold no label, no order about form and no guidance."""
    known = re.compile("|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)[:200])) if names else None
    idle = 0
    for part in re.split(r"\n+|(?<=[.!?])\s+", text):
        useful = (known and known.search(part)) or _FORM.search(part) or _GUIDE.search(part) or _CHOICE.search(part)
        idle += 0 if useful else count_tokens(part)
    return idle


def split_item(user: str, *, alone: bool) -> tuple[str, list[str]]:
    """The instructions in a user's message, and the item (or the numbered items) they are about.

    Args:
        user: The message.
        alone: Whether the system text already says what to do, so that an unmarked message is all item.
    """
    cut = _CUE.sub("", user)
    if items := _marked(cut):
        return items
    if alone:
        return "", [cut.strip()] if cut.strip() else []
    parts = cut.split("\n\n") if "\n\n" in cut else cut.split("\n")
    first, last = _inner(parts)
    if first < last:
        glue = "\n\n" if "\n\n" in cut else "\n"
        return glue.join(parts[:first] + parts[last:]), [glue.join(parts[first:last]).strip()]
    sentences = re.split(r"(?<=[.!?])\s+", cut)
    first, last = _inner(sentences)
    if first < last:
        return " ".join(sentences[:first] + sentences[last:]), [" ".join(sentences[first:last]).strip()]
    return cut, []


class _Mark(msgspec.Struct, frozen=True):
    """Where a mark such as "Ticket 2:" starts, where the item behind it does, and its number."""

    start: int
    end: int
    number: str | None


def _marks(text: str) -> list[_Mark]:
    """The marks in a text; the last 2,000 colons are looked at."""
    found: list[_Mark] = []
    colon = text.rfind(":")
    while colon >= 0 and len(found) < _MARKS_MAX:
        low = max(0, colon - _MARK_CHARS_MAX)
        start = max(low, *(at + len(bound) for bound in _BOUNDS if (at := text.rfind(bound, low, colon)) >= 0), 0)
        mark = _MARK.fullmatch(text, start, colon) if start > low or not low else None
        if mark is not None:
            after = _AFTER.match(text, colon + 1)
            found.append(_Mark(start, after.end() if after else colon + 1, mark["number"]))
        colon = text.rfind(":", 0, colon)
    return found[::-1]


def _marked(text: str) -> tuple[str, list[str]] | None:
    """The item after the last mark, or those after a run of numbered marks that starts at 1."""
    marks = _marks(text)
    if not marks:
        return None
    numbered = [mark for mark in marks if mark.number]
    run = numbered if len(numbered) > 1 and numbered[0].number == "1" else marks[-1:]
    ends = [mark.start for mark in run[1:]]
    tail, rest = _tail(text[run[-1].end :])
    items = [text[mark.end : end].strip() for mark, end in zip(run, ends, strict=False)] + [tail]
    items = [item for item in items if item]
    return (text[: run[0].end] + "\n" + rest, items) if items else None


def _tail(text: str) -> tuple[str, str]:
    """The last item without the paragraphs of instruction behind it, and those."""
    parts = text.split("\n\n")
    last = len(parts)
    while last > 1 and _is_order(parts[last - 1]):
        last -= 1
    return "\n\n".join(parts[:last]).strip(), "\n\n".join(parts[last:])


def _inner(parts: list[str]) -> tuple[int, int]:
    """Without the instruction-like parts at both ends."""
    first, last = 0, len(parts)
    while first < last and _is_order(parts[first]):
        first += 1
    while last > first and (
        not parts[last - 1].strip() or _FORM.search(parts[last - 1]) or _ORDERS.match(parts[last - 1])
    ):
        last -= 1
    return first, last


def _is_order(part: str) -> bool:
    """Whether a paragraph or sentence tells what to do; an empty one is nobody's item either."""
    return not part.strip() or bool(_ORDERS.match(part) or _FORM.search(part))
