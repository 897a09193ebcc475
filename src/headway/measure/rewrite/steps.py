"""Rule-based ways to say the fixed part of a prompt in fewer words, from the safe to the strong.

A step takes a text and gives another one, and names the sentences it took out on purpose (`waived`): the guard lets
those go and holds all else to the original.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from headway.measure.rewrite.cues import cues
from headway.measure.rewrite.guard import problems
from headway.measure.rewrite.phrases import tightened
from headway.measure.rewrite.pieces import verbatim
from headway.measure.rewrite.words import MARK, Said, joined, sentences, without_why
from headway.prompts.lint.run import fixed
from headway.prompts.lint.source import source_of
from headway.prompts.plain import has_term

__all__ = ["STEPS", "Asked", "Step", "Stepped"]

_SENTENCES_MAX: Final = 400
_ANSWER_VERBS: Final = re.compile(
    r"^\W*(?:(?:please|then|also|and|finally|after that|at the end|first|next)\W+(?:on [^,]*, )?)*(?:\w+ ){0,12}?"
    r"(?:quote|say|mention|explain|describe|list|tell|state|give|write|cite|compare|discuss|summari[sz]e|justify"
    r"|end)\b",
    re.IGNORECASE,
)
_FORM: Final = re.compile(
    r"\b(?:write|output|return|respond|reply|answer|give|print|end|finish|put|provide|state|say|name)\b[^.]{0,200}"
    r"\b(?:labels?|categor(?:y|ies)|class|intent|one word|single word|word|name of)\b",
    re.IGNORECASE,
)
_WITHIN_LIST: Final = re.compile(
    r"\b(?:never|do not|don['’]t|must not|not)\b[^.]{0,200}\b(?:not|outside|other than|except|besides|own|new"
    r"|else)\b[^.]{0,200}"
    r"(?:\b(?:list(?:ed)?|categor(?:y|ies)|labels?|above|below|given|options?)\b)|\bonly\b[^.]{0,200}\b(?:listed"
    r"|from the list|of these"
    r"|of the (?:following|above|labels|categories))\b",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(r"\b(?:if|when|whenever|unless|in case|otherwise)\b|^for\b", re.IGNORECASE)
_ARROW: Final = re.compile(r"->|=>|→|⇒")
_IF_THEN: Final = re.compile(
    r"^(?:if|when|whenever) (?:the |a |an )?(?P<noun>[\w-]+(?: [\w-]+)?) (?:is about|mentions|concerns|talks about"
    r"|describes|is"
    r" related to|refers to|deals with|asks about|complains about"
    r"|reports) (?P<what>[^,.;]+),? (?:then )?(?:you should )?(?:always )?"
    r"(?:choose|select|use|pick|answer(?: with)?|classify it as|label it(?: as)?|the (?:category|label) (?:is"
    r"|should be|must be)"
    r"|return|assign(?: it to)?|route it to|it is|it belongs to|put it in(?:to)?)(?: the (?:category"
    r"|label))? (?P<then>[^.;]+)[.;]?$",
    re.IGNORECASE,
)


class Asked(msgspec.Struct, frozen=True):
    """What the task around the text says."""

    labels: tuple[str, ...] = ()
    only_label: bool = False
    """All that is read of an answer is its label."""
    beside: str = ""
    """The constraint's own sentence, where it is or may be added to the text."""


class Stepped(msgspec.Struct, frozen=True):
    """What a step made of a text."""

    text: str
    waived: tuple[str, ...] = ()


Step = Callable[[str, Asked], Stepped]


def _lint(text: str, asked: Asked) -> Stepped:
    """With the safe fixes of lint: white space, JSON without layout, exact repeats."""
    return Stepped(fixed(source_of("prompt", text, "text")).source.raw)


def _filler(text: str, asked: Asked) -> Stepped:
    """Phrases said shorter, white space at line ends, empty lines in a row."""
    return Stepped(_tidy(tightened(text if "```" in text else joined(text))))


