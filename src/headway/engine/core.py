"""`Engine`: builds the stack in one place and sends calls through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from headway.attempt.budget import Budget
from headway.caller.cache import key_of
from headway.caller.scoped import belonging
from headway.config import load_settings
from headway.engine.arguments import check_arguments
from headway.engine.calls import Calls
from headway.engine.company import Company
from headway.engine.mapping import MapSettings, map_rows
from headway.engine.prefetch import Prefetcher
from headway.engine.record import Observer, Recorder
from headway.engine.refresher import Refresher
from headway.engine.stack import Stack
from headway.engine.ways import adopt, cached, utility_call
from headway.errors import Closed, ConfigError, HeadwayError
from headway.types import Call, Handler, Outcome, Reply, Result, Tags, TaskLike, Trace
from headway.types.steps import StepRow

__all__ = ["Engine"]


class Engine:
    """The performance engine. One per event loop; open it there, close it there.

    ::

        async with headway.Engine(cache=True) as engine:
            reply = await engine.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "Hello"})
            print(await reply.read())

    Args:
        handler: Takes the network's place: a simulator or a fake. None: connections to `base_url`.
        config: A TOML file; by default `headway.toml` in the working directory, if there is one.
        wall_s: Calendar time in Unix seconds; by default the system's. Give a virtual loop's own under simulation.
        settings: Any field of `headway.Settings` as a keyword.

    Raises:
        ConfigError: A setting is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        handler: Handler | None = None,
        config: str | Path | None = None,
        wall_s: Callable[[], float] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = load_settings(settings, file=config)
        self._handler = handler
        self._wall_s = wall_s
        self._rng = Random(self.settings.seed)
        self._calls = Calls(self.settings)
        self._refresher = Refresher(lambda: self._stack)
        self._stack: Stack | None = None
        self._recorder: Recorder | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self.company = Company()  # to be set before it is first used
        self.prefetch = Prefetcher(self.send, lambda: self._open().idle)

    # -- one call --------------------------------------------------------------------------------------------------

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        key_body: bytes | None = None,
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
        namespace: str = "",
    ) -> Reply:
        """Make one call, streamed when the body says ``"stream": true``: its reply, whatever the status; close it.

        Args:
            path: E.g. "/v1/responses", relative to `base_url`.
            body: The request, as JSON bytes (sent as they are) or as a mapping.
            headers: More headers; they win over the engine's own, credential included.
            cache: "off" or "refresh" for this call; by default as the engine is set.
            key_body: A body that stands in for the sent one in the cache key (declared normalisation).
            deadline_s: Seconds from now; at most the engine's `timeout_s`.
            priority: Greater goes first; "low" is -1, "high" is 1.
            tags: Where the call belongs, for the call log.
            namespace: The named cache to use, a table ``[caches.NAME]``.

        Raises:
            DeadlineExceeded, Overloaded, BudgetExceeded, Closed: Ours.
            ProviderError: There is no whole answer; see `headway.errors`.
            ConfigError: An argument is wrong (`headers` are sent as they are, so none may begin with "headway-"), or
                the engine belongs to another event loop.
        """
        stack = self._open()
        if cache is not None or deadline_s is not None or priority != 0:
            check_arguments(cache, deadline_s, priority)
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        mode = cache or ("on" if stack.cache is not None else "off")
        call = self._calls.make(
            stack.new_trace(), path, data, headers, mode=mode, deadline_s=deadline_s, priority=priority, tags=tags
        )
        if namespace:
            stack.caches.space(namespace)  # an unknown one is an error, the cache on or off
            call = replace(call, namespace=namespace)
        if key_body is not None and mode != "off" and stack.cache is not None:
            call = replace(call, key=key_of(call, key_body, route=stack.cache.route))
        return await stack.handle(call)

    def handle(self, call: Call, *, here: bool = False) -> Awaitable[Reply]:
        """The engine as a `Handler`, for calls that are made elsewhere, `here` on its own loop. Raises as `send`."""
        return ((here and self._stack) or self._open()).handle(call)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        deadline_s: float | None = None,
        attempts_max: int | None = None,
        tags: Tags | None = None,
    ) -> Reply:
        """Make any other call of the provider's API: files, batches, lists; recorded and retried, free of charge.

        Args:
            method: E.g. "GET".
            path: As for `send`; so are `headers`, `deadline_s`, `tags` and what is raised.
            body: Sent as it is; say its content type in `headers` where that is not JSON.
            stream: Hand the body on as it comes, in bounded memory and for as long as it takes; else the reply is
                complete, and had within `timeout_s`.
            attempts_max: Tries at the most. None: as the engine is set for GET, HEAD and DELETE, else 1, for what was
                sent and not answered may have been done, and what is done twice may be paid twice.
        """
        stack = self._open()
        call = self._calls.make(stack.new_trace(), path, body, headers, deadline_s=deadline_s, tags=tags)
        return await stack.request(utility_call(call, method, deadline_s, attempts_max, stream=stream))

    async def cached(self, path: str, body: bytes, *, key_body: bytes | None = None) -> Reply | None:
        """What the cache holds for a request, every tier asked, or None; nothing is sent, counted or logged."""
        stack = self._open()
        return await cached(stack, self._calls.make(stack.new_trace(), path, body), key_body)

    async def kept(self, call: Call) -> Reply | None:
        """The same for a call that was made elsewhere for `handle`."""
        return await cached(self._open(), call)

    def adopt(
        self,
        path: str,
        body: bytes,
        status: int,
        answer: bytes,
        *,
        key_body: bytes | None = None,
        price_ratio: float = 1.0,
        tags: Tags | None = None,
        started_wall_s: float | None = None,
    ) -> Trace:
        """Book an answer that came another way, such as in a batch, as a call with one try; the call's trace, ended.

        A good answer is kept in the cache, where the same request finds it from then on.

        Args:
            path: What the request would be sent to by itself.
            body: The request; `key_body` as for `send`.
            status: HTTP status, as the request by itself would have had it.
            answer: The answer's or the error's bytes, likewise.
            price_ratio: Of the listed price, 0 to 10; 0.5 for batches.
            tags: Where it belongs; the step is "batch" when it has none.
            started_wall_s: When it was handed in, Unix seconds; None: now.
        """
        stack = self._open()
        call = self._calls.make(stack.new_trace(), path, body, tags=tags)
        texts = self.settings.log_prompts
        return adopt(stack, call, status, answer, key_body, price_ratio, started_wall_s, texts=texts)

    def map(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        task: TaskLike,
        *,
        order: Literal["input", "completed"] = "input",
        concurrency: int = 512,
        tags: Tags | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        adapt: bool | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Run a task over many rows, bounded; every row gives one `Result`, failed ones included.

        Rows are pulled lazily, at most `concurrency` ahead of what has been yielded. Leave it early with ``aclose()``.

        Args:
            rows: Mappings, sync or async; held only while in flight.
            task: E.g. a `headway.Task`.
            order: "input" keeps the rows' order, "completed" yields each as soon as it is done.
            concurrency: Rows in flight at once, > 0. Pacing is the limits' business, so it may be generous.
            tags, priority: As in `send`.
            adapt: Whether the bound on output follows the answers (docs/asking-for-less.md); None: if the task has one.
        """
        how = MapSettings(order=order, concurrency=concurrency, tags=tags or Tags(), priority=priority, adapt=adapt)
        return map_rows(self, rows, task, how, self.settings)

    def settle(self, attempt: Trace, caller: Trace, outcome: Outcome) -> None:
        """Book a call that went another way than through `handle`, and its one try: both end now."""
        self._open().settle(attempt, caller, outcome, asyncio.get_running_loop().time())

    def book(self, call: Call, error: HeadwayError) -> None:
        """Write the row of a call that is answered with a failure known before, without an attempt."""
        belonging(call.trace)
        self._open().book(call.trace, error)

    def write_steps(self, rows: Sequence[StepRow]) -> bool:
        """Write what a pipeline's run did into the call log, like its calls, if that is on; False: it is closed."""
        if not self._closed:
            self.recorder.write_steps(rows)
        return not self._closed

    def observe(self, observer: Observer) -> None:
        """Have somebody see every call and try that ends from now on, and every pipeline's run: metrics, traces."""
        self.recorder.observe(observer)

    def new_trace(self) -> Trace:
        """The trace of a call that is made elsewhere for `handle`; it starts now. See `engine.inbound`."""
        return (self._stack or self._open()).new_trace()

    @property
    def budget(self) -> Budget | None:
        """What may still be spent, where `budget_usd` or `budget_tokens` is set."""
        return self._open().budget

    def snapshot(self) -> dict[str, Any]:
        """Live figures: in_flight, queued, throttled (429s so far), attempts, allowed_rpm, dollars, and the caches'."""
        return (self._stack or self._open()).snapshot()

    async def aclose(self) -> None:
        """End what is under way (its callers get `Closed`), write what is pending, close connections. Idempotent.

        Cancelled, it goes on in the background; called again, it waits for the end.
        """
        self._closed = True
        if self._closing is None or self._closing.cancelled():
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Engine:
        self._open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _open(self) -> Stack:
        """The stack, on the one loop that it was first used on."""
        loop = asyncio.get_running_loop()
        if self._stack is not None:
            if loop is not self._loop:
                raise ConfigError("this engine belongs to the event loop it was first used on; open one per loop")
            return self._stack
        if self._closed:
            raise Closed("this engine is closed; open a new one")
        records, company = self.recorder, self.company
        self._stack = Stack(self.settings, self._handler, self._wall_s, self._rng, self._refresher, records, company)
        self.company, self._loop = Company(), loop
        return self._stack

    @property
    def recorder(self) -> Recorder:
        """The record alone, in a few milliseconds: what makes no call needs no connections."""
        if self._recorder is None:
            virtual = bool(getattr(asyncio.get_running_loop(), "is_virtual", False))
            self._recorder = self.company.recorder(self.settings, inline=virtual)
        return self._recorder

    async def _close(self) -> None:
        await asyncio.gather(self._refresher.aclose(), self.prefetch.aclose(), return_exceptions=True)
        if self._stack is not None:
            await self._stack.aclose()
        elif self._recorder is not None:
            self._recorder.close()
