"""The constraint most jobs have: exactly one of a list of labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from headway.errors import ConfigError
from headway.prompts.output import TOKENS_MIN, Api, Output, Sentence
from headway.prompts.reading import quoted, unfenced

__all__ = ["Labels", "one_line"]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Exactly one of a list of labels.

    Raises:
        ConfigError: No labels, an empty one, or two that differ only in case, separators or punctuation at
            the ends.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the list."""
        if not self.labels:
            raise ConfigError("labels: the list is empty; name at least one label")
        seen: dict[str, str] = {}
        for label in self.labels:
            folded = _fold(label)
            if not folded:
                raise ConfigError(f"labels: {label!r} has no letter or digit; give every label a name")
            if folded in seen:
                raise ConfigError(f"labels: {seen[folded]!r} and {label!r} cannot be told apart; rename one of them")
            seen[folded] = label

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self.labels)

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        return {_fold(label): label for label in self.labels}

    @cached_property
    def _mention(self) -> re.Pattern[str]:
        """Any label as a whole word, the longest first so that a label inside another one is not seen."""
        words = sorted(self._by_folded, key=len, reverse=True)
        return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(word) for word in words) + r")(?!\w)")

    def read(self, text: str) -> str:
        """The label. Tolerates case, quotes, fences, "Label: x", and prose that names exactly one label.

        Prose counts up to 2,000 characters; a label that is only named to be ruled out ("not billing") does
        not.
        """
        if text in self._exact:
            return text
        answer = unfenced(text)
        if label := self._by_folded.get(_fold(answer)):
            return label
        if not answer:
            raise ValueError("the answer is empty")
        if named := _NAMED.findall(answer):  # the last "Label: x" line is where prose ends up
            if label := self._by_folded.get(_fold(named[-1])):
                return label
            answer = named[-1]
        if len(answer) <= 2_000:
            folded = _spaced(answer)
            found = {m.group() for m in self._mention.finditer(folded) if not _ruled_out(folded, m.start())}
            if len(found) == 1:
                return self._by_folded[found.pop()]
            if found:
                raise ValueError(f"the answer names {len(found)} labels where exactly one is asked for")
        raise ValueError(f"{quoted(answer)} is not one of the {len(self.labels)} labels")

    def instruction(self) -> str:
        """Label first, list last: the list is the stable end of a prefix."""
        return f"Return only the label, one of: {', '.join(self.labels)}."

    def response_format(self, api: Api) -> dict[str, Any]:
        """None: an enum schema costs more tokens than the label itself."""
        return {}

    def tokens_max(self) -> int:
        """A token holds at least 2 bytes of such words, and some models add quotes or a full stop."""
        return max(TOKENS_MIN, ceil(max(len(label.encode()) for label in self.labels) / 2) + 8)


def one_line(output: Output) -> bool:
    """Whether a right answer is one line, behind which all is superfluous."""
    if isinstance(output, Labels):
        return not any("\n" in label for label in output.labels)
    return isinstance(output, Sentence)


_NAMED = re.compile(
    r"^[^\w\n]*(?:final )?(?:label|category|class|classification|intent|answer)[^\w\n:=]*"
    r"(?:is\b)?[^\w\n:=]*[:=][^\w\n]*(\w[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_RULED_OUT = re.compile(r"(?:\b(?:not|never|neither|nor|than|except|without)|n't)\W+(?:(?!but\b)\w+\W+){0,2}\Z")


def _ruled_out(text: str, at: int) -> bool:
    """Whether the words just before `at` deny what follows."""
    return _RULED_OUT.search(text[max(0, at - 60) : at]) is not None


def _spaced(text: str) -> str:
    """Case and separators folded: `Card_Arrival` and `card arrival` are one."""
    return re.sub(r"[\s_-]+", " ", text.casefold())


def _fold(text: str) -> str:
    """A label's identity: `_spaced`, without anything at its ends that is no letter or digit."""
    return re.sub(r"\A\W+|\W+\Z", "", _spaced(text))
