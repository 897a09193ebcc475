"""A prompt's text in pieces: sentences, their content words, and what each sentence is for.

Words are compared by crude stems (five letters, or the word without its ending): a guard needs to see that "classify"
and "classification" are one, and does not need grammar.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from headway.prompts.lint.guard import STOPWORDS

__all__ = [
    "MARK", "NUMBERS", "Role", "Said", "content", "joined", "ordered", "sentences", "stem", "unwrapped", "without_why",
]  # fmt: skip

Role: TypeAlias = Literal[
    "rule", "definition", "example", "persona", "polite", "emphasis", "reasoning", "intro", "background", "plain"
]

_LIGHT: Final = STOPWORDS | frozenset(
    (
        "about above actually after again allowed also although am anything available because before being below best "
        "better both careful carefully clearly closely come correct correctly accurate accurately doing done either "
        "ensure etc even everything extremely first firstly following forget further furthermore get give given "
        "having help helpful however important importance just kind kindly let like look made make makes me mentioned "
        "more most much my need needs note now often once one other out own part permitted please possible possibly "
        "precise precisely quite really remember right shall similar something such sure take them therefore thing "
        "things think thorough thoroughly through thus too try up upon us use used using various very via want way "
        "well whether while whom whose wish within yours acceptable absolutely always basically certain certainly "
        "critical crucial definitely essential exact exactly extreme fully general generally highly overall "
        "particular particularly proper properly simply special specific specifically strictly task totally truly "
        "typically usually utmost vital whole accordingly appreciate thank thanks advance grateful job never not no "
        "nor none only cannot without except unless solely exclusively decide read tell choose select pick "
        "circumstances return output answer dont doesnt isnt cant wont arent shouldnt neither nothing "
    ).split()
)
"""Words that carry no rule: function words, emphasis, courtesy, and English negations, which `cues` looks at.

