"""What a gateway's process runs on: one place that pages, doors and metrics look things up in, at the time of use.

A changed configuration puts another engine in the place of the one that stands here, so nobody keeps what he found.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from headway.gateway.peers import Alone, Peers, WorkerState

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.gateway.data import Door
    from headway.gateway.data.gate import Gate
    from headway.gateway.data.homes import Homes
    from headway.gateway.keys import Keys
    from headway.gateway.request import Request
    from headway.gateway.settings import ServeSettings
    from headway.types import Reply

__all__ = ["Serving"]


class Serving:
    """See the module.

    Args:
        settings: What `headway serve` was told.
        engine: Open on the running loop.
        door: The data plane of that engine.
        homes: Where its requests may go.
        gate: Who may come in.
        keys: The file of keys.
    """

    def __init__(
        self, settings: ServeSettings, engine: Engine, door: Door, *, homes: Homes, gate: Gate, keys: Keys
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.door = door
        self.homes = homes
        self.gate = gate
        self.keys = keys
        self.peers: Peers = Alone(self.state)
        self.draining = False
        """It ends: nobody new gets in, and what streams for ever (pages) should end soon."""

    async def handle(self, request: Request) -> Reply:
        """The data plane of whatever engine is in place."""
        return await self.door(request)

    def check(self, request: Request) -> None:
        """Look at a request whose body has not come yet. Raises `Refused` where it need not."""
        self.door.check(request)

    def snapshot(self) -> dict[str, Any]:
        """The engine's live figures; raises `Closed` where it is closed."""
        return self.engine.snapshot()

    def state(self) -> WorkerState:
        """This process's own figures."""
        return WorkerState(pid=os.getpid(), state=self.snapshot())
