"""What a gateway's process runs on: one place that pages, doors and metrics look things up in, at the time of use.

A changed configuration puts another engine in the place of the one that stands here, so nobody keeps what he found.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from headway.gateway.peers import Alone, Peers, WorkerState
from headway.gateway.refusals import Refusals
from headway.telemetry.meters import Meters
from headway.telemetry.process import process_figures

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.engine.said import Said
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
        self.meters = Meters(tagged_steps=True, keys=engine.settings.metrics_keys, extra=self._figures)
        """Of the process: they see every engine that stands here, one after the other."""
        engine.observe(self.meters)
        self.refused = Refusals(self.meters, lambda: self.said)
        self._dropped_before = 0
        self.door = door
        self.homes = homes
        self.gate = gate
        self.keys = keys
        self.peers: Peers = Alone(self.state)
        self.draining = False
        """It ends: nobody new gets in, and what streams for ever (pages) should end soon."""
        self.reload: Callable[[], None] | None = None
        """Asks for the configuration to be read anew, as SIGHUP does; None where another process decides that."""
        self.retired: list[Engine] = []
        """Engines of earlier configurations that still answer what was asked of them."""

    def put(self, engine: Engine, door: Door, homes: Homes) -> None:
        """Have the next request go to those. The engine has taken over from the one before, its observers as well."""
        if engine.recorder is not self.engine.recorder:
            self._dropped_before += self.engine.recorder.dropped  # the other one's log begins anew
        self.engine, self.door, self.homes = engine, door, homes

    def handle(self, request: Request) -> Awaitable[Reply]:
        """The data plane of whatever engine is in place."""
        return self._door(request)

    def check(self, request: Request) -> None:
        """Look at a request whose body has not come yet. Raises `Refused` where it need not."""
        self._door.check(request)

    def snapshot(self) -> dict[str, Any]:
        """The engine's live figures, and what older ones are still answering; raises `Closed` where it is closed."""
        found = self.engine.snapshot()
        for old in self.retired:
            under_way = old.snapshot()
            found["in_flight"] += under_way["in_flight"]
            found["queued"] += under_way["queued"]
        return found

    def state(self) -> WorkerState:
        """This process's own figures."""
        return WorkerState(pid=os.getpid(), state=self.snapshot(), meters=self.meters.packed())

    @property
    def said(self) -> Said:
        """The structured log, as it is set now."""
        return self.engine.recorder.said

    @property
    def door(self) -> Door:
        """The data plane of `engine`."""
        return self._door

    @door.setter
    def door(self, door: Door) -> None:
        self._door = door
        door.refused = self.refused

    def _figures(self) -> dict[str, float]:
        """What the meters cannot see by themselves."""
        dropped = self._dropped_before + self.engine.recorder.dropped
        found = process_figures() | {"headway_log_rows_dropped_total": float(dropped)}
        budget = self.engine.budget if self.engine.settings.budget_usd is not None else None
        if budget is not None:
            found["headway_budget_dollars"] = budget.cap.dollars_max
            found["headway_budget_spent_dollars"] = budget.cap.dollars_spent
        return found
