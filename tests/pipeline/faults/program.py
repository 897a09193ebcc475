"""A drawn run as a program: the steps' functions, and the pipeline that calls them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import headway
from headway import Stream

from .drawn import Drawn, StepPlan

__all__ = ["Left", "Planned", "Program"]

MODEL = "gpt-4o"


class Planned(Exception):
    """What a step raises that is to fail."""


class Left(Exception):
    """What the program raises that is to leave."""


class Program:
    """Makes the pipeline, and writes down what its functions see."""

    def __init__(self, plan: Drawn) -> None:
        self.plan = plan
        self.lines: list[str] = []
        self.handles: list[weakref.ref[Any]] = []
        """Of every step that was called, where the program still has it."""
        self.children: list[tuple[str, tuple[int, int]]] = []
        """A step, and the indexes of those that it called."""
        self.dropped: dict[str, float] = {}
        """When nobody could want a step any more, by its name; of those that had begun to stream."""
        self.running = 0
        """Functions of steps that have begun and not ended."""
        self._tries: dict[int, int] = {}
        self._steps = [headway.step(name=f"s{one.number}", **one.options)(self._function(one)) for one in plan.steps]
        self._child = headway.step(name="child")(self._whole(None))
        self._fan = headway.step(name="fan", concurrency=plan.fan_limit)(self._whole(None))
        degrade = plan.degrade and headway.Degrade(smaller_below=plan.degrade[0], skip_below=plan.degrade[1])
        self.pipeline = headway.pipeline(name="drawn", degrade=degrade)(self._main)

    def say(self, *words: Any) -> None:
        """One line of the trace."""
        self.lines.append(f"{asyncio.get_running_loop().time():.6f} " + " ".join(map(str, words)))

    # -- the pipeline ----------------------------------------------------------------------------------------------

    async def _main(self) -> Any:
        handles: list[Any] = []
        for one, step in zip(self.plan.steps, self._steps, strict=True):
            given = [self._given(handles[number], self.plan.steps[number]) for number in one.needs]
            handle = step(*given)
            self.handles.append(weakref.ref(handle))
            handles.append(handle)
            if one.use == "await":
                self.say("awaited", one.number, await handle)
            elif one.use in ("taste", "drop"):
                await self._taste(one, handle)
            if one.use == "drop":
                handles[one.number] = None
                if one.kind in ("stream", "tell", "json") and not handle.done:
                    self.dropped[handle.name] = asyncio.get_running_loop().time()
            del handle, given
        if self.plan.fan:
            fan = self._fan.map([handles[0], *range(self.plan.fan)])
            self.handles += [weakref.ref(handle) for handle in fan]
            self.say("fan", [value async for value in fan.as_completed()])
        for one in self.plan.steps:
            if one.use == "forget":
                handles[one.number] = None
        left = [handle for handle in handles if handle is not None]
        end = self.plan.end
        if end == "raises":
            raise Planned("the pipeline")
        if end == "value":
            return "value"
        if end == "nothing" or not left:
            return None
        return left if end == "all" else left[-1]

    async def _taste(self, one: StepPlan, handle: Any) -> None:
        async for chunk in handle:
            self.say("tasted", one.number, chunk)
            break

    def _given(self, handle: Any, one: StepPlan) -> Any:
        if one.use == "field":
            return handle.field("title", default="none") if one.number % 2 else handle.field("facts.2.n")
        return handle.items("facts") if one.use == "items" else handle

    # -- the steps -------------------------------------------------------------------------------------------------

    def _function(self, one: StepPlan) -> Callable[..., Any]:
        if one.kind == "plain":
            return self._plain(one)
        streams = one.kind in ("stream", "tell", "json")
        if one.live:
            return self._live_streamed(one) if streams else self._live(one)
        return self._streamed(one) if streams else self._whole(one)

    def _plain(self, one: StepPlan) -> Callable[..., Any]:
        def plain(*needs: Any) -> Any:
            self.say("plain", one.number)
            if one.fate != "well" and self._try(one) < one.at_try:
                raise Planned(one.number)
            return {"title": "T", "facts": [1, 2, {"n": 3}]}

        return plain

    def _whole(self, one: StepPlan | None) -> Callable[..., Any]:
        async def whole(*needs: Any) -> Any:
            return await self._work(one, needs)

        return whole

    def _live(self, one: StepPlan) -> Callable[..., Any]:
        async def live(first: Stream[Any], *needs: Any) -> Any:
            seen = [chunk async for chunk in first]
            return await self._work(one, (*seen[:1], *needs))

        return live

    def _streamed(self, one: StepPlan) -> Callable[..., Any]:
        async def streamed(*needs: Any) -> AsyncIterator[Any]:
            async for chunk in self._pieces(one, needs):
                yield chunk

        return streamed

    def _live_streamed(self, one: StepPlan) -> Callable[..., Any]:
        async def live_streamed(first: Stream[Any], *needs: Any) -> AsyncIterator[Any]:
            async for chunk in first:
                yield str(chunk)
                if one.number % 3 == 0:
                    break  # and leaves the rest
            async for chunk in self._pieces(one, needs):
                yield chunk

        return live_streamed

    def _try(self, one: StepPlan) -> int:
        self._tries[one.number] = count = self._tries.get(one.number, 0) + 1
        return count

    async def _work(self, one: StepPlan | None, needs: tuple[Any, ...]) -> Any:
        name = "child" if one is None else one.number
        self.running += 1
        self.say("begins", name, str(needs)[:80])
        try:
            if one is None:
                await asyncio.sleep(0.25)
                return "child"
            await self._befalls(one)
            if one.kind == "ask":
                return await headway.ask(f"{one.number}", model=MODEL)
            if one.kind == "parent":
                return await self._parent(one)
            return {"title": f"T{one.number}", "facts": ["a", "b", {"n": 3}]}
        except BaseException as error:
            self.say("fails", name, type(error).__name__)
            raise
        finally:
            self.running -= 1

    async def _parent(self, one: StepPlan) -> Any:
        first, second = self._child(one.number), self._child("more")
        self.handles += (weakref.ref(first), weakref.ref(second))
        self.children.append((f"s{one.number}", (first.index, second.index)))
        self.say("parent", one.number, await first)
        return second if one.number % 2 else await second

    async def _pieces(self, one: StepPlan, needs: tuple[Any, ...]) -> AsyncIterator[Any]:
        self.running += 1
        self.say("streams", one.number, str(needs)[:80])
        try:
            if one.fate != "raises_late":
                await self._befalls(one)
            if one.fate == "yields_nothing":
                return
            if one.kind == "stream":
                for piece in ('{"title": ', f'"T{one.number}", "facts": [1, 2,', '{"n": 3}', "]}"):
                    yield piece
                    await asyncio.sleep(one.delay_s / 4)
            else:
                async for piece in headway.ask(f"{one.kind} {one.number}", model=MODEL):
                    yield piece
            if one.fate == "raises_late":
                await self._befalls(one)
        finally:
            self.say("streamed", one.number)
            self.running -= 1

    async def _befalls(self, one: StepPlan) -> None:
        await asyncio.sleep(one.delay_s)
        if one.fate == "well" or self._try(one) >= one.at_try:
            return
        if one.fate in ("raises", "raises_late"):
            raise Planned(one.number)
        if one.fate == "cancels":
            raise asyncio.CancelledError
        if one.fate in ("hangs", "swallows"):
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                if one.fate == "hangs":
                    raise
                await asyncio.sleep(0.5)  # it takes its time