Those of other languages (`lint.guard.NEGATIONS`) are no part of it: `cues` does not know them, so they are content.
"""

NUMBERS: Final = {
    word: str(value)
    for value, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)
}
MARK: Final = r"(?:[-*•–]|\(?\d{1,2}[.)])"
"""What a bullet or a numbered line begins with. Lint also takes "+" and longer numbers: it leaves such lines alone."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'’]*|\d[\d.,]*")
_ABBREVIATED: Final = re.compile(r"\b(?:e\.g|i\.e|etc|vs|approx|no|dr|mr|mrs|ms|inc|st)\.$", re.IGNORECASE)
_ENDS: Final = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|;\s+")
_BULLET: Final = re.compile(rf"\s*{MARK}\s+")
_LEADS: Final = re.compile(
    r"^(?:(?:please|kindly|then|also|first|firstly|second|secondly|next|finally|lastly|after that|in addition"
    r"|additionally"
    r"|furthermore|moreover|and|but|now|always|never|so|therefore|thus|instead|once again|again|remember|note"
    r"|in general"
    r"|remember to|make sure|be sure|ensure|make certain|see to it|it is (?:\w+ ){0,2}(?:important|essential"
    r"|crucial|vital)"
    r"|(?:we|i)(?: would|'d)? (?:like|want|need|ask)|your (?:task|job|goal|role) is|you are (?:asked|required"
    r"|expected))"
    r"\b[\s,]*(?:(?:that|to|you|should|must|will|have to|need to|are to|for you|is)\b[\s,]*)*)+",
    re.IGNORECASE,
)
_VERBS: Final = frozenset(
    (
        "abbreviate accept add address analyze analyse answer append apply approve ask assign assume avoid base "
        "begin break calculate call capitalize capitalise categorize categorise check choose cite classify "
        "combine compare compute condense consider contain convert copy correct count create decide decline "
        "default define describe detect determine discard do drop emit end escalate estimate evaluate exclude "
        "explain express extract fill find flag focus follow format give group handle highlight identify ignore "
        "include indicate infer insert interpret keep label leave limit list look map mark match mention merge "
        "name normalize normalise note number omit order output paraphrase parse pick place prefer prefix "
        "preserve print prioritize prioritise produce provide put quote rank rate read refer refrain refuse "
        "reject remove rephrase replace reply report resolve respect respond restrict return review rewrite round "
        "route say score select send separate set show skip sort spell split start state stick strip suggest "
        "summarize summarise tag take tell translate treat trim truncate use verify wrap write "
    ).split()
)
_MODAL: Final = re.compile(
    r"\b(?:must|shall|should|always|never|have to|has to|need to|needs to|required?|ought|do not|don['’]t|cannot"
    r"|can['’]t"
    r"|may not|not allowed|only|at most|at least|no more than|no fewer than|except|unless|without|not|no|n['’]t|exactly"
    r"|if|when|whenever|in case|otherwise|instead of|rather than|counts? as|means?|belongs?|goes to|go to|treat)\b",
    re.IGNORECASE,
)
_COLUMN: Final = re.compile(r"\{[^{}\s][^{}]*\}")
_EXAMPLE: Final = re.compile(
    r"^\W*(?:examples?(?: \d+)?\s*[:.]|e\.g\.|input\s*:|q\s*:|user\s*:)|[\"”’'`]\s*(?:->|=>|→|⇒)", re.IGNORECASE
)
_PERSONA: Final = re.compile(
    r"^(?:you are|you're|(?:(?:we|i) (?:want|need|would like) you to )?(?:act|behave) as|imagine (?:that )?you"
    r"|pretend|as an? (?:\w+ ){0,4}(?:assistant|expert|specialist))\b",
    re.IGNORECASE,
)
# Not lint's courtesies (HW204): what is taken for one here may go without anybody being asked.
_POLITE: Final = re.compile(
    r"^(?:many |so many )?(?:thanks?\b|thank you|we can(?:not|'t) thank|we (?:really |truly |would "
    r"|very much )*(?:appreciate|thank|count on|rely on|trust)"
    r"|i (?:really |would )*appreciate|good luck|hello|hi\b|dear\b|we hope|i hope|please and thank|your (?:help|job"
    r"|work|support)"
    r" (?:is|means|will)|keep up|do your (?:very )?best|you(?:'re| are) doing|let['’]s (?:get started|begin|start|go))",
    re.IGNORECASE,
)
_BACKGROUND: Final = re.compile(
    r"^(?:we|our|i|my|the (?:following|purpose|goal|aim)|the (?:[\w-]+ ){0,3}(?:company|department|team|business"
    r"|organi[sz]ation"
    r"|firm|agency|shop|store|bank|hospital)|this (?:prompt|task|tool|assistant|system|project|step)|below|here|every"
    r" (?:day|week|month|year)|remember, we|you will (?:be (?:given|provided|shown|sent)|receive|see|get|find))\b"
    r"(?!.{0,300}\byou (?:will|should|must|have|need|are to)\b.{0,300}\byou\b)",
    re.IGNORECASE,
)
_EMPHASIS: Final = re.compile(
    r"^(?:(?:please |also |as already (?:mentioned|said)|as (?:mentioned|stated) (?:above|before)|again|once again"
    r"|remember"
    r"|note|once more|it goes without saying)\W*(?:that )?)*(?:it is|it's|this is|your (?:work|job|answer|task) is"
    r"|the accuracy)\b[^.]{0,200}"
    r"\b(?:important|essential|crucial|vital|critical|matters?|priority)\b",
    re.IGNORECASE,
)
_DILIGENT: Final = re.compile(
    r"\b(?:read|think|consider|look|study|review|examine|analy[sz]e|go through|take your time|double-check"
    r"|reflect)\b"
    r"[^.]{0,200}\b(?:careful(?:ly)?|thorough(?:ly)?|attentive(?:ly)?|close(?:ly)?|deeply|beginning to (?:the )?end"
    r"|before you (?:answer|come|decide|respond|reply))\b|\btake your time\b",
    re.IGNORECASE,
)
_REASONING: Final = re.compile(
    r"\b(?:step[- ]by[- ]step|(?:explain|describe|show|give|write|state|provide|include)\b[^.]{0,40}"
    r"\b(?:reasoning|reasons?\b|rationale|thinking|thought process|justification|how you came|why you)"
    r"|think (?:out )?(?:a)?loud|chain of thought|justify your)\b",
    re.IGNORECASE,
)
_WHY: Final = re.compile(
    r",?\s*\b(?P<word>because|so that|as (?:this|it|that) (?:is|will|would|helps?|makes?)|since (?:this|it|that|we))\b"
    r"(?P<why>[^.;:!?]*)",
    re.IGNORECASE,
)
_WHAT_FOR: Final = re.compile(r"^(?:in order )?to (?:help|support|assist|enable|allow) [^,.;:]*, ?", re.IGNORECASE)
_WHY_NOT: Final = re.compile(r"\bnot\b|n['’]t\b|\bno\b", re.IGNORECASE)
_SET_PHRASE: Final = re.compile(
    r"can(?:not|['’]t) thank you enough|goes without saying|cannot stress (?:this )?enough", re.I
)
_GUARDED: Final = re.compile(
    r"\d|[\"“”`{}]|\b(?:not|never|no|none|only|must|except|unless|without|always|n['’]t|do not|should|at most"
    r"|at least)\b|n['’]t\b",
    re.IGNORECASE,
)


