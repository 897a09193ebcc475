"""What is done with a chunk, and with a group: ask, bound what comes back, and show gaps for what does not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final, Literal, TypeAlias

import msgspec

from headway.errors import ProviderError
from headway.pipeline.mapreduce.asking import Answered, Caller
from headway.pipeline.mapreduce.chunks import beginning, equal_spans
from headway.pipeline.mapreduce.result import Merge
from headway.pipeline.mapreduce.sizes import LABEL_TOKENS, TOKENS_A_WORD

__all__ = ["OnError", "Told", "Work", "parts_named"]

OnError: TypeAlias = Literal["mark", "fail", "drop"]

_SHRINK: Final = 0.9
"""A merge asks for at most this part of what it merges."""
_TIGHTER_MAX: Final = 2.0
_HALVINGS_MAX: Final = 3


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of neighbouring chunks: by one answer, or by none."""

    first: int
    """Chunks from 0; both ends included."""
    last: int
    text: str = ""
    tokens: int = 0
    over: float = 1.0
    """How many times as long as asked for."""
    error: str = ""
    cut: bool = False
    level: int = 0
    below: tuple[Told, ...] = ()
    """What it was merged from."""

    @property
    def size(self) -> int:
        """Tokens that it takes in a merge."""
        return self.tokens + LABEL_TOKENS if self.text or self.error else 0


class Work:
    """The calls about one text.

    Args:
        caller: Makes them.
        on_error: What becomes of what could not be asked.
    """

    def __init__(self, caller: Caller, on_error: OnError) -> None:
        self._caller = caller
        self._plan = caller.plan
        self._sizes = caller.plan.sizes
        self._parts = len(caller.plan.spans)
        self._on_error = on_error
        self.merges: list[Merge] = []
        """Those that are done, in the order in which they ended."""

    async def read(self, part: int) -> Told:
        """Ask about a chunk."""
        if self._plan.blank(part):
            return Told(first=part, last=part)
        start, end = self._plan.spans[part]
        answered = await self._caller.ask("map", self._plan.row(part), self._sizes.part_tokens_max)
        if answered.too_long:
            answered = await self._halved(part, self._plan.text[start:end], _HALVINGS_MAX)
        return self.told(part, answered)

    async def _halved(self, part: int, text: str, times: int) -> Answered:
        """A chunk that is too long by the provider's count: read in two halves, one after the other."""
        count, words = self._plan.count, max(1, self._sizes.part_words // 2)
        found: list[Answered] = []
        for start, end in equal_spans(text, -(-count(text) * 11 // 20), count):
            row = self._plan.row(part, text[start:end], words)
            one = await self._caller.ask("map", row, self._sizes.part_tokens_max)
            if one.too_long and times > 1:
                one = await self._halved(part, text[start:end], times - 1)
            if one.error:
                return one
            found.append(one)
        return Answered(
            "\n\n".join(one.text for one in found), sum(one.tokens for one in found), cut=any(one.cut for one in found)
        )

    def told(self, part: int, answered: Answered) -> Told:
        """What to make of the answer about a chunk."""
        if answered.error or not answered.text:
            return Told(first=part, last=part, error=answered.error or "the answer was empty")
        text, tokens, cut = self._bounded(answered)
        over = answered.tokens / (self._sizes.part_words * TOKENS_A_WORD)
        return Told(first=part, last=part, text=text, tokens=tokens, over=over, cut=cut)

    def _bounded(self, answered: Answered) -> tuple[str, int, bool]:
        """The answer, shortened where it would keep any other from being merged with it."""
        room, count = self._sizes.summary_room, self._plan.count
        if answered.tokens <= room:
            return answered.text, answered.tokens, answered.cut
        share = max(1, int(room * min(1.0, count(answered.text) / answered.tokens)))  # billed may be more than counted
        text = beginning(answered.text, share, count).strip()
        return text, min(room, max(1, count(text))), True

    async def merge(self, members: list[Told]) -> Told:
        """Merge neighbours into one.

        Raises:
            ProviderError: They were not merged, and `on_error` is "fail".
        """
        if len(members) == 1:
            return members[0]
        first, last = members[0].first, members[-1].last
        said = [one for one in members if one.text]
        if len(said) < 2:
            return self._passed_on(members, first, last)
        words = self.words_for(said)
        row = self._plan.asks.row(summaries=self.summaries(members), words=words, parts=self._parts)
        answered = await self._caller.ask("reduce", row, self._sizes.part_tokens_max)
        if answered.too_long and len(members) > 2:  # by the provider's count: in two halves, then
            middle = len(members) // 2
            return await self.merge([await self.merge(members[:middle]), await self.merge(members[middle:])])
        level = 1 + max(one.level for one in members)
        error = answered.error or ("" if answered.text else "the answer was empty")
        text, tokens, cut = self._bounded(answered) if not error else ("", 0, False)
        self.merges.append(Merge(
            level=level, first=first + 1, last=last + 1, inputs=tuple((one.first + 1, one.last + 1) for one in members),
            tokens_in=sum(one.tokens for one in members), tokens=answered.tokens, error=error, cut=cut,
        ))  # fmt: skip
        if error and self._on_error == "fail":
            raise ProviderError(f"parts {first + 1} to {last + 1} could not be merged: {error}")
        return Told(
            first=first, last=last, text=text, tokens=tokens, over=answered.tokens / (words * TOKENS_A_WORD),
            error=error, cut=cut, level=level, below=tuple(members),
        )  # fmt: skip

    def _passed_on(self, members: list[Told], first: int, last: int) -> Told:
        """Of one text and gaps, or of gaps alone, nothing is to be merged: no call is made."""
        said = next((one for one in members if one.text), None)
        level = max(one.level for one in members)
        if said is None:
            error = next((one.error for one in members if one.error), "")
            return Told(first=first, last=last, error=error, level=level, below=tuple(members))
        text, tokens = said.text, said.tokens
        if self._on_error == "mark" and any(one.error for one in members):
            text = self.summaries(members)
            tokens = min(self._sizes.summary_room, self._plan.count(text))
        return Told(
            first=first, last=last, text=text, tokens=tokens,
            over=said.over, cut=said.cut, level=level, below=tuple(members),
        )  # fmt: skip

    def words_for(self, said: Sequence[Told]) -> int:
        """How many words a merge is asked for: less than it merges, and less again where answers came out too long."""
        over = min(_TIGHTER_MAX, max(1.0, sum(one.over for one in said) / len(said)))
        shrunk = _SHRINK * sum(one.tokens for one in said) / TOKENS_A_WORD
        return max(1, int(min(self._sizes.part_words / over, shrunk)))

    def summaries(self, members: Sequence[Told]) -> str:
        """What a merge merges: each text under the parts it stands for, gaps visibly between them."""
        shown: list[str] = []
        for is_said, run in groupby((one for one in members if one.text or one.error), key=lambda one: bool(one.text)):
            ones = list(run)
            if is_said:
                shown += [f"[{parts_named(one.first, one.last)}]\n{one.text}" for one in ones]
            elif self._on_error == "mark":
                shown.append(f"[{parts_named(ones[0].first, ones[-1].last)} missing: could not be read]")
        return "\n\n".join(shown)


def parts_named(first: int, last: int) -> str:
    """E.g. "parts 3-7"; chunks from 0."""
    return f"part {first + 1}" if first == last else f"parts {first + 1}-{last + 1}"
