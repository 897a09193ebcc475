"""What no fix may do, whichever rule proposes it: every edit passes here before it is made.

Code, columns, quotations and JSON's texts stay as they are; negations, numbers and bounds stay unless the same words
remain elsewhere; and words are not thinned out by leaving little ones away.

Source: FACTS section 7 ("never: stopwords, negations, numbers, user data, quoted text").
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.passages import Text

__all__ = ["DENIALS", "NEGATIONS", "STOPWORDS", "negations_of", "numbers_of", "refusal"]

DENIALS: Final = frozenset(
    "no not never none nicht kein keine keinen nie niemals pas jamais nunca jamás non не".split()
)
"""Words that turn a sentence round by themselves, and do nothing else."""

NEGATIONS: Final = DENIALS | frozenset(
    "nothing neither nor without except unless only cannot don't doesn't didn't won't can't isn't "
    "aren't shouldn't mustn't avoid exclude omit refuse keinem keiner ohne nur "
    "außer weder noch ne aucun aucune sans sauf seulement ni ningún ninguna sin excepto "
    "solo sólo salvo não sem apenas mai senza нет никогда без кроме только niet geen nooit".split()
)
"""Words that turn a sentence round, or bound it, in the languages that the rules read."""

STOPWORDS: Final = frozenset(
    "a an the of in on at by to for from with and or but if so as that this these those it its is are was were be been "
    "has have had do does did will would can could should must may might i you he she we they your our their his her "
    "which who what when where how all any each every some than then there here into over under".split()
)
"""Little words that carry grammar; a fix never takes one by itself."""

_NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")


def refusal(text: Text, edit: Edit) -> str:
    """Why an edit must not be made; "" when it may.

    Args:
        text: The text of the edit's key.
        edit: What is proposed.
    """
    before, after = text.text[edit.start : edit.end], edit.replacement
    if not 0 <= edit.start <= edit.end <= len(text.text):
        return "it lies outside the text"
    if not text.fixed:
        return "it stands in a user's turn"
    if _only_space(before, after):
        return _refused_space(text, edit)
    if text.within(edit.start, edit.end, "code", "column"):
        return "it would change code or a column"
    if text.within(edit.start, edit.end, "json", "quote", "layout") and _plain(before) not in _plain(edit.kept):
        return "it would change a quotation, JSON or a table"
    stays = after + " " + edit.kept
    if lost := numbers_of(before) - numbers_of(stays):
        return f"it would take the number {next(iter(lost))} away"
    if lost := negations_of(before) - negations_of(stays):
        return f"it would take the word {next(iter(lost))!r} away"
    gone = Counter(_words(before)) - Counter(_words(after))
    if gone and not edit.kept and all(word in STOPWORDS for word in gone):
        return "it would only take little words away"
    return ""


def negations_of(text: str) -> Counter[str]:
    """The words of a text that deny or bound, each as often as it stands there."""
    return Counter(word for word in _words(text) if word in NEGATIONS or word.endswith("n't"))


def numbers_of(text: str) -> Counter[str]:
    """The numbers of a text, each as often as it stands there."""
    return Counter(_NUMBER.findall(text))


def _refused_space(text: Text, edit: Edit) -> str:
    """White space may go where it is no code's, no quotation's and no JSON text's."""
    if text.within(edit.start, edit.end, "code", "column", "quote"):
        return "it would change white space in code or in a quotation"
    if text.within(edit.start, edit.end, "json"):
        strings = re.finditer(r'"(?:[^"\\]|\\.)*"', text.text[edit.start : edit.end], re.DOTALL)
        inside = [match.group() for match in strings]
        if any(string not in edit.replacement for string in inside):
            return "it would change a JSON text"
        return ""
    inner = text.text[edit.start : edit.end]
    at_line_end = re.fullmatch(r"[ \t]*", inner) and text.text[edit.end : edit.end + 1] in ("", "\n", "\r")
    if text.within(edit.start, edit.end, "layout") and not at_line_end:
        return "it would change a layout"
    left, right = text.text[: edit.start][-1:], text.text[edit.end :][:1]
    if (left + inner + right).split() != (left + edit.replacement + right).split():
        return "it would join or part words"
    return ""


def _only_space(before: str, after: str) -> bool:
    return _plain(before) == _plain(after)


def _plain(text: str) -> str:
    return "".join(text.split())


def _words(text: str) -> list[str]:
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.casefold())]
