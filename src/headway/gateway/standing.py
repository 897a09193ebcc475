"""What one configuration is in service: an engine, its homes, the data plane on top, and what passes things through."""

from __future__ import annotations

from typing import Any

from headway.config import Settings, load_settings
from headway.engine import Engine
from headway.engine.company import Company, same
from headway.gateway.data import Door
from headway.gateway.data.gate import Gate
from headway.gateway.data.homes import Homes, engine_upstreams
from headway.gateway.settings import ServeSettings
from headway.policy.shared_limits import LimitsShared
from headway.types import Handler, Timeouts
from headway.upstream import Upstream

__all__ = ["Plan", "Standing", "planned"]

PASSED_BYTES_MAX = 2 * 1024**3
"""The largest answer that passes through; it is never held."""


class Plan:
    """A configuration that was read and is right."""

    __slots__ = ("given", "homes", "settings")

    def __init__(self, settings: Settings, given: dict[str, Any]) -> None:
        self.settings = settings
        self.given = given
        """What the engine is told; it wins over the file."""
        self.homes = Homes(settings)


def planned(settings: ServeSettings) -> Plan:
    """Read the configuration anew.

    Raises:
        ConfigError: It is wrong; the message names file, line and key.
    """
    found = load_settings(settings.engine, file=settings.config or None)
    given = settings.engine | {"upstreams": engine_upstreams(found)}
    if found.connections_max == Settings().connections_max:
        # As it is for one application; here every client's stream may need one of its own.
        given["connections_max"] = settings.limits.connections_max
    return Plan(found, given)


class Standing:
    """A plan in service. Make it on the loop that serves.

    Args:
        settings: Of the gateway.
        plan: See `planned`.
        gate: Who may come in.
        handler: Takes the network's place; None for the network.
        limits: Those that are shared with other processes; None: there are none.
        before: Whose place it takes. It goes on where that one stands, which is to be closed first.

    Raises:
        ConfigError: A file or an address of the plan cannot be used.
    """

    __slots__ = ("_handed_on", "_passing", "door", "engine", "homes", "plan")

    def __init__(
        self,
        settings: ServeSettings,
        plan: Plan,
        gate: Gate,
        handler: Handler | None = None,
        *,
        limits: LimitsShared | None = None,
        before: Standing | None = None,
    ) -> None:
        self.plan = plan
        self.homes = plan.homes
        self.engine = Engine(handler=handler, config=settings.config or None, **plan.given)
        self.engine.company = Company(limits, before.engine if before is not None else None)
        self.engine.new_trace()  # opens it
        self._handed_on = False
        passing: Handler | None = handler
        if before is not None and same(before.plan.settings, plan.settings, "connect", "first_byte", "idle_timeout_s"):
            passing = before._passing
            before._handed_on = True
        self._passing: Handler = passing or _passing(plan.settings)
        self.door = Door(self.engine, self.homes, gate, self._passing)

    async def aclose(self) -> None:
        """End what is under way, and let go of what nobody has taken over."""
        await self.engine.aclose()
        if isinstance(self._passing, Upstream) and not self._handed_on:
            await self._passing.aclose()


def _passing(settings: Settings) -> Upstream:
    timeouts = Timeouts(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        first_event_s=settings.first_byte_timeout_s,
        idle_s=settings.idle_timeout_s,
    )
    return Upstream(timeouts, connections_max=settings.connections_max, reply_bytes_max=PASSED_BYTES_MAX)
