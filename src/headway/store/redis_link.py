"""The way to Redis: one client with a short patience, and a circuit that leaves a dead server alone.

Redis only ever makes things better: whoever asks it must be able to go on without. So every question has the same
short timeout; the first one that fails opens the circuit, costs one warning, and spares all others the wait until a
probe in the background finds the server again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from headway.errors import ConfigError
from headway.store.writer import log_warning

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisDown", "RedisLink"]

T = TypeVar("T")

_AT_ONCE_MAX = 32
_LISTENERS_MAX = 64


class RedisDown(Exception):
    """Redis was not asked, or did not answer: go on without it. Never reaches a user."""


class RedisLink:
    """A client for one event loop.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, credentials and database included.
        timeout_s: What one question may take, connecting included.
        retry_s: How long a dead server is left alone before it is probed, and between probes.
        on_error: Told one sentence an outage.

    Raises:
        ConfigError: The redis package is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 0.25,
        retry_s: float = 5.0,
        on_error: Callable[[str], None] = log_warning,
    ) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError, ResponseError
        except ImportError:
            raise ConfigError(
                "the Redis cache needs the redis package; install it with: pip install 'headway[redis]'"
            ) from None
        parts = urlsplit(url)
        self.where = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        """The server's address without its credentials."""
        # Our own timer is the only one: a blocking read may take as long as it says.
        self._client: Redis = Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            max_connections=_AT_ONCE_MAX + _LISTENERS_MAX + 1,
        )
        self._failures = (RedisError, OSError, TimeoutError)
        self._refusal = ResponseError
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._on_error = on_error
        self._slots = asyncio.Semaphore(_AT_ONCE_MAX)
        self._listening = 0
        self._prober: asyncio.Task[None] | None = None
        self._refused = self._closed = False

    @property
    def down(self) -> bool:
        """Whether it is being left alone."""
        return self._prober is not None or self._closed

    @property
    def may_listen(self) -> bool:
        """Whether one more connection may block on a read."""
        return self._listening < _LISTENERS_MAX

    async def ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        """Ask one thing; at most 32 at once, further ones wait their turn before their time counts.

        Raises:
            RedisDown: It is down, or has just failed.
        """
        if self.down:
            raise RedisDown
        async with self._slots:
            return await self._asked(question, self._timeout_s)

    async def listen(self, question: Callable[[Redis], Awaitable[T]], block_s: float) -> T:
        """Ask something that may block that long, on a connection that others do not wait for.

        Raises:
            RedisDown: As `ask`.
        """
        self._listening += 1
        try:
            return await self._asked(question, block_s + self._timeout_s)
        finally:
            self._listening -= 1

    def script(self, text: str) -> Callable[[list[str], list[Any]], Callable[[Redis], Awaitable[Any]]]:
        """A Lua script as a question: ``ask(script(keys, args))``. Sent once, then called by its digest."""
        registered = self._client.register_script(text)

        def of(keys: list[str], args: list[Any]) -> Callable[[Redis], Awaitable[Any]]:
            return lambda client: registered(keys=keys, args=args, client=client)

        return of

    async def aclose(self) -> None:
        """Let go of the connections. Idempotent."""
        self._closed = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        await self._client.aclose()

    async def _asked(self, question: Callable[[Redis], Awaitable[T]], timeout_s: float) -> T:
        if self.down:
            raise RedisDown
        # The last fifth of the patience begins when the loop gets to it: a loop that was held up for a quarter of a
        # second has the answer in its socket, and must not take that for silence.
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        try:
            async with asyncio.timeout(None) as patience:
                timer = loop.call_later(
                    timeout_s * 0.8, lambda: patience.reschedule(loop.time() + self._timeout_s * 0.2)
                )
                return await question(self._client)
        except self._failures as problem:
            if isinstance(problem, self._refusal):
                self._refuses(problem)  # it lives, but may be full, read-only or not let us
            else:
                self._trip(problem)
            raise RedisDown from problem
        finally:
            if timer is not None:
                timer.cancel()

    def _refuses(self, problem: BaseException) -> None:
        if not self._refused:
            self._refused = True
            self._on_error(f"Redis at {self.where} refuses what it is asked ({problem}); going on without its answer.")

    def _trip(self, problem: BaseException) -> None:
        if self.down:
            return
        reason = str(problem) or f"no answer within {self._timeout_s:g} s"
        self._on_error(
            f"Redis at {self.where} cannot be used ({reason}); going on without it and trying it again "
            f"every {self._retry_s:g} s."
        )
        self._prober = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(self._retry_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._client.ping()
            except self._failures:
                continue
            self._prober = None
            return
