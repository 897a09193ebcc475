"""The last call: of a text that fits, of what was merged, and of the answer beside its sources; and the result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from headway.errors import ProviderError
from headway.pipeline.mapreduce.aside import aside
from headway.pipeline.mapreduce.asking import Answered, Caller, TooLong
from headway.pipeline.mapreduce.plan import in_chunks
from headway.pipeline.mapreduce.result import Chunk, Gap, MapReduced, Merge, Source
from headway.pipeline.mapreduce.sources import sources_of
from headway.pipeline.mapreduce.tree import How, Tree
from headway.pipeline.mapreduce.work import Told, parts_named

__all__ = ["Ending"]

_GAPS_SHOWN_MAX: Final = 20


class Ending:
    """One map-reduce, from its chunks to its result. Run it once: `run`, or `pieces`.

    Args:
        caller: Makes the calls.
        how: How many at once, and what becomes of those that fail.
    """

    def __init__(self, caller: Caller, how: How) -> None:
        self._caller = caller
        self._plan = caller.plan
        self._sizes = caller.plan.sizes
        self._how = how
        self._refine = "refine" in caller.plan.asks.kinds
        self._tree = Tree(caller, how)
        self._members: list[Told] = []
        self._draft = ""
        self._draft_cut = False
        self._began_s = 0.0
        self.result: MapReduced | None = None

    async def run(self) -> MapReduced:
        """All of it, the last call in one piece."""
        self._began_s = asyncio.get_running_loop().time()
        answered = await self._answered()
        if self._refine:
            self._draft = answered.text
            again = await self._caller.ask("refine", await self._refining(), self._sizes.answer_tokens_max)
            if again.text and not again.error:  # else the draft is the answer: it is good by itself
                answered = again
        return await self._ended(answered)

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The text of the last call as it comes."""
        self._began_s = asyncio.get_running_loop().time()
        said: list[str] = []
        async with aclosing(self._live()) as live:
            async for piece in live:
                said.append(piece)
                yield piece
        text = "".join(said)
        answered = Answered(text, self._plan.count(text), cut=self._caller.was_cut)
        if not self._refine:
            self._good(answered)
            if not self._plan.whole:
                self._merged(answered)
        if missing := self._missing():
            yield missing
        await self._ended(answered)

    async def _live(self) -> AsyncGenerator[str, None]:
        if self._refine:
            drafted = await self._answered()
            self._draft, self._draft_cut = drafted.text, drafted.cut
            kind, row = "refine", await self._refining()
        else:
            kind, row = await self._last()
        said = too_long = False
        try:
            async with aclosing(self._caller.live(kind, row, self._sizes.answer_tokens_max)) as live:
                async for piece in live:
                    said = True
                    yield piece
        except ProviderError as problem:
            too_long = isinstance(problem, TooLong) and await self._shortened(kind)
            if said or not (too_long or kind == "refine"):
                raise
        if too_long:
            async with aclosing(self._live()) as live:
                async for piece in live:
                    yield piece
        elif kind == "refine" and not said:  # the draft is good by itself
            self._caller.was_cut = self._draft_cut
            yield self._draft

    # -- the last call -------------------------------------------------------------------------------------------

    async def _last(self) -> tuple[str, dict[str, Any]]:
        """What is asked last, everything before it being done."""
        if self._plan.whole:
            self._members = [Told(first=0, last=0, text=self._plan.text)]
            return "whole", self._plan.row(0)
        self._members = self._members or await self._tree.members()
        summaries = self._tree.work.summaries(self._members)
        return "reduce", self._plan.asks.row(summaries=summaries, words=self._sizes.words, parts=len(self._plan.spans))

    async def _answered(self) -> Answered:
        """The answer to that, in one piece."""
        kind, row = await self._last()
        answered = await self._caller.ask(kind, row, self._sizes.answer_tokens_max)
        if answered.too_long and await self._shortened(kind):
            return await self._answered()
        self._good(answered)
        if kind == "reduce":
            self._merged(answered)
        return answered

    async def _shortened(self, kind: str) -> bool:
        """Make less of a prompt that fits by our count and does not by the provider's; whether that can be done."""
        if kind == "whole" and len((plan := in_chunks(self._plan)).spans) > 1:
            self._plan = self._caller.plan = plan
            self._tree = Tree(self._caller, self._how)
            self._members = []
        elif kind == "reduce" and len(self._members) > 2:
            middle = len(self._members) // 2
            halves = (self._members[:middle], self._members[middle:])
            self._members = [await self._tree.work.merge(half) for half in halves]
        else:
            return False
        return True

    async def _refining(self) -> dict[str, Any]:
        """The answer beside the sentences it rests on, in the order of the text, as many as fit into a merge."""
        self._tree.tell("refine")
        draft, count, shown = self._draft, self._plan.count, set()
        found = await self._sources(draft)
        room = self._sizes.merge_room - count(draft)
        for source in sorted(found, key=lambda one: -one.score):
            room -= count(source.text) + 2
            if room < 0:
                break
            shown.add((source.start, source.end))
        sentences = "\n".join(f"- {self._plan.text[start:end]}" for start, end in sorted(shown))
        return self._plan.asks.row(
            summary=draft, sources=sentences, words=self._sizes.words, parts=len(self._plan.spans)
        )

    async def _sources(self, answer: str) -> tuple[Source, ...]:
        """What the answer rests on."""
        text, spans = self._plan.text, self._plan.spans
        return await aside(lambda: sources_of(answer, self._members, text, spans), len(text))

    def _good(self, answered: Answered) -> None:
        if answered.error or not answered.text.strip():
            what = "the text could not be read" if self._plan.whole else "the last merge failed"
            raise ProviderError(f"{what}: {answered.error or 'the answer came back empty; ask another model'}")

    def _merged(self, answered: Answered) -> None:
        """Book the last merge."""
        self._tree.work.merges.append(Merge(
            level=1 + max(one.level for one in self._members), first=1, last=len(self._plan.spans),
            inputs=tuple((one.first + 1, one.last + 1) for one in self._members),
            tokens_in=sum(one.tokens for one in self._members), tokens=answered.tokens, cut=answered.cut,
        ))  # fmt: skip

    # -- the result ----------------------------------------------------------------------------------------------

    def _gaps(self) -> list[Gap]:
        """What could not be read, and what was lost where a merge failed; in order."""
        spans = self._plan.spans
        return [
            Gap(
                first=one.first + 1,
                last=one.last + 1,
                start=spans[one.first][0],
                end=spans[one.last][1],
                reason=one.error,
            )
            for one in _lost(self._members)
        ]

    def _missing(self) -> str:
        """The answer's last paragraph, where parts are missing and are to be shown."""
        gaps = self._gaps() if self._how.on_error == "mark" else []
        if not gaps:
            return ""
        named = [
            f"{parts_named(gap.first - 1, gap.last - 1)} of {len(self._plan.spans)} (characters {gap.start:,} to "
            f"{gap.end:,}): {gap.reason}"
            for gap in gaps[:_GAPS_SHOWN_MAX]
        ]
        more = f"; and {len(gaps) - len(named)} more" if len(gaps) > len(named) else ""
        return f"\n\n[Missing: {'; '.join(named)}{more}]"

    async def _ended(self, answered: Answered) -> MapReduced:
        """The result."""
        sources = await self._sources(answered.text)
        self._tree.tell("done")
        tally, now_s = self._caller.tally, asyncio.get_running_loop().time()
        chunks = tuple(
            Chunk(
                id=part + 1, start=start, end=end, tokens=self._plan.count(self._plan.text[start:end]),
                summary=told.text if told is not None else "", error=told.error if told is not None else "",
                cut=told.cut if told is not None else False,
            )
            for part, ((start, end), told) in enumerate(zip(self._plan.spans, self._tree.chunks, strict=True))
        )  # fmt: skip
        self.result = MapReduced(
            text=answered.text + self._missing(),
            chunks=chunks,
            merges=tuple(self._tree.work.merges),
            gaps=tuple(self._gaps()),
            sources=sources,
            draft=self._draft,
            cut=answered.cut,
            calls=tally.calls,
            attempts=tally.attempts,
            hits=tally.hits,
            input_tokens=tally.input_tokens,
            output_tokens=tally.output_tokens,
            dollars=tally.dollars,
            elapsed_s=now_s - self._began_s,
            map_s=(now_s if self._plan.whole else self._tree.mapped_at_s) - self._began_s,
        )
        return self.result


def _lost(members: Sequence[Told]) -> list[Told]:
    """The highest nodes that failed, and those that failed below what did not."""
    found: list[Told] = []
    for one in members:
        if one.error:
            found.append(one)
        else:
            found += _lost(one.below)
    return found
