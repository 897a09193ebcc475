"""What all connections of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from headway.gateway.limits import Limits
from headway.gateway.protocol.heads import Heads
from headway.gateway.request import Refused, Request, uncounted
from headway.types import Reply
from headway.upstream.headers import HeaderNames

__all__ = ["Handle", "Site"]

Handle: TypeAlias = Callable[[Request], Awaitable[Reply]]
"""Answers a request of the data plane, refusals included; headers are those that the client may see."""


class Site:
    """See the module.

    Args:
        handle: The data plane.
        check: Raises `Refused` where a head alone shows that its request is not taken: before its body is.
        takes: Whether a raw target is the data plane's.
        other: Makes the protocol of everything else.
        limits: See `Limits`.
        connections: Those that are open; the server waits for them when it ends.
    """

    def __init__(
        self,
        handle: Handle,
        check: Callable[[Request], None],
        takes: Callable[[str], bool],
        other: Callable[[], asyncio.Protocol],
        limits: Limits,
        connections: set[Any],
    ) -> None:
        self.handle = handle
        self.check = check
        self._takes = takes
        self.other = other
        self.limits = limits
        self.connections = connections
        self.refused: Callable[[Refused], None] = uncounted
        """Told of what is turned away before it reaches `handle`."""
        self.names = HeaderNames()
        self.heads = Heads()
        self.bodies_bytes = 0
        """Of requests that are read or answered."""

    def hold(self, body_bytes: int) -> None:
        """Count so many more bytes of bodies. Raises `Refused` where that is too much."""
        self.bodies_bytes += body_bytes
        if self.bodies_bytes > self.limits.bodies_bytes_max:
            raise Refused(503, "too many large requests are under way; try again in a moment", "overloaded")

    def wants(self, head: Request) -> bool:
        """Whether a request is the data plane's, by its head."""
        found = head.notes.get("wants")
        if found is None:
            found = head.notes["wants"] = self._takes(head.target)
        return found is True
