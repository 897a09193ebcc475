"""Phrases that can be said shorter, or not at all: outside quotes, code and columns."""

from __future__ import annotations

import re
from typing import Final

from headway.measure.rewrite.words import MARK

__all__ = ["tightened"]

_KEPT: Final = re.compile(r"```.*?```|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|\{[^{}\n]*\}|https?://\S+", re.DOTALL)
# Not lint's fillers (HW202), which are shown to people one by one and only taken out, in several languages: these also
# say things in other words, in English, and what comes of all of them together is tried on rows.
_ASKING: Final = (
    (r"(?:so |and )?(?:please )?(?:make sure|be sure|make certain|ensure|see to it) that you (?:always )?", ""),
    (r"(?:so |and )?(?:please )?(?:make sure|be sure|make certain) to (?:always )?", ""),
    (r"please (?:remember|note|keep in mind|be aware|bear in mind) that you should (?:always )?", ""),
    (r"(?:please )?(?:remember|note|keep in mind|be aware|bear in mind) that ", ""),
    (r"please (?:always )?remember to ", ""),
    (r"(?:we|i)(?: would|'d)? (?:really )?(?:like|want|need|ask|expect) you to (?:please )?", ""),
    (r"what (?:we|i)(?: would|'d) like you to do is (?:to )?", ""),
    (r"if you (?:think|believe|feel|find|see|notice) that ", "if "),
    (r"your (?:task|job|goal|role|assignment)(?: here)? is (?:going to be )?to ", ""),
    (r"you (?:are asked|are required|are expected|are supposed|will need|will have|need|have) to ", ""),
    (r"it is (?:\w+ )?(?:important|essential|crucial|vital|necessary|imperative) that you ", ""),
    (r"it is (?:\w+ )?(?:important|essential|crucial|vital|necessary|imperative) to ", ""),
    (r"you should (?=always |never |not )", ""),
    (r"it is worth (?:noting|mentioning|pointing out|remembering) that ", ""),
    (r"it should (?:also )?be (?:noted|mentioned|emphasi[sz]ed|pointed out|remembered|stressed) that ", ""),
    (r"(?:when(?: you are)?|while|in|for) making (?:your|the|a) (?:decision|choice),? (?:you should |you must )?", ""),
    (
        (
            r"(?:in addition(?: to (?:this|that))?|furthermore|moreover|additionally|on the other hand|in other words"
            r"|as a general rule|generally speaking|needless to say|of course),? "
        ),
        "",
    ),
    (r"this is (?:very |really |extremely )?(?:important|crucial|critical|essential): ", ""),
    (r"under no circumstances (?:should|may|must|can) you (?:ever )?", "never "),
    (
        (
            r"(?:(?:the|this) (?:category|label|class|intent|option|level|group|tag|queue) (?:should be|is to be"
            r"|must be|is|can be)"
            r" (?:used|chosen|selected|assigned|applied|picked) (?:for|when|if|to) )"
        ),
        "",
    ),
    (r"(?:could|would|can|will) you (?:please |kindly )?(?=classify|summari[sz]e|extract|write|return|label|read)", ""),
    (r"\b(?:please|kindly) ", ""),
    (r"(?:,)? please(?=[.!,])", ""),
)
"""At the start of a clause."""
_SAYING: Final = (
    (r"(?:here|below|the following) are (?:a few|some|several|a couple of|more)? ?examples?[^:.\n]*:", "Examples:"),
    (r"the following are ", ""),
    (r"anything (?:at all )?that (?:has (?:something )?to do with|is related to|is about|concerns|relates to) ", ""),
    (r"everything (?:at all )?that (?:has to do with|is related to|is about|concerns) ", ""),
    (r"any(?:thing)? (?:kind|sort|type) of ", "any "),
    (r"in order to ", "to "),
    (r"takes? into (?:consideration|account) ", "consider "),
    (r"make (?:your|a|the) (?:decision|choice) based on ", "decide by "),
    (r"make (?:your|a|the) decision", "decide"),
    (r"make use of ", "use "),
    (r"provide (?:me |us )?(?:with )?a(?:n)? (?:brief |short )?summary of ", "summarize "),
    (r"provide (?:me |us )?(?:with )?a(?:n)? translation of ", "translate "),
    (r"(is|are) considered (?:to be |as )?", r"\1 "),
    (r"when it comes to ", "for "),
    (r"in (?:the )?(?:cases?|situations?) (?:where|in which|when) ", "if "),
    (r"in the case of ", "for "),
    (r"with the exception of ", "except "),
    (r"despite the fact that ", "although "),
    (
        (
            r"(?:(?<=answer)|(?<=summary)|(?<=reply)|(?<=response)|(?<=text)|(?<=output)) that you (?:write|produce"
            r"|give|provide"
            r"|generate|return|create|send)(?= )"
        ),
        "",
    ),
    (r"(?:at|in) all (?:times|cases)", "always"),
    (r"prior to ", "before "),
    (r"together with ", "with "),
    (r"as well as ", "and "),
    (r"by means of ", "by "),
    (r"the reason why ", "why "),
    (r"until such time as ", "until "),
    (r"on a regular basis", "regularly"),
    (r"(?:the|a) process of ", ""),
    (
        (
            r"(?:that|which) (?:is|are|was|were) (?=(?:about|in|from|related|written|mentioned|used|sent|taken|made"
            r"|given|responsible)"
            r"\b)"
        ),
        "",
    ),
    (r"so as to ", "to "),
    (r"due to the fact that ", "because "),
    (r"in spite of the fact that ", "although "),
    (r"in the event that ", "if "),
    (r"in case (?=the |a |an |it |there )", "if "),
    (r"at this point in time", "now"),
    (r"for the purpose of ", "for "),
    (r"with (?:regard|respect) to ", "about "),
    (r"in (?:regard|relation) to ", "about "),
    (r"a (?:large |great )?number of ", "many "),
    (r"the (?:vast )?majority of ", "most "),
    (r"(?:is|are) able to ", "can "),
    (r"has the ability to ", "can "),
    (
        (
            r"that (?:we|i)(?: have)? (?:gave|given|provided|give|are going to give|will give|will provide|listed)"
            r"(?: to)? you(?: above| below| here)?"
        ),
        "",
    ),
    (
        (
            r"(?:as|like) (?:already |previously )?(?:mentioned|stated|described|said|noted)(?: above| before"
            r"| earlier)?,? "
        ),
        "",
    ),
    (r"once again(?:, )? ", ""),
    (r",? and so (?:on|forth)\b", ""),
    (r",? et cetera\b|,? etc\.?(?=[,;)])", ""),
    (r"(?<=, )such as for example ", "such as "),
    (
        (
            r"\b(?:very|really|extremely|highly|absolutely|truly|quite|totally|incredibly|actually|basically"
            r"|simply) (?=[a-z])"
        ),
        "",
    ),
    (r"it should be noted that ", ""),
    (
        (
            r"as (?:accurate|precise|careful|good)(?:ly)? as (?:it (?:can )?"
            r"|you (?:can )?)?possibl[ey](?: be)?"
        ),
        "",
    ),
    (r"first and foremost,? ", "first "),
    (r"each and every ", "each "),
    (r"(?:exact )?same exact ", "same "),
    (r"whether or not ", "whether "),
    (r"the fact that ", "that "),
    (r"of any kind(?: whatsoever)?\b|\bwhatsoever\b", ""),
    (r"to the best of your (?:ability|abilities|knowledge),? ?", ""),
    (r"in a (?:\w+ and )?(\w+) (?:manner|way|fashion)\b", r"\1"),
    (r"(?:from (?:the )?beginning to (?:the )?end)", ""),
    (r"if at all possible,? ?", "if possible "),
    (r"think about it (?:once )?again(?: carefully)? and ", ""),
    (r"carefully and thoroughly |thoroughly and carefully ", ""),
)
_CLAUSE: Final = rf"(?P<lead>^[ \t]*(?:{MARK}[ \t]+)?|(?<=[.!?:;,]\s)|(?<=\band\s)|(?<=\bso\s)|(?<=\bSo\s))"


