"""A question in the words of three APIs, and the text of its answer as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from headway.engine.sentences import CUT
from headway.errors import ConfigError
from headway.types import Reply, Tags
from headway.wire import reader_for
from headway.wire.event_text import event_text
from headway.wire.sse import EventSplitter

__all__ = ["Api", "Question", "Sends", "Texts", "posed"]

Api: TypeAlias = Literal["responses", "chat", "messages"]

EVENT_BYTES_MAX = 16 * 1024 * 1024
MESSAGES_TOKENS_MAX = 4096
"""The Messages API knows no request without a bound."""

_PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask.

    Args:
        prompt: A text, or turns: mappings with "role" and "content".
        model: Who is asked.
        system: Instructions that stand before the prompt; "" for none.
        output_tokens_max: Bound of the answer in tokens; None for none.
        api: In whose words.
        fields: Further top-level fields of the request.

    Raises:
        ConfigError: There is no such API, no model or no prompt.
    """

    prompt: str | Sequence[Mapping[str, Any]]
    model: str
    system: str = ""
    output_tokens_max: int | None = None
    api: Api = "responses"
    fields: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        """Check what the provider would refuse in words of its own."""
        if self.api not in _PATHS:
            raise ConfigError(f'api must be "responses", "chat" or "messages", not {self.api!r}')
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(f"model must be a name, such as 'gpt-5.4-mini', not {self.model!r}")
        if not isinstance(self.prompt, str) and not (isinstance(self.prompt, Sequence) and self.prompt):
            # What stands here instead is most often a handle that nobody has awaited.
            raise ConfigError(f"the prompt must be a text or a list of turns, not {type(self.prompt).__name__}")
        if self.output_tokens_max is not None and self.output_tokens_max < 1:
            raise ConfigError(f"output_tokens_max must be at least 1, not {self.output_tokens_max}")

    @property
    def path(self) -> str:
        """Where it is posted to."""
        return _PATHS[self.api]

    @property
    def bounds(self) -> Sequence[str]:
        """The names of the field that bounds the output, the one to try first; providers differ."""
        reader = reader_for(self.path)
        return reader.bound_fields if reader is not None else ()

    def body(self, bound: str, *, stream: bool = True) -> bytes:
        """The request; `bound` is the field that bounds the output.

        Raises:
            ConfigError: Something in it has no JSON.
        """
        fields: dict[str, Any] = {"model": self.model, **({"stream": True} if stream else {})}
        tokens_max = self.output_tokens_max
        turns = [{"role": "user", "content": self.prompt}] if isinstance(self.prompt, str) else list(self.prompt)
        if self.api == "responses":
            fields |= {"instructions": self.system} if self.system else {}
            fields |= {"input": self.prompt, "store": False}
        elif self.api == "messages":
            fields |= {"system": self.system} if self.system else {}
            fields["messages"] = turns
            tokens_max = tokens_max or MESSAGES_TOKENS_MAX
        else:
            system = [{"role": "system", "content": self.system}] if self.system else []
            fields["messages"] = [*system, *turns]
        if tokens_max is not None:
            fields[bound] = tokens_max
        try:
            return msgspec.json.encode({**fields, **self.fields})
        except (TypeError, UnicodeEncodeError) as problem:
            raise ConfigError(f"the question cannot be written as JSON: {problem}") from problem


class Sends(Protocol):
    """What is needed of an `Engine`."""

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
        """As `Engine.send`."""
        ...  # fmt: skip


async def posed(
    engine: Sends,
    question: Question,
    *,
    stream: bool = True,
    cache: Literal["on", "off", "refresh"] | None = None,
    deadline_s: float | None = None,
    priority: int | Literal["low", "normal", "high"] = 0,
    tags: Tags | None = None,
) -> Reply:
    """The reply to it, whatever its status; a provider that refuses the bound's name is asked with its other name.

    Raises: as `Engine.send`; so are the arguments.
    """
    bounds = question.bounds
    for bound in bounds:
        reply = await engine.send(
            question.path,
            question.body(bound, stream=stream),
            cache=cache,
            deadline_s=deadline_s,
            priority=priority,
            tags=tags,
        )
        last = bound == bounds[-1] or question.output_tokens_max is None
        if last or reply.status not in (400, 422) or bound.encode() not in await reply.read():
            break
    return reply


class Texts:
    """The text of a good answer, piece by piece as it comes; for ``async for``, once.

    Args:
        path: What was asked.
        reply: The answer, streamed or not. Whoever opened it closes it.
    """

    def __init__(self, path: str, reply: Reply) -> None:
        reader = reader_for(path)
        if reader is None:
            raise ConfigError(f"nothing is known of answers from {path}; ask Responses, Chat Completions or Messages")
        self.cut = False
        """Whether it ended at a bound on tokens; known at the end."""
        self.error = ""
        """What an error inside of the stream said; known at the end, "" for none."""
        self._reader = reader
        self._reply = reply
        self._follower = reader.open_stream()
        self._splitter = EventSplitter(EVENT_BYTES_MAX)
        self._streams = reply.header("content-type").startswith("text/event-stream")
        self._ready: deque[str] = deque()
        self._over = False

    def __aiter__(self) -> Texts:
        return self

    async def __anext__(self) -> str:
        """The next piece, never empty."""
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await (self._read() if self._streams else self._read_whole())
        return self._ready.popleft()

    async def _read(self) -> None:
        try:
            chunk = await anext(self._reply)
        except StopAsyncIteration:
            self._end()
            return
        for event in self._splitter.feed(chunk):
            self._take(event)

    async def _read_whole(self) -> None:
        body = await self._reply.read()  # of a server that does not stream, or was not asked to
        self._over = True
        self.cut = self._reader.read_answer(self._reply.status, body).finish in CUT
        text = self._reader.text(body)
        if text:
            self._ready.append(text)

    def _take(self, event: bytes) -> None:
        self._follower.feed(event)
        text = event_text(event)
        if text:
            self._ready.append(text)

    def _end(self) -> None:
        self._over = True
        if tail := self._splitter.tail():
            self._take(tail)
        answer = self._follower.answer()
        self.cut = answer.finish in CUT
        if answer.error is not None:
            said = answer.error.message or answer.error.code or "it gave no reason"
            self.error = f"the stream ended in an error: {said}"
