"""By when a call must be answered. Waiting for it is the flight's: one timer serves all of a flight's readers."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from headway.errors import DeadlineExceeded
from headway.types import Call, Handler, Reply

__all__ = ["Deadline"]


class Deadline:
    """Gives calls that name none the default one, and refuses those whose deadline has passed already."""

    __slots__ = ("_next", "_timeout_s")

    def __init__(self, next_: Handler, timeout_s: float) -> None:
        self._next = next_
        self._timeout_s = timeout_s

    async def __call__(self, call: Call) -> Reply:
        now_s = asyncio.get_running_loop().time()
        at_s = min(call.deadline_at_s, now_s + self._timeout_s)
        if at_s <= now_s:
            raise DeadlineExceeded("the deadline had passed before the call was made; nothing was sent")
        return await self._next(call if at_s == call.deadline_at_s else replace(call, deadline_at_s=at_s))
