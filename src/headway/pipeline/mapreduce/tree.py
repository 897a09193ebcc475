"""Reads the chunks and merges what was said of them, each group as soon as its own members are there.

The tree is `policy.tree`'s. What has the longest way to the root goes first, and of two as long ways a merge: for trees
of equal jobs on a given number of machines no order ends sooner. Source: T. C. Hu, "Parallel Sequencing and Assembly
Line Problems" (1961). How many are merged at once is settled by the first answers, of chunks that are named
beforehand. A group whose members turn out too long for one call is merged in two steps or more, again by
neighbours and by their sizes alone.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headway.errors import ConfigError, ProviderError
from headway.pipeline.mapreduce.asking import Caller
from headway.pipeline.mapreduce.result import Progress, Watch
from headway.pipeline.mapreduce.sizes import check_number
from headway.pipeline.mapreduce.work import OnError, Told, Work
from headway.policy.tree import Group, Node, fan_in_for, groups_that_fit, merge_tree, pilots
from headway.prompts.task import Task
from headway.types import Result

__all__ = ["How", "Mapper", "Tree"]

Mapper: TypeAlias = Callable[[Task, Sequence[Mapping[str, Any]]], AsyncGenerator[Result, None]]
"""Reads the chunks in the engine's stead: a task and a row for each chunk in, a `Result` for each out, in any order."""


_FIRST: Final = 1 << 30