def _pattern(text: str, *, first: bool = False) -> re.Pattern[str]:
    """Phrases of the first table stand at the start of a clause only; those that begin with a comma, anywhere."""
    before = _CLAUSE if first else "" if text.startswith(",") else r"(?<![\w-])"
    return re.compile(before + text, re.IGNORECASE | re.MULTILINE)


_PHRASES: Final = (
    *((_pattern(long, first=True), short) for long, short in _ASKING),
    *((_pattern(long), short) for long, short in _SAYING),
)

_RAISE: Final = "\0"


def tightened(text: str) -> str:
    """The text with those phrases said shorter; sentences begin with a capital as they did."""
    out: list[str] = []
    at = 0
    for kept in _KEPT.finditer(text):
        out += [_outside(text[at : kept.start()]), kept[0]]
        at = kept.end()
    return _raised("".join([*out, _outside(text[at:])]))


def _outside(text: str) -> str:
    for pattern, short in _PHRASES:
        text = pattern.sub(lambda found, short=short: _cased(found, short), text)  # type: ignore[misc]
    text = re.sub(r"(?<=\S)[ \t]{2,}(?=\S)", " ", text)
    return re.sub(r"(?<=[\w)]) +(?=[,.;!?](?:\s|$))", "", text)


def _cased(found: re.Match[str], short: str) -> str:
    """The short form; what follows a phrase that is gone begins as the phrase did (a mark, for `_raised`)."""
    said = found.expand(short) if "\\" in short else short
    lead = found.groupdict().get("lead") or ""
    if found[0][len(lead) : len(lead) + 1].isupper():
        return lead + (said[:1].upper() + said[1:] if said.strip() else _RAISE)
    return lead + said


def _raised(text: str) -> str:
    """Capitals where a phrase with one went away."""
    return re.sub("\0+\\s*(\\w?)", lambda found: found[1].upper(), text)