def _courtesy(text: str, asked: Asked) -> Stepped:
    """Without courtesy, personas and emphasis."""
    return _without(text, [one for one in sentences(text) if one.role in ("polite", "persona", "emphasis")])


def _duplicates(text: str, asked: Asked) -> Stepped:
    """Without sentences that another one says as well, as far as the guard can see."""
    said = [one for one in sentences(text)[:_SENTENCES_MAX] if one.role in ("rule", "plain", "definition")]
    gone: list[Said] = []
    for one in reversed(said):
        others = [two for two in said if two is not one and two not in gone]
        if any(_covers(two.text, one.text) for two in others):
            gone.append(one)
    return _without(text, gone)


def _covers(one: str, other: str) -> bool:
    """Whether `one` says all that `other` does."""
    if other == one:
        return True
    needed = set(re.findall(r"\w{4,}", other.lower()))
    have = set(re.findall(r"\w{4,}", one.lower()))
    near = len(needed & have) >= 0.6 * len(needed) if needed else False
    return near and not problems(other, one) and not problems(_told(other), one)


def _told(text: str) -> str:
    """The sentence as a rule, so that the guard asks for a counterpart whatever it is."""
    return f"You must always note: {text}"


def _reasons(text: str, asked: Asked) -> Stepped:
    """Without clauses that only say why."""
    found = text
    for one in sentences(text):
        if one.role != "example" and (short := without_why(one.text)) != one.text:
            found = found.replace(one.text, _ended(short, one.text), 1)
    return Stepped(_tidy(found))


def _examples(text: str, asked: Asked) -> Stepped:
    """One example for each label, the first, without its explanation; examples without a label all stay."""
    seen: set[str] = set()
    gone = []
    for one in sentences(text):
        if one.role != "example":
            continue
        label = _last_label(one.text, asked.labels)
        if label and label in seen:
            gone.append(one)
        seen.add(label)
    kept = _without(text, gone, waive=True)
    return _short_tails(kept, asked) if asked.only_label else kept


def _short_tails(done: Stepped, asked: Asked) -> Stepped:
    """Behind an example's arrow the label alone, where that is all that is read of an answer."""
    text, waived = done.text, list(done.waived)
    for one in sentences(text):
        arrow = _ARROW.search(one.text)
        label = _last_label(one.text, asked.labels)
        if one.role != "example" or arrow is None or not label:
            continue
        tail = one.text[arrow.end() :]
        if sum(has_term(name, tail) for name in asked.labels) == 1 and len(tail) > len(label) + 2:
            text = text.replace(one.text, f"{one.text[: arrow.end()].rstrip()} {label}", 1)
            waived.append(one.text)
    return Stepped(text, tuple(waived))


def _last_label(text: str, labels: tuple[str, ...]) -> str:
    tail = re.split(r"->|=>|→|⇒|\b(?:label|category|answer|output)\s*:", text, flags=re.IGNORECASE)[-1]
    named = [label for label in labels if has_term(label, tail)]
    return max(named, key=len) if named else ""


def _no_reasoning(text: str, asked: Asked) -> Stepped:
    """Without the wish for reasoning, and what it asks to be said with it, where only a label is read."""
    if not asked.only_label:
        return Stepped(text)
    gone: list[Said] = []
    follows = False
    for one in sentences(text):
        plain = not _CONDITION.search(one.text) and not any(cue.said for cue in cues(one.text))
        names = any(has_term(label, one.text) for label in asked.labels)
        if one.role == "reasoning":
            gone.append(one)
            follows = True
        elif follows and plain and not names and (_ANSWER_VERBS.match(one.text) or _FORM.search(one.text)):
            gone.append(one)
        elif one.role not in ("plain", "reasoning"):
            follows = False
    return _without(text, gone, waive=True) if gone else Stepped(text)


