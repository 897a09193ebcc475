"""`headway.ask`: one question to a model, awaited for its text or read as it is written; what a step mostly does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import Any, Literal

from headway.engine import Engine
from headway.engine.current import current_engine
from headway.engine.question import Api, Question, Texts, posed
from headway.engine.sentences import cut, failure
from headway.errors import BadReply, ConfigError, HeadwayError, ProviderError
from headway.prompts.output import Json
from headway.types import Reply, Tags, Trace

__all__ = ["Asking", "ask"]

_OURS = frozenset({"auth", "client_error"})
"""Outcomes that only the program or its settings can change."""


def ask(
    prompt: str | Sequence[Mapping[str, Any]],
    *,
    model: str,
    system: str = "",
    output_tokens_max: int | None = None,
    api: Api = "responses",
    schema: Mapping[str, Any] | None = None,
    temperature: float | None = None,
    engine: Engine | None = None,
    cache: Literal["on", "off", "refresh"] | None = None,
    deadline_s: float | None = None,
    priority: int | Literal["low", "normal", "high"] = 0,
    tags: Tags | None = None,
) -> Asking:
    """Ask a model.

    ::

        text = await headway.ask("Why is the sky blue?", model="gpt-5.4-mini")

        async for piece in headway.ask("Why is the sky blue?", model="gpt-5.4-mini"):
            print(piece, end="", flush=True)

    Nothing is sent before one of the two. A step may also return it, for its text, or yield it, for its pieces as they
    come. Cancelling the task, or leaving the loop, ends the request at the provider.

    Args:
        prompt: A text, or the turns of a conversation: mappings with "role" and "content".
        model: Who is asked.
        system: Instructions that stand before the prompt.
        output_tokens_max: Bound of the answer in tokens. What is cut at a bound that was set here is an answer; what
            is cut at any other is a `BadReply`.
        api: "responses", "chat" (Chat Completions) or "messages" (Anthropic's; 4,096 tokens where no bound is set).
        schema: A JSON schema that the answer is to fit; the text is its JSON. Where the API cannot enforce it, it is
            put into the instructions.
        temperature: As the API takes it; None: its default.
        engine: Who sends; None: the current one (`headway.current_engine`).
        cache: As in `Engine.send`; so are `deadline_s`, `priority` and `tags`.

    Raises:
        ConfigError: An argument is wrong, or, when it is awaited, the provider refuses the request (key, model, body).
        ProviderError: When it is awaited: there is no whole answer; the provider's own words are in it.
        DeadlineExceeded, Overloaded, BudgetExceeded, Closed: Likewise; ours.
    """
    fields: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    if schema is not None:
        wanted = Json(schema=schema)
        fields |= wanted.response_format(api)
        if api == "messages":
            system = "\n\n".join(part for part in (system, wanted.spelled_out()) if part)
    question = Question(
        prompt=prompt, model=model, system=system, output_tokens_max=output_tokens_max, api=api, fields=fields
    )
    return Asking(question, engine, cache=cache, deadline_s=deadline_s, priority=priority, tags=tags)


class Asking:
    """An answer to come: await it for its text, or iterate over its pieces. Made by `ask`, for one use."""

    def __init__(
        self,
        question: Question,
        engine: Engine | None,
        *,
        cache: Literal["on", "off", "refresh"] | None,
        deadline_s: float | None,
        priority: int | Literal["low", "normal", "high"],
        tags: Tags | None,
    ) -> None:
        self.question = question
        self.trace: Trace | None = None
        """What the call took (tokens, dollars, times), once it has begun; whole when the answer is."""
        self.cut = False
        """Whether the answer ended at its bound."""
        self._engine = engine
        self._cache = cache
        self._deadline_s = deadline_s
        self._priority: int | Literal["low", "normal", "high"] = priority
        self._tags = tags
        self._used = False

    def __await__(self) -> Generator[Any, None, str]:
        return self._whole().__await__()

    def __aiter__(self) -> AsyncGenerator[str, None]:
        return self._pieces()

    def __str__(self, *_: object) -> str:
        raise TypeError("headway.ask gives an answer to come; await it, or iterate over it with async for")

    __format__ = __bool__ = __len__ = __iter__ = __str__  # none of them has an answer yet

    async def _whole(self) -> str:
        async with await self._open(stream=False) as reply:
            texts = Texts(self.question.path, reply)
            parts = [text async for text in texts]
        self._check(texts)
        return "".join(parts)

    async def _pieces(self) -> AsyncGenerator[str, None]:
        async with await self._open(stream=True) as reply:
            texts = Texts(self.question.path, reply)
            async for text in texts:
                yield text
        self._check(texts)

    async def _open(self, *, stream: bool) -> Reply:
        """A good reply. Raises for any other."""
        if self._used:
            raise ConfigError("this answer has been asked for already; keep what it gave, or call headway.ask again")
        self._used = True
        question = self.question
        engine = self._engine or current_engine()
        try:
            reply = await posed(
                engine,
                question,
                stream=stream,
                cache=self._cache,
                deadline_s=self._deadline_s,
                priority=self._priority,
                tags=self._tags,
            )
        except HeadwayError as error:
            self.trace = error.trace
            raise
        trace = self.trace = reply.trace
        if reply.status >= 400:
            data = await reply.read()
            assert trace is not None  # the engine's replies carry their caller's trace
            raise _refused(failure(question.path, reply.status, data, trace), trace)
        return reply

    def _check(self, texts: Texts) -> None:
        self.cut = texts.cut
        error: HeadwayError | None = None
        if texts.error:
            error = ProviderError(texts.error, maybe_billed=True)
        elif texts.cut and self.question.output_tokens_max is None:
            assert self.trace is not None
            said = cut(self.trace).replace("max_output_tokens", "output_tokens_max")
            error = BadReply(said, maybe_billed=True, final=True)
        if error is not None:
            error.trace = self.trace
            raise error


def _refused(sentence: str, trace: Trace) -> HeadwayError:
    """The error for an answer that is one."""
    error: HeadwayError = ConfigError(sentence) if trace.outcome in _OURS else ProviderError(sentence)
    error.trace = trace
    return error
