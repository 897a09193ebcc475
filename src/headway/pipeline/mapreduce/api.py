"""`headway.mapreduce`: a question about a text of any length, answered in one call or by map and reduce."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, Literal

from headway.engine.arguments import PRIORITIES, check_arguments
from headway.engine.current import current_engine
from headway.errors import ConfigError
from headway.pipeline.mapreduce.aside import aside
from headway.pipeline.mapreduce.asking import Caller, Sends
from headway.pipeline.mapreduce.chunks import check_extra, counter_for
from headway.pipeline.mapreduce.ending import Ending
from headway.pipeline.mapreduce.plan import Plan, joined, plan_of, window_of
from headway.pipeline.mapreduce.prompts import MAP, REDUCE, Asks, MapPrompt, prompts_of
from headway.pipeline.mapreduce.result import MapReduced, Watch
from headway.pipeline.mapreduce.sizes import Sizes, Wishes, sizes_of
from headway.pipeline.mapreduce.tree import How, Mapper
from headway.pipeline.mapreduce.work import OnError
from headway.prompts.output import Api
from headway.prompts.task import Task
from headway.types import Tags

__all__ = ["MapReduction", "mapreduce"]


class MapReduction:
    r"""A question about a text of any length: chunks are read side by side, and the answers are merged as a tree.

    ::

        result = await headway.mapreduce(book, model="gpt-5.4-mini", words=400)
        print(result.text, result.dollars)

        async for piece in headway.mapreduce(book, model="gpt-5.4-mini"):   # the answer's text as it comes
            print(piece, end="", flush=True)

        await headway.mapreduce(
            minutes, model="gpt-5.4-mini", values={"question": "Who voted against?"},
            map="What does this part say about: {question}\n\nText:\n{text}",
            reduce="Answer the question from what the parts say: {question}\n\nText:\n{summaries}",
        )

    A text that fits into the window is answered in one call. Otherwise the tree depends on the text and the answers
    alone, never on time: asked again, each call whose answer is in the cache is found there.

    Nothing is sent before it is awaited, for the `MapReduced`, or iterated, for the answer's pieces; one of the two,
    once. After an iteration `result` has the rest. Cancelling it, or leaving the iteration by `aclose`, ends the calls.

    Args:
        text: The text; or its pieces (pages, documents), which chunks then do not cut, but for one that is too long.
            Spans in the result are those of ``"\n\n".join(pieces)``.
        model: Who reads the chunks, and merges.
        map: What is asked of each chunk: ``{text}``, and if wanted ``{words}``, ``{part}``, ``{parts}``. By default a
            summary.
        reduce: What is asked of what was said of several: ``{summaries}``, and if wanted ``{words}``, ``{parts}``.
        refine: Whether the answer is written once more beside the sentences of the text that it rests on; or how:
            ``{summary}``, ``{sources}``, ``{words}``. One call more.
        whole: What is asked of a text that fits: ``{text}``, ``{words}``. None: as `map`, of its one part.
        reduce_model: Who merges and refines; None: `model`.
        words: Of the answer, from 1: what ``{words}`` says in the last call. None: 300.
        part_words: Likewise in all other calls. None: a tenth of a chunk's tokens, from 40 to 300.
        values: What else prompts have places for, by name.
        window_tokens: What the models' windows hold, prompt and answer together, from 256. None: as the price list
            knows it, else 16,000.
        chunk_tokens_max: No chunk is longer, from 16, and no longer text is answered in one call. None: what fits into
            the window, and 16,000.
        merge_tokens_max: Likewise of what is merged at once, from 64.
        output_tokens_max: The bound on each answer, from 16, thinking included. None: twice the words, and 1,024
            tokens to think.
        chars_per_token: How tokens are counted, as in `headway.fit`; see `headway.Calibration`.
        concurrency: Calls under way at once, 1 to 100,000.
        on_chunk_error: What becomes of a chunk that the engine got no answer for, after its own retries: "mark" leaves
            a gap that merges see and the answer's last paragraph names, "drop" leaves it out, "fail" raises.
            `MapReduced.gaps` has it either way.
        mapper: Reads the chunks in the engine's stead, e.g. as a batch: it is given what `first` gives, and gives a
            `headway.Result` for each row, `index` being the row's place; in any order. A text that fits is not its.
        engine: Sends the calls; anything with its `send`. None: the current one, see `headway.current_engine`.
        api: "responses", "chat" or "messages".
        reasoning_effort: As for `headway.Task`; so is `temperature`.
        temperature: See there.
        progress: Called with a `Progress` after each step.
        tags: Where the calls belong; their step is "map", "whole", "reduce" or "refine", unless it is set, or a
            pipeline's step makes the calls.
        priority: As in `Engine.send`; merges have one more, for they finish work.

    Raises:
        ConfigError: An argument or a prompt is wrong, or the window too small for a prompt.
        InputError: The text is empty, or no Unicode.
        ProviderError: When it is awaited: no chunk could be read, the last merge failed, or `on_chunk_error` is "fail".
        HeadwayError: When it is awaited: no money or no time was left.
    """

    def __init__(
        self,
        text: str | Sequence[str],
        *,
        model: str,
        map: str | MapPrompt = MAP,  # noqa: A002 - the phase's own name
        reduce: str | MapPrompt = REDUCE,
        refine: bool | str | MapPrompt = False,
        whole: str | MapPrompt | None = None,
        reduce_model: str | None = None,
        words: int | None = None,
        part_words: int | None = None,
        values: Mapping[str, Any] | None = None,
        window_tokens: int | None = None,
        chunk_tokens_max: int | None = None,
        merge_tokens_max: int | None = None,
        output_tokens_max: int | None = None,
        chars_per_token: float | None = None,
        concurrency: int = 64,
        on_chunk_error: OnError = "mark",
        mapper: Mapper | None = None,
        engine: Sends | None = None,
        api: Api = "responses",
        reasoning_effort: str = "",
        temperature: float | None = None,
        progress: Watch | None = None,
        tags: Tags | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
    ) -> None:
        check_extra()
        self._text, self._pieces = joined(text)
        self._how = How(concurrency=concurrency, on_error=on_chunk_error, mapper=mapper, watch=progress)
        merging = reduce_model or model
        self._asks = Asks(
            prompts_of(map, reduce, refine, whole),
            {"map": model, "whole": model, "reduce": merging, "refine": merging},
            values or {},
            api=api,
            reasoning_effort=reasoning_effort,
            temperature=temperature,
        )
        self._count = counter_for(model, chars_per_token)
        self._window = min(window_of(model), window_of(merging)) if window_tokens is None else window_tokens
        wishes = Wishes(
            words=words,
            part_words=part_words,
            window_tokens=self._window,
            chunk_tokens_max=chunk_tokens_max,
            merge_tokens_max=merge_tokens_max,
            output_tokens_max=output_tokens_max,
        )
        self.sizes: Sizes = sizes_of(wishes, {kind: self._count(self._asks.fixed(kind)) for kind in self._asks.kinds})
        """What fits where, in tokens."""
        check_arguments(None, None, priority)
        self._engine, self._tags = engine, tags or Tags()
        self._priority = priority if isinstance(priority, int) else PRIORITIES[priority]
        self._begun = False
        self._result: MapReduced | None = None

    @cached_property
    def plan(self) -> Plan:
        """The chunks, and what is asked of them. Splitting 5 MB takes 0.2 to 1 s, once."""
        return plan_of(self._text, self._pieces, self.sizes, self._asks, self._count, self._window)

    def first(self) -> tuple[Task, list[dict[str, Any]]]:
        """The requests that need no answer first: a task, and a row for each chunk; one row where all is one call.

        ``task.body(row)`` is what will be sent, byte for byte, so that an answer kept for it in the cache is found.
        """
        return self.plan.first()

    @property
    def result(self) -> MapReduced:
        """What came of it.

        Raises:
            ConfigError: It is not through.
        """
        if self._result is None:
            raise ConfigError("this map-reduce is not through; await it, or iterate to its end first")
        return self._result

    def __str__(self) -> str:
        raise TypeError("headway.mapreduce gives an answer to come; await it, or iterate over it with async for")

    def __await__(self) -> Generator[Any, None, MapReduced]:
        return self._run().__await__()

    def __aiter__(self) -> AsyncIterator[str]:
        return self.pieces()

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The answer's text as it comes; close it to end early."""
        ending = await self._begin()
        async with aclosing(ending.pieces()) as pieces:
            async for piece in pieces:
                yield piece
        self._result = ending.result

    async def _run(self) -> MapReduced:
        ending = await self._begin()
        self._result = await ending.run()
        return self._result

    async def _begin(self) -> Ending:
        if self._begun:
            raise ConfigError("this map-reduce has run; call headway.mapreduce again for another one")
        self._begun = True
        engine = current_engine() if self._engine is None else self._engine
        plan = await aside(lambda: self.plan, len(self._text))
        return Ending(Caller(engine, plan, tags=self._tags, priority=self._priority), self._how)


mapreduce = MapReduction
"""Called like a function: what it makes is awaited, or iterated over."""
