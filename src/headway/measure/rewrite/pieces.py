"""What a rewrite has to keep letter by letter: quotes, code, columns, addresses, identifiers; and members of lists."""

from __future__ import annotations

import re
from typing import Final

from headway.measure.rewrite.words import ordered

__all__ = ["SAMPLES", "listed", "verbatim"]

_CODE: Final = re.compile(r"```.*?```|~~~.*?~~~", re.DOTALL)
_KINDS: Final = (
    ("the code block", _CODE),
    ("the inline code", re.compile(r"`([^`\n]+)`")),
    ("the quoted text", re.compile(r"[\"“”]([^\"“”\n]{1,300})[\"“”]|(?<![\w'])'([^'\n]{1,120})'(?!\w)")),
    ("the column", re.compile(r"(?<!\{)(\{[A-Za-z_][\w ]*\})(?!\})")),
    ("the address", re.compile(r"\b(?:https?://|www\.)[^\s)>\]\"']+|\b[\w.+-]{1,80}@[\w-]{1,80}\.[\w.-]{1,80}\w")),
    ("the path", re.compile(r"(?<![\w.])(?:~|\.{1,2})?/(?:[\w.-]+/)*[\w-]+\.?[\w-]+")),
    ("the identifier", re.compile(
        r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b|\b[a-z][a-z0-9]{0,60}[A-Z]\w*\b|\b[A-Z]{1,6}-\d+\b|<[A-Za-z/][\w-]*>"
        r"|\b[A-Za-z]\w*\(\)|\b\w+\.(?:json|csv|txt|py|xml|ya?ml|toml|html|pdf|md)\b"
    )),
)  # fmt: skip
_ACRONYM: Final = re.compile(r"\b(?=[A-Z0-9]*[A-Z][A-Z0-9]*[A-Z])[A-Z][A-Z0-9]{1,5}\b")
_SHOUTED: Final = frozenset(
    (
        "AI LLM GPT "
        "ONLY MUST NOT NEVER ALWAYS ALL ANY AND OR NO DO THE IF IS BE TO IT ARE NOTE EVERY EACH VERY WILL THIS "
        "THAT PLEASE YOU YOUR FOR OF IN ON AT BY AS WITH FROM THEN WHEN RULES RULE TASK INPUT OUTPUT OK FIRST ONE "
        "TWO DONT BOTH EXACT STOP "
    ).split()
)
_KEYS: Final = re.compile(
    r"\b(?:keys|fields|properties|columns|attributes)\b[^.\n]{0,20}?[:,]?\s+(?P<list>[^.\n]{3,200})", re.I
)
_ITEM: Final = r"(?:[\w'’/-]{1,40} ){0,3}[\w'’/-]{1,40}"
_LIST: Final = re.compile(
    rf"(?P<items>{_ITEM}(?:, {_ITEM}){{1,20}}),? (?:and|or) (?P<last>{_ITEM})"
    rf"|:\s(?P<plain>{_ITEM}(?:, {_ITEM}){{2,40}})(?=[.;\n]|$)"
)
SAMPLES: Final = r"such as|e\.g\.|for example|for instance|like|including"
"""Words before what only illustrates."""
_SAMPLE: Final = re.compile(rf"\b(?:{SAMPLES}|and so on|etc)\b", re.IGNORECASE)


def verbatim(text: str) -> list[tuple[str, str]]:
    """What must stand in a rewrite as it is: (what it is called, the text)."""
    found: list[tuple[str, str]] = []
    rest = text
    for name, pattern in _KINDS:
        for match in pattern.finditer(rest):
            piece = next((group for group in match.groups() if group), match[0])
            found.append((name, piece.strip(".,;:") if name == "the address" else piece))
        if pattern is _CODE:
            rest = _CODE.sub(" ", text)
    found += [("the term", word) for word in _ACRONYM.findall(rest) if word not in _SHOUTED]
    return list(dict.fromkeys(found))


def listed(sentence: str) -> list[str]:
    """The members' telling words of the lists in a sentence; lists that are only samples do not count."""
    words: list[str] = []
    for match in _LIST.finditer(sentence):
        if _SAMPLE.search(sentence[max(0, match.start() - 30) : match.start()]) or _SAMPLE.search(match[0]):
            continue
        if match["plain"]:
            members = match["plain"].split(", ")
            heads = [ordered(member)[:1] for member in members]
        else:
            first, *members = match["items"].split(", ")
            heads = [ordered(first)[-1:], *(ordered(member)[-1:] for member in members), ordered(match["last"])[:1]]
        words += [head[0] for head in heads if head]
    for match in _KEYS.finditer(sentence):
        members = re.split(r",\s*(?:and |or )?|\s+(?:and|or)\s+", match["list"])
        if len(members) > 1:
            heads = [ordered(members[0])[-1:], *(ordered(member)[:1] for member in members[1:])]
            words += [head[0] for head in heads if head]
    return list(dict.fromkeys(words))
