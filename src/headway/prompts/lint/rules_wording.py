"""Rules on wording: filler, padded roles, courtesies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headway.prompts.lint.articles import article_for, with_articles
from headway.prompts.lint.findings import Edit
from headway.prompts.lint.passages import Text, open_passages
from headway.prompts.lint.removing import removal
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source

__all__ = ["RULES"]

_STRESS: Final = r"(?:really |very |extremely |absolutely |critically )?"
_YOU: Final = r"(?: you(?= (?!are|have|had|can|do|did|will|must|should|may)[a-z]))?"
_FILLERS: Final = (
    (
        rf"(?:so |but |and |now )?please (?:note|remember|be aware|keep in mind|make {_STRESS}sure"
        rf"|ensure)(?: that{_YOU}| to)"
    ),
    rf"(?:you should |always )?make {_STRESS}sure (?:that{_YOU}|to)",
    rf"it is {_STRESS}(?:important|essential|crucial|vital) (?:that{_YOU}|to)",
    r"please(?: note)?[:,]?",
    r"kindly",
    r"(?<!what )(?:we|i) would like you to",
    r"(?:as|like) (?:already )?mentioned(?: above| before| earlier)?,?",
    r"remember(?: that| to)",
    r"keep in mind that",
    r"(?:really|very|extremely|absolutely) (?=important|carefully|thoroughly|closely|essential|crucial)",
    r"to the best of your (?:ability|abilities)",
    r"at all costs",
    r"in order (?=to\b)",
    r"(?:bitte|s['\u2019]il (?:vous|te) pla[i\u00ee]t|por favor|per favore|alstublieft)\b,?",
)
_FILLER: Final = re.compile(
    rf"\b(?:{'|'.join(_FILLERS)})(?:,? ?(?:{'|'.join(_FILLERS)}))*(?:(?<= )|(?!\w))", re.IGNORECASE
)
_AS_POSSIBLE: Final = re.compile(
    r"\bas (?P<word>\w+) as (?:(?:it|you|they) can possibly(?: be)?|(?:it|you|they) possibly can(?: be)?)\b",
    re.IGNORECASE,
)
_TOLD: Final = re.compile(
    r"(?:\b(?:words?|say|says|saying|write|phrase|phrases|term|terms|called|saying|use|without|wort|mot|palabra)\s+"
    r"(?:the (?:word )?)?[\"'\u201c]?)\Z",
    re.IGNORECASE,
)
_PAD_ADJECTIVE: Final = (
    r"(?:(?:extremely|highly|very|incredibly|deeply|exceptionally|truly)[ -])?(?:helpful|experienced|knowledgeable|"
    r"talented|skilled|expert|world[- ]class|brilliant|renowned|leading|seasoned|professional|friendly|smart"
    r"|intelligent|"
    r"award[- ]winning|outstanding|top[- ]tier|meticulous|dedicated|passionate|accomplished|gifted|amazing)"
)
_PERSONA: Final = re.compile(
    rf"(?:you are|act as|imagine you are|you're) (?:an? |the |one of the )?(?P<pad>{_PAD_ADJECTIVE}"
    rf"(?:(?:,? and |, | ){_PAD_ADJECTIVE})*)\b(?P<comma>,?) ?",
    re.IGNORECASE,
)
_PERSONA_TAIL: Final = re.compile(
    r",? (?:with (?:over |more than )?(?:\w+ )?(?:years|decades) of experience(?: in [\w ]+)?|who (?:has"
    r"|have) worked in "
    r"[\w ]+? for (?:many|\w+) years|(?:and )?who cares? deeply about [\w ]+)(?=[.,]| and\b)",
    re.IGNORECASE,
)
_COURTESY: Final = re.compile(
    r"(?:(?:many |a lot of )?thank(?:s| you)\b|we (?:really |greatly )?appreciate|i (?:really )?appreciate|good luck\b|"
    r"you(?:'ve| have) got this|you can do (?:it|this)|your (?:job|work|help) is (?:very |really |extremely )?"
    r"(?:important|appreciated|valuable)|hello[,!. ]|dear (?:assistant|ai|model|chatgpt|claude)|"
    r"(?:vielen |besten |herzlichen )?dank(?:e)?\b|merci\b|(?:muchas )?gracias\b|grazie\b|obrigad[oa]\b)",
    re.IGNORECASE,
)

_ARTICLE: Final = re.compile(r"(?<!\w)(?P<article>[Aa]n?)[ \t]+\Z")
_NEXT: Final = re.compile(r"[A-Za-z][\w'-]*")


def _filler(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        courtesies = [passage for passage in text.passages if _COURTESY.match(passage.text)]
        for match in _FILLER.finditer(text.open):
            if any(passage.start <= match.start() < passage.end for passage in courtesies):
                continue  # the whole sentence is a finding
            if _TOLD.search(text.text[max(0, match.start() - 40) : match.start()]):
                continue
            yield Hit(
                message="words that change nothing in what is asked",
                key=text.key,
                start=match.start(),
                end=match.end(),
                fix=_without(text, match.start(), match.end()),
            )
        for match in _AS_POSSIBLE.finditer(text.open):
            yield Hit(
                message="a superlative that asks for nothing one could do",
                key=text.key,
                start=match.start(),
                end=match.end(),
                fix=Edit(key=text.key, start=match.start(), end=match.end(), replacement=match["word"]),
            )


def _without(text: Text, start: int, end: int) -> Edit:
    """The edit that takes words out of a sentence; what then begins it gets the capital."""
    whole = text.text
    while end < len(whole) and whole[end] in " \t":
        end += 1
    if whole[end : end + 1] in (",", ".", ""):
        start -= len(whole[:start]) - len(whole[:start].rstrip(" \t,"))
        return Edit(key=text.key, start=start, end=end)
    replacement = ""
    if (article := _ARTICLE.search(whole[:start])) and (word := _NEXT.match(whole, end)):
        said = article["article"][0] + article_for(word[0])[1:]
        if said != article["article"]:  # "a really important" -> "an important"
            return Edit(key=text.key, start=article.start("article"), end=end, replacement=f"{said} ")
    if whole[start].isupper() and whole[end].islower():
        replacement, end = whole[end].upper(), end + 1
    return Edit(key=text.key, start=start, end=end, replacement=replacement)


def _persona(source: Source) -> Iterator[Hit]:
    for text, passage in open_passages(source.texts):
        said = text.text[passage.start : passage.end]
        match = _PERSONA.match(said)
        if match is None:
            continue
        tails = list(_PERSONA_TAIL.finditer(said))
        padding = len(re.findall(_PAD_ADJECTIVE, match["pad"], re.IGNORECASE)) + len(tails)
        if padding < 2:
            continue
        short = said[: match.start("pad")] + said[match.end() :]
        for tail in tails:
            short = short.replace(tail.group(), "")
        short = with_articles(said, short)
        yield Hit(
            message=f"a role with {padding} praises; the role alone says what it is for",
            key=text.key,
            start=passage.start,
            end=passage.end,
            fix=Edit(key=text.key, start=passage.start, end=passage.end, replacement=short),
        )


def _courtesy(source: Source) -> Iterator[Hit]:
    for text, passage in open_passages(source.texts):
        if _COURTESY.match(passage.text):
            yield Hit(
                message="a courtesy: the model is paid by the token",
                key=text.key,
                start=passage.start,
                end=passage.end,
                fix=removal(text, passage.start, passage.end),
            )


RULES: Final = (
    Rule(
        id="HW202",
        name="filler",
        tier="suggest",
        title='"please", "it is very important that", "make sure that"',
        reason="Rule-based tightening of this kind is worth about 2 % of a prompt's tokens (measured); emphasis on "
        "everything stresses nothing.",
        find=_filler,
    ),
    Rule(
        id="HW203",
        name="padded-role",
        tier="suggest",
        title="a role with praises and years of experience",
        reason="The role sets the tone; its praises are paid for with every call. Verify: some models answer "
        "otherwise.",
        find=_persona,
    ),
    Rule(
        id="HW204",
        name="courtesy",
        tier="suggest",
        title="thanks, greetings, encouragement",
        reason="Paid for with every call, and nothing in the answer depends on it.",
        find=_courtesy,
    ),
)