def _constraint(text: str, asked: Asked) -> Stepped:
    """Without the bare list of labels and the wish to keep to it, where the constraint's sentence says both."""
    if not asked.only_label:
        return Stepped(text)
    gone = []
    said = sentences(text)
    bare = [one for one in said if one.bullet and any(one.text.strip(" .`\"'") == label for label in asked.labels)]
    if len(bare) == len(asked.labels):
        gone += bare
    for one in said:
        named = sum(has_term(label, one.text) for label in asked.labels)
        rest = one.text
        for label in sorted(asked.labels, key=len, reverse=True):
            rest = re.sub(rf"[\"'`]?\b{re.escape(label)}\b[\"'`]?", "", rest, flags=re.IGNORECASE)
        told = len(re.findall(r"[A-Za-z]{2,}", rest))
        if (named == len(asked.labels) > 1 and told <= 14 and not _CONDITION.search(rest)) or (
            named == 0 and _WITHIN_LIST.search(one.text) and not _CONDITION.search(one.text) and not verbatim(one.text)
        ):
            gone.append(one)
    return _without(text, gone, waive=True)


def _background(text: str, asked: Asked) -> Stepped:
    """Without sentences that tell of the company, the prompt or what will be given: no rule, number or negation."""
    return _without(text, [one for one in sentences(text) if one.role == "background" and not one.bullet])


def _rule_lines(text: str, asked: Asked) -> Stepped:
    """Sentences "if it is about X, choose Y" as lines "X: Y"."""
    found = text
    for one in sentences(text):
        match = _IF_THEN.match(one.text)
        if match and any(has_term(label, match["then"]) for label in asked.labels):
            then = re.sub(
                r"^(?:the )?(?:category|label) |[\"'`]| (?:as )?(?:the )?(?:category|label)$", "", match["then"]
            )
            short = f"{match['what'].strip()}: {then.strip()}"
            if one.bullet:
                found = found.replace(one.text, short, 1)
            elif one.text in found:
                before, _, rest = found.partition(one.text)
                found = f"{before}\n- {short}\n{rest.removeprefix(' ')}"
    return Stepped(_tidy(re.sub(r"\n[ \t]*\n(?=- )", "\n", found)) if found != text else text)


def _without(text: str, gone: list[Said], *, waive: bool = False) -> Stepped:
    """The text without these sentences; an introduction that introduces nothing any more goes with them."""
    for one in gone:
        text = _cut(text, one.text)
    return Stepped(_tidy(text), tuple(one.text for one in gone) if waive else ())


def _cut(text: str, sentence: str) -> str:
    """Without the sentence, its bullet, and the white space in front of it. Wrapped sentences are found as well."""
    pattern = r"\s+".join(re.escape(word) for word in sentence.split())
    line = rf"(?:(?<=\n)|\A)[ \t]*(?:{MARK}[ \t]+)?" + pattern + r"[ \t]*(?:\n|\Z)"
    return re.sub(line + "|" + pattern + r"[ \t]*", "", text, count=1)


def _ended(short: str, before: str) -> str:
    """With the full stop that went away with the clause."""
    end = before.rstrip()[-1:]
    return short.rstrip(" ,") + (end if end in ".!?" and not short.rstrip().endswith(end) else "")


def _tidy(text: str) -> str:
    text = re.sub(r"[ \t]+(?=\n)", "", text)
    text = re.sub(r"(?mi)^[^\n\"“]*\bexamples?\b[^\n\"“]*:[ \t]*(?:\n+|\Z)", _if_lonely, text)
    text = re.sub(r"(?m)^#{1,6} [^\n]*\n+(?=#{1,6} |\Z)", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _if_lonely(found: re.Match[str]) -> str:
    """An introduction of examples stays where something follows that would not be known for one without it."""
    rest = found.string[found.end() :].lstrip()
    if rest.lower().startswith(("example", "e.g")):
        return ""  # they say themselves what they are
    return found[0] if rest[:1] in '-*"“{[`~<' or rest.lower().startswith(("input", "q:", "user")) else ""


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("lint", _lint),
    ("filler", _filler),
    ("courtesy", _courtesy),
    ("duplicates", _duplicates),
    ("reasons", _reasons),
    ("examples", _examples),
    ("reasoning", _no_reasoning),
    ("constraint", _constraint),
    ("rule lines", _rule_lines),
    ("background", _background),
)
"""Name and step, in the order in which they are tried."""
