"""A connection's requests, one after the other, in one task: a task for each would cost it 3 us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headway.gateway.request import Request

__all__ = ["Turns"]


class Turns:
    """See the module.

    Args:
        loop: The running one.
        answer: Makes and writes the answer to a request, and calls `over`; may `begin` the next one then.
    """

    __slots__ = ("_answer", "_answered", "_ended", "_loop", "_parked", "_task", "request")

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[Request], Awaitable[None]]) -> None:
        self._loop = loop
        self._answer = answer
        self._task: asyncio.Task[None] | None = None  # from the first request on
        self._parked: asyncio.Future[None] | None = None  # what it waits for between two
        self._answered: asyncio.Future[None] | None = None
        self._ended = False
        self.request: Request | None = None
        """The one that is being answered."""

    @property
    def answered(self) -> asyncio.Future[None] | None:
        """Done when the present request is answered, or will never be; None between two."""
        if self.request is not None and self._answered is None:
            self._answered = self._loop.create_future()
        return self._answered

    def begin(self, request: Request) -> None:
        """Answer this one; none is being answered."""
        self.request = request
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        else:
            self._wake()

    def over(self) -> None:
        """It is answered."""
        self.request = None
        if self._answered is not None:
            self._answered.set_result(None)
            self._answered = None

    def end(self) -> None:
        """Nothing is to be answered any more, not even what is being answered."""
        self._ended = True
        if self.request is not None and self._task is not None:
            self._task.cancel()
        else:
            self._wake()  # to find nothing

    def _wake(self) -> None:
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)

    async def _run(self) -> None:
        try:
            while (request := self.request) is not None:
                await self._answer(request)
                del request  # between two, nobody holds a body
                if self.request is None and not self._ended:
                    self._parked = self._loop.create_future()
                    await self._parked
        finally:
            self.over()