class _Step:
    """A node of the tree on its way."""

    __slots__ = ("depth", "missing", "order", "parent", "place", "told")

    def __init__(self, parent: _Step | None, place: int, order: int, members: int) -> None:
        self.parent = parent
        self.place = place
        """Which of the parent's members it is."""
        self.depth: int = 0 if parent is None else parent.depth + 1
        """Merges behind this one."""
        self.order = order
        self.missing = members
        self.told: list[Told | None] = [None] * members


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How it is run; see `headway.mapreduce`."""

    concurrency: int
    on_error: OnError
    mapper: Mapper | None
    watch: Watch | None

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        if self.on_error not in ("mark", "fail", "drop"):
            raise ConfigError(f'mapreduce: on_chunk_error must be "mark", "fail" or "drop", not {self.on_error!r}')
        check_number("concurrency", self.concurrency, 1, 100_000)


class Tree:
    """One run over the chunks of one text.

    Args:
        caller: Makes the calls.
        how: How many at once, and what becomes of those that fail.
    """

    def __init__(self, caller: Caller, how: How) -> None:
        self._caller = caller
        self._plan = caller.plan
        self._sizes = caller.plan.sizes
        self._parts = len(caller.plan.spans)
        self._how = how
        self.work = Work(caller, how.on_error)
        self._ready: list[tuple[int, int, int, _Step | None]] = []
        self._running: dict[asyncio.Task[Told], tuple[int, _Step | None]] = {}
        self._parents: dict[int, tuple[_Step, int]] = {}
        self._top: _Step | None = None
        self._unseen = set(pilots(self._parts))
        self._planned = 0
        self.chunks: list[Told | None] = [None] * self._parts
        self.mapped_at_s = 0.0
        self._mapped = self._failed = 0

    async def members(self) -> list[Told]:
        """What the last merge merges: everything read, and merged as far as it must be to fit into one call.

        Raises:
            ProviderError: No chunk could be read; or one could not, and `on_error` is "fail".
            HeadwayError: There was no use in going on.
        """
        try:
            if self._how.mapper is None:
                for part in range(self._parts):
                    heapq.heappush(self._ready, (-_FIRST if part in self._unseen else 1 - _FIRST, 1, part, None))
            else:
                await self._mapped_elsewhere(self._how.mapper)
            while self._top is None or self._top.missing or not self._fits(self._top):
                await self._step()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        told = _whole(self._top)
        if not any(one.text for one in told):
            raise ProviderError(self._nothing())
        return told

    def _nothing(self) -> str:
        """Why there is nothing to merge."""
        if any(one is not None and one.text for one in self.chunks):
            reason = next((merge.error for merge in self.work.merges if merge.error), "every answer was empty")
            return f"the parts of the text were read, and none could be merged: {reason}"
        reason = next((one.error for one in self.chunks if one is not None and one.error), "every answer was empty")
        return f"none of the {self._parts} parts of the text could be read: {reason}"

    # -- the tree ------------------------------------------------------------------------------------------------

    def _plan_merges(self) -> None:
        """Some answers are there and say how long they are: what is merged with what is settled from now on."""
        seen = [told.size for part in pilots(self._parts) if (told := self.chunks[part]) is not None and told.text]
        room, asked = self._sizes.merge_room, self._sizes.fan_in
        fan_in = fan_in_for(seen, room, room // asked)
        self._top = self._planted(merge_tree(self._parts, fan_in, min(fan_in, asked)))
        self._ready = [(-1 - self._parents[part][0].depth, 1, part, None) for _, _, part, _ in self._ready]
        heapq.heapify(self._ready)
        for part, told in enumerate(self.chunks):
            if told is not None:
                self._give(*self._parents[part], told)

    def _planted(self, tree: Node) -> _Step:
        """Steps for all groups; the root's is given back."""
        top = _Step(None, 0, 0, 1 if isinstance(tree, int) else len(tree.children))
        if isinstance(tree, int):
            self._parents[tree] = (top, 0)
            return top
        stack: list[tuple[Group, _Step]] = [(tree, top)]
        while stack:
            group, step = stack.pop()
            self._planned += 1
            for place, child in enumerate(group.children):
                if isinstance(child, int):
                    self._parents[child] = (step, place)
                else:
                    stack.append((child, _Step(step, place, child.first, len(child.children))))
        return top

    def _give(self, step: _Step, place: int, told: Told) -> None:
        """Hand a member to its group; a group that is whole is merged next, or, too long, in several steps."""
        step.told[place] = told
        step.missing -= 1
        if step.missing == 0 and step.parent is not None and self._fits(step):
            heapq.heappush(self._ready, (-step.depth, 0, step.order, step))

    def _fits(self, step: _Step) -> bool:
        """Whether the members fit into one call. If not, they are members of new groups, which are its members now."""
        members = _whole(step)
        ranges = groups_that_fit([one.size for one in members], self._sizes.merge_room)
        if len(ranges) < 2:
            return True
        step.told, step.missing = [None] * len(ranges), len(ranges)
        for place, (start, end) in enumerate(ranges):
            if end - start == 1:
                step.told[place] = members[start]
                step.missing -= 1
                continue
            below = _Step(step, place, members[start].first, end - start)
            below.told, below.missing = list(members[start:end]), 0
            self._planned += 1
            heapq.heappush(self._ready, (-below.depth, 0, below.order, below))
        return False

    # -- the work ------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """Start what there is room for, and wait for something to end."""
        while self._ready and len(self._running) < self._how.concurrency:
            _, _, part, step = heapq.heappop(self._ready)  # no two are equal up to the third place
            work = self.work.read(part) if step is None else self.work.merge(_whole(step))
            self._running[asyncio.create_task(work)] = (part, step)
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in [one for one in self._running if one in done]:
            part, step = self._running.pop(task)
            told = task.result()
            if step is None:
                self._read_ended(part, told)
            else:
                self._merge_ended(step, told)

    def _read_ended(self, part: int, told: Told) -> None:
        if told.error and self._how.on_error == "fail":
            start, end = self._plan.spans[part]
            raise ProviderError(
                f"part {part + 1} of {self._parts} (characters {start:,} to {end:,}) could not be read: {told.error}"
            )
        self.chunks[part] = told
        self._mapped += 1
        self._failed += bool(told.error)
        if self._mapped == self._parts:
            self.mapped_at_s = asyncio.get_running_loop().time()
        self._unseen.discard(part)
        if self._top is not None:
            self._give(*self._parents[part], told)
        elif not self._unseen:
            self._plan_merges()
        self.tell("map")

    def _merge_ended(self, step: _Step, told: Told) -> None:
        assert step.parent is not None  # the root is merged by whoever asked for its members
        self._give(step.parent, step.place, told)
        self.tell("reduce")

    def tell(self, phase: Literal["map", "reduce", "refine", "done"]) -> None:
        """Let the watcher know how far it is."""
        if self._how.watch is not None:
            self._how.watch(Progress(
                phase=phase, chunks=self._parts, mapped=self._mapped, failed=self._failed,
                merges=max(self._planned, len(self.work.merges)), merged=len(self.work.merges),
            ))  # fmt: skip

    async def _mapped_elsewhere(self, mapper: Mapper) -> None:
        """All chunks by somebody else; what was cut there is asked again here."""
        bound = self._sizes.part_tokens_max
        asked = [part for part in range(self._parts) if not self._plan.blank(part)]
        owed = dict.fromkeys(range(self._parts), "") | dict.fromkeys(asked, "the mapper gave nothing for it")
        async with aclosing(mapper(*self._plan.first())) as results:
            async for result in results:
                if not isinstance(result, Result) or not 0 <= result.index < len(asked):
                    gave = f"the index {result.index}" if isinstance(result, Result) else f"a {type(result).__name__}"
                    raise ConfigError(
                        f"mapreduce: the mapper gave {gave} for {len(asked)} rows; give a headway.Result for each, its "
                        "index being the row's place from 0"
                    )
                part = asked[result.index]
                if owed.pop(part, None) is None:
                    continue
                answered = await self._caller.settled("map", self._plan.row(part), bound, result)
                self._read_ended(part, self.work.told(part, answered))
        for part, error in owed.items():
            self._read_ended(part, Told(first=part, last=part, error=error))


def _whole(step: _Step) -> list[Told]:
    assert step.missing == 0
    return [one for one in step.told if one is not None]