class Said(msgspec.Struct, frozen=True):
    """One sentence, bullet or example of a prompt, and what it is for."""

    text: str
    role: Role
    bullet: bool = False


def stem(word: str) -> str:
    """What a word is compared by: numbers as they are, long words by five letters, short ones without their ending."""
    word = word.lower().replace("’", "'")
    word = word.removesuffix("'s")
    word = NUMBERS.get(word, word)
    if word[:1].isdigit():
        return word.rstrip(".,").replace(",", "")
    if len(word) >= 6:
        return word[:5]
    for ending in ("es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word


def ordered(text: str) -> list[str]:
    """Stems of the content words, in their order."""
    return [stem(word) for word in _WORD.findall(text) if word.lower().replace("'", "").replace("’", "") not in _LIGHT]


def content(text: str) -> frozenset[str]:
    """Stems of the content words."""
    return frozenset(ordered(text))


def without_why(text: str) -> str:
    """The sentence without a clause that only says why, where that clause holds nothing a guard looks for."""
    text = _WHAT_FOR.sub(lambda found: found[0] if _GUARDED.search(found[0]) else "", text)
    return _WHY.sub(lambda found: found[0] if _GUARDED.search(_reason(found)) else "", text)


def _reason(found: re.Match[str]) -> str:
    """The clause; "because it is not ..." is a reason all the same, "so that it is not ..." is a wish."""
    return found["why"] if found["word"].lower() == "so that" else _WHY_NOT.sub("", found["why"])


def sentences(text: str) -> list[Said]:
    """The text in sentences and bullets, each with its role. Lines that were wrapped are joined first."""
    found: list[Said] = []
    for line in unwrapped(text):
        bullet = _BULLET.match(line)
        body = line[bullet.end() :] if bullet else line
        parts = [body] if _EXAMPLE.search(body) else _split(body)
        found += [Said(part.strip(), _role(part.strip(), bullet is not None), bullet is not None) for part in parts]
    return [one for one in found if re.search(r"\w", one.text)]


def unwrapped(text: str) -> list[str]:
    """Lines that are not empty, those that go on in lower case joined to the one before."""
    return [line for line in joined(text).split("\n") if line.strip()]


def joined(text: str) -> str:
    """The text with wrapped lines joined: those that go on in lower case where no sentence has ended."""
    lines: list[str] = []
    open_ = False
    for line in text.split("\n"):
        goes_on = open_ and line[:1].islower() and not _BULLET.match(line)
        if goes_on:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
        open_ = bool(line.strip()) and line.rstrip()[-1] not in ".!?:;"
    return "\n".join(lines)


def _split(line: str) -> list[str]:
    parts: list[str] = []
    at = 0
    for end in _ENDS.finditer(line):
        if _ABBREVIATED.search(line[at : end.start()]):
            continue
        parts.append(line[at : end.end()])
        at = end.end()
    return [*parts, line[at:]]


def _role(text: str, bullet: bool) -> Role:
    if _EXAMPLE.search(text):
        return "example"
    guarded = _GUARDED.search(_SET_PHRASE.sub("", without_why(text))) is not None
    if not guarded and _PERSONA.match(text):
        return "persona"
    if not guarded and _POLITE.match(text):
        return "polite"
    if _REASONING.search(text) and not guarded:
        return "reasoning"
    if not guarded and (_EMPHASIS.match(text) or _DILIGENT.search(text)):
        return "emphasis"
    if text.startswith("#") or re.fullmatch(r"\*\*[^*]+\*\*:?", text):
        return "intro"
    if bullet or re.match(r"^[\w\"'`* -]{1,40}:\s+\S", text):
        return "definition"
    if text.endswith(":") and not guarded:
        return "intro"
    if not guarded and _BACKGROUND.match(text) and not re.search(r",? (?:and|so|but) (?:then )?(?:you|please)\b", text):
        return "background"
    lead = _LEADS.match(text)
    start = re.match(r"[A-Za-z]+", text[lead.end() if lead else 0 :].lstrip(" ,\"'"))
    if (start and start[0].lower() in _VERBS) or _MODAL.search(text) or _COLUMN.search(text):
        return "rule"
    return "plain"
