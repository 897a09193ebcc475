"""One call of a map-reduce: asked, counted, asked again with more room where its answer was cut."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from headway.engine.asking import Asker
from headway.engine.question import Texts
from headway.engine.sentences import failure
from headway.errors import BudgetExceeded, Closed, DeadlineExceeded, HeadwayError, Overloaded, ProviderError
from headway.pipeline.mapreduce.dollars import plus
from headway.pipeline.mapreduce.plan import Plan
from headway.types import Reply, Result, Tags, Trace
from headway.types.scope import SCOPE

__all__ = ["HITS", "Answered", "Caller", "Sends", "Tally", "TooLong"]

_OURS: Final[Mapping[str, type[HeadwayError]]] = {
    "budget": BudgetExceeded,
    "closed": Closed,
    "deadline": DeadlineExceeded,
    "queue_full": Overloaded,
}
_HOPELESS: Final = ("auth", "billing")
"""What holds for all calls: there is no use in asking about the next chunk."""
_TOO_LONG: Final = re.compile(r"context.length|context.window|maximum context|prompt is too long|too many tokens", re.I)
"""How providers say it; there is no one code for it."""
HITS: Final = ("memory", "sqlite", "redis", "joined", "stale")


class TooLong(ProviderError):
    """The provider's own count says that the prompt is too long."""


class Sends(Protocol):
    """What is needed of an engine."""

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        key_body: bytes | None = None,
        tags: Tags | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
    ) -> Reply:
        """As `Engine.send`."""
        ...  # fmt: skip


class Answered(NamedTuple):
    """What came back."""

    text: str
    tokens: int
    error: str = ""
    cut: bool = False
    too_long: bool = False
    """Whether the provider's own count says that the prompt is too long."""


class Tally:
    """What all calls took together."""

    def __init__(self) -> None:
        self.calls = self.attempts = self.hits = self.input_tokens = self.output_tokens = 0
        self.dollars: float | None = 0.0

    def add(self, one: Result | Trace) -> None:
        """Count one more call."""
        self.calls += 1
        self.attempts += one.attempts
        self.hits += one.cache in HITS
        if one.usage is not None:
            self.input_tokens += one.usage.input_tokens
            self.output_tokens += one.usage.output_tokens
        self.dollars = plus(self.dollars, one.dollars)


class Caller:
    """Makes the calls.

    Args:
        engine: Sends them.
        plan: What is asked.
        tags: For the call log; the step says what a call was for, unless it is set, or a pipeline's step says it.
        priority: Of calls about chunks; merges, which finish work, have one more.
    """

    def __init__(self, engine: Sends, plan: Plan, *, tags: Tags, priority: int) -> None:
        self.plan = plan
        self.tally = Tally()
        self.was_cut = False
        """Whether the last answer of `live` ended at its bound."""
        self._engine = engine
        self._tags = tags
        self._priority = priority

    async def ask(self, kind: str, row: Mapping[str, Any], tokens_max: int) -> Answered:
        """Ask, and once more with twice the bound where the answer was cut and the window has room for it.

        Raises:
            HeadwayError: There is no use in asking anything else: no money, no time, no credential.
        """
        result = await self._asked(kind, row, tokens_max)
        return await self.settled(kind, row, tokens_max, result)

    async def settled(self, kind: str, row: Mapping[str, Any], tokens_max: int, result: Result) -> Answered:
        """What to make of a first answer, wherever it came from. Raises as `ask`."""
        self.tally.add(result)
        if result.error_code == "cut" and self.plan.fits(kind, row, 2 * tokens_max):
            result = await self._asked(kind, row, 2 * tokens_max)
            self.tally.add(result)
        if result.error_code == "cut" and result.text.strip():
            return Answered(result.text.strip(), self._tokens(result), cut=True)
        if not result.error:
            return Answered(result.text.strip(), self._tokens(result))
        if result.outcome in _OURS:
            raise _OURS[result.outcome](result.error)
        if result.outcome in _HOPELESS:
            raise ProviderError(result.error)
        return Answered("", 0, result.error, too_long=bool(_TOO_LONG.search(f"{result.error_code} {result.error}")))

    async def live(self, kind: str, row: Mapping[str, Any], tokens_max: int) -> AsyncGenerator[str, None]:
        """The answer's text as it comes; `was_cut` then says whether it ended at its bound.

        Raises:
            HeadwayError: There is no answer, or it broke off.
        """
        task = self.plan.asks.task(kind, tokens_max)
        body = b'{"stream":true,' + task.body(row)[1:]
        reply = await self._engine.send(task.path, body, tags=self._tagged(kind), priority=self._priority_of(kind))
        trace = reply.trace
        assert trace is not None  # the engine's replies carry their caller's trace
        try:
            async with reply:
                if reply.status >= 400:
                    problem = failure(task.path, reply.status, await reply.read(), trace)
                    raise (TooLong if _TOO_LONG.search(problem) else ProviderError)(problem)
                texts = Texts(task.path, reply)
                async for text in texts:
                    yield text
        finally:
            self.tally.add(trace)
        if texts.error:
            raise ProviderError(texts.error, maybe_billed=True)
        self.was_cut = texts.cut

    async def _asked(self, kind: str, row: Mapping[str, Any], tokens_max: int) -> Result:
        task = self.plan.asks.task(kind, tokens_max)
        return await Asker(self._engine, task, tags=self._tagged(kind), priority=self._priority_of(kind)).ask(row)

    def _tokens(self, result: Result) -> int:
        """Tokens of the answer's text: as billed, where that is known, else as counted; the greater one."""
        usage, counted = result.usage, self.plan.count(result.text.strip())
        if usage is None or usage.estimated or result.repairs:
            return counted
        return max(counted, usage.output_tokens - usage.reasoning_tokens)

    def _tagged(self, kind: str) -> Tags:
        tags = self._tags
        return tags if tags.step or SCOPE.get() is not None else Tags(
            run=tags.run, step=kind, parent=tags.parent, session=tags.session
        )  # fmt: skip

    def _priority_of(self, kind: str) -> int:
        return self._priority + (kind != "map")
