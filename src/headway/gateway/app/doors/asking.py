"""A question put to the data plane in its asker's name, and its answer as pieces of text: what the simple doors share.

Nothing is judged here: the request that is made goes the way of every other one, so keys, models, limits, dollars, the
cache and the call log hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from headway.engine.question import Api, Question, Texts, posed
from headway.errors import Closed, HeadwayError
from headway.gateway.app.doors.visitor import Visitor
from headway.gateway.request import Refused
from headway.gateway.serving import Serving
from headway.types import Reply, Tags
from headway.wire import reader_for
from headway.wire.endpoints import endpoint_of

__all__ = ["Answering", "Unanswered", "asked", "question_of"]

_APIS: Final = ("chat", "responses", "messages")
"""In this order where nobody says: Chat Completions is what most servers speak."""
_ENDED: Final = "the gateway ended, or began anew, before the answer was whole; ask again"


class Unanswered(Refused):
    """There is no answer: the gateway's or the provider's refusal, or a failure on the way.

    Args:
        status: HTTP status.
        message: A sentence.
        code: A word for programs.
        retry_after: The header's value, "" for none.
    """

    def __init__(self, status: int, message: str, code: str, retry_after: str = "") -> None:
        super().__init__(status, message, code)
        self.retry_after = retry_after


class Answering:
    """An answer that has begun. Iterate over it for its text, once; then `took` says what it took.

    Args:
        path: What was asked.
        reply: A good one.
        started_at_s: When it was asked for, by the loop's clock.
    """

    def __init__(self, path: str, reply: Reply, started_at_s: float) -> None:
        self.reply = reply
        self._texts = Texts(path, reply)
        self._started_at_s = started_at_s
        self._first_at_s: float | None = None

    async def __aenter__(self) -> Answering:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.reply.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Pieces, none empty. Raises `Unanswered` where it breaks."""
        loop = asyncio.get_running_loop()
        try:
            async for text in self._texts:
                if self._first_at_s is None:
                    self._first_at_s = loop.time()
                yield text
        except HeadwayError as error:
            raise _broken(error) from None
        if self._texts.error:
            raise Unanswered(502, self._texts.error, "provider_error")

    async def took(self) -> dict[str, Any]:
        """What it took; ends it where it has not been read to its end.

        `ttft_ms` and `total_ms` are the asker's: from the question to the first piece and to now. `dollars` is None
        where the price is unknown, and what was not asked of a provider cost 0.
        """
        await self.reply.aclose()
        trace, now_s = self.reply.trace, asyncio.get_running_loop().time()
        assert trace is not None  # the engine's replies carry their caller's trace
        usage = trace.usage
        return {
            "id": trace.id,
            "model": trace.model,
            "cache": trace.cache or "off",
            "ttft_ms": None if self._first_at_s is None else round((self._first_at_s - self._started_at_s) * 1000, 1),
            "total_ms": round((now_s - self._started_at_s) * 1000, 1),
            "usage": None
            if usage is None
            else {
                "input_tokens": usage.input_tokens,
                "cached_tokens": usage.cached_tokens,
                "output_tokens": usage.output_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "estimated": usage.estimated,
            },
            "dollars": _rounded(trace.dollars),
            "saved_dollars": _rounded(trace.saved_dollars),
            "attempts": trace.attempts,
            "cut": self._texts.cut,
        }


class _Sender:
    """What `posed` sends with: the data plane, in the visitor's name."""

    def __init__(self, serving: Serving, visitor: Visitor) -> None:
        self._serving = serving
        self._visitor = visitor

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        cache: Literal["on", "off", "refresh"] | None = None,
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
    ) -> Reply:
        """As `Engine.send`; what it says of the call stands in the visitor's own headers."""
        assert isinstance(body, bytes)
        return await self._serving.handle(self._visitor.request("POST", path, body))


def question_of(
    serving: Serving,
    prompt: str | Sequence[Mapping[str, Any]],
    *,
    model: str = "",
    system: str = "",
    max_tokens: int | None = None,
    api: str = "",
) -> Question:
    """The question.

    Args:
        serving: Whose models are meant.
        prompt: A text or turns.
        model: "": the gateway's own, see `ServeSettings.model`.
        system: Instructions.
        max_tokens: Bound of the answer in tokens.
        api: In whose words it is put to the provider; "": those of an upstream that has the model.

    Raises:
        Refused: Something in it is wrong, or there is nobody to ask.
    """
    model = model or _usual(serving)
    if api and api not in get_args(Api):
        raise Refused(400, f"api must be one of {', '.join(get_args(Api))}, not {api[:40]!r}")
    if not prompt:
        raise Refused(400, "there is nothing to answer: say something in prompt")
    try:
        found = Question(
            prompt=prompt,
            model=model,
            system=system,
            output_tokens_max=max_tokens,
            api=api or _api(serving, model),  # type: ignore[arg-type]
        )
    except HeadwayError as error:
        raise Refused(400, str(error), error.code) from None
    return found


async def asked(serving: Serving, visitor: Visitor, question: Question) -> Answering:
    """Ask; a good answer that has begun.

    Raises:
        Unanswered: There is none.
    """
    started_at_s = asyncio.get_running_loop().time()
    reply = await posed(_Sender(serving, visitor), question)
    if reply.status < 400:
        return Answering(question.path, reply, started_at_s)
    async with reply:
        try:
            data = await reply.read()
        except HeadwayError as error:
            raise _broken(error) from None
    reader = reader_for(question.path)
    view = reader.read_answer(reply.status, data).error if reader is not None else None
    said = view.message if view is not None and view.message else f"the provider answered {reply.status}"
    code = view.code if view is not None and view.code else "provider_error"
    if reply.status == 503 and code == Closed.code:
        said = _ENDED
    raise Unanswered(reply.status, said, code, reply.header("retry-after"))


def _broken(error: HeadwayError) -> Unanswered:
    """What broke off. Who asks here knows of no engine that he could open anew."""
    if isinstance(error, Closed):
        return Unanswered(503, _ENDED, error.code)
    return Unanswered(502, str(error), error.code)


def _rounded(dollars: float | None) -> float | None:
    """Without what adding fractions leaves behind."""
    return None if dollars is None else round(dollars, 12)


def _usual(serving: Serving) -> str:
    """The model of those who name none."""
    if serving.settings.model:
        return serving.settings.model
    for upstream in serving.engine.settings.upstreams:
        if upstream.models:
            return next(iter(upstream.models))
    raise Refused(
        400,
        "no model was named, and this gateway has none of its own: say model=..., or start it with "
        "`headway serve --model NAME`",
        "no_model",
    )


def _api(serving: Serving, model: str) -> str:
    """The API of an upstream that lists the model; else the first that some upstream has."""
    able = []
    for api in _APIS:
        path = Question(prompt="-", model=model, api=api).path
        try:
            home = serving.homes.for_model(endpoint_of(path), model)
        except Refused:
            continue
        if model in home.models:
            return api
        able.append(api)
    return able[0] if able else _APIS[0]
