"""Which label has the most evidence in a text.

Evidence is the overlap of stems: every stem of the text that stands in a label's name counts `1 + idf`, the inverse
document frequency among the labels, so that "card" says little where every label is about cards; a synonym counts
0.6 of that, a word of the label's description or examples 0.5. The sum is divided by the root of what the label
could have scored at most, so that long names do not win by length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Final

from headway.sim.text import stem, stems

__all__ = ["LabelIndex"]

_SYNONYM: Final = 0.6
_HINT: Final = 0.5
_COMPARED_MAX: Final = 400
_ALIKE: Final = 0.6

_GROUPS: Final = (
    "fee charge cost extra",
    "arrive arrival deliver delivery receive come post mail track",
    "lost stolen lose missing steal theft",
    "cancel revert undo stop abort",
    "fail reject decline refuse denied deny",
    "pending wait processing still long",
    "refund reimburse back",
    "change edit update modify new",
    "terminate close delete",
    "forgot forgotten forget remember reset",
    "verify verification prove proof confirm",
    "identity id passport document",
    "source origin come",
    "fiat currency euro dollar pound",
    "cash atm withdraw withdrawal money",
    "top topup topping deposit add load",
    "auto automatic automatically",
    "disposable temporary one",
    "compromised fraud hacked unauthorised someone",
    "support accept accepted work use country",
    "spare second another additional",
    "physical real plastic",
    "recognised recognise know made strange",
    "twice double duplicate two",
    "swallowed ate stuck retain machine",
    "pin passcode password code",
    "blocked block locked unblock",
    "age old child kid year daughter son",
    "link add connect put",
    "expire expiry expiration",
    "activate start activation",
    "estimate long soon",
    "rate conversion exchange convert",
    "wrong incorrect mistake different less",
    "statement bill shown",
    "transfer send sent transaction",
    "beneficiary recipient account",
    "invoice bill billing payment charge refund subscription",
    "technical bug crash error broken freeze slow app",
    "login password sign access locked",
    "shipping delivery parcel package order track",
    "feature request idea suggestion wish",
    "complaint unhappy angry disappointed terrible",
    "praise thank great love excellent",
    "positive good great love excellent happy",
    "negative bad terrible hate awful poor",
    "urgent asap immediately emergency",
)
"""Words that stand for one another in support and banking language.

Written with banking77's label names in sight, so its accuracy here is flattered: no finding about any model."""


class LabelIndex:
    """Labels with their evidence, built once per list and asked per text. Not to be changed once made.

    Args:
        names: The labels as they are to be answered.
        hints: Label -> description or examples.
    """

    __slots__ = ("_postings", "ambiguous_share", "default", "names")

    def __init__(self, names: Sequence[str], hints: Mapping[str, str] | None = None) -> None:
        self.names = tuple(names)
        own = [frozenset(stems(name.replace("-", " "))) for name in self.names]
        self._postings = _postings(own, [frozenset(stems((hints or {}).get(name, ""))) for name in self.names])
        self.ambiguous_share = _ambiguous(own)
        self.default = next(
            (i for i, name in enumerate(self.names) if own[i] & _CATCH_ALL or name.lower() == "other"), None
        )
        """The catch-all label's place, taken when there is no evidence."""

    def rank(self, text: str) -> list[int]:
        """Up to three labels' places, the most evidence first; empty without any."""
        scores: dict[int, float] = {}
        for word in dict.fromkeys(stems(text)):  # once each, in the text's order: sums of floats depend on it
            for place, weight in self._postings.get(word, ()):
                scores[place] = scores.get(place, 0.0) + weight
        return sorted(scores, key=lambda place: (-scores[place], place))[:3]


_CATCH_ALL: Final = frozenset(stems("other general miscellaneous unknown neutral"))


def _synonyms() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for group in _GROUPS:
        words = frozenset(stem(word) for word in group.split())
        for word in words:
            found[word] = found.get(word, frozenset()) | words
    return found


_SYNONYMS: Final = _synonyms()


def _postings(own: list[frozenset[str]], hints: list[frozenset[str]]) -> dict[str, list[tuple[int, float]]]:
    """Stem -> (label, weight), normalised."""
    frequency: dict[str, int] = {}
    for words in own:
        for word in words:
            frequency[word] = frequency.get(word, 0) + 1
    found: dict[str, list[tuple[int, float]]] = {}
    for place, words in enumerate(own):
        weights: dict[str, float] = {}
        for word in words:
            idf = 1 + log(len(own) / frequency[word])
            weights[word] = idf
            for other in _SYNONYMS.get(word, ()):
                if other not in words:
                    weights[other] = max(weights.get(other, 0.0), _SYNONYM * idf)
        for word in hints[place] - words:
            weights[word] = max(weights.get(word, 0.0), _HINT * (1 + log(len(own) / (1 + frequency.get(word, 0)))))
        norm = sqrt(sum(weights[word] for word in sorted(words))) or 1.0
        for word in sorted(weights):
            found.setdefault(word, []).append((place, weights[word] / norm))
    return found


def _ambiguous(own: list[frozenset[str]]) -> float:
    """Share of labels most of whose stems are another label's too; 0 beyond 400 labels."""
    if not own or len(own) > _COMPARED_MAX:
        return 0.0
    alike = sum(
        any(len(one & two) >= _ALIKE * len(one) for j, two in enumerate(own) if i != j)
        for i, one in enumerate(own)
        if one
    )
    return alike / len(own)
