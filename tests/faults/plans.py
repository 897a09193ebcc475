"""What a run is made of: an engine's settings, a provider, those that stand in for it, a network, and callers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headway.sim import Fault, NetworkFault, SimSettings

__all__ = ["CLIENT_KEY", "HOST", "Door", "Plan", "Scenario", "StandIn"]

HOST = "api.example.com"
CLIENT_KEY = "sk-test"
"""Of every caller; it belongs to `HOST` and to nobody else."""

Door = Literal["send", "handle", "sdk"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One caller. Times in seconds of virtual time."""

    number: int
    group: int
    """Callers of one group ask the same."""
    arrive_s: float
    path: str
    body: dict[str, Any]
    cache: str | None
    deadline_s: float | None
    priority: int
    leave_s: float | None
    """Cancelled so long after it came."""
    leave_chunks: int | None
    """Closes its reply after so many chunks."""
    leave_at_end: bool
    """Closes its stream at the terminal event, as the SDKs do."""
    dawdle_s: float
    """What it takes to read a chunk."""
    door: Door = "send"
    """`Engine.send`; a call made elsewhere for `Engine.handle`; an official SDK over the transport."""
    namespace: str = ""
    sample: str = ""
    """Only where the door has a way to say it, as are the following."""
    timeouts: dict[str, float] | None = None
    """`Timeouts` of its own, by their names; an SDK knows only connect_s and idle_s, which is all its reads'."""
    retries: int = 0
    """Of an SDK's own."""
    prefetch_s: float | None = None
    """Has its answer fetched so long before it asks."""

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        return bool(self.body.get("stream_options"))


class StandIn(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that may answer in the other's place."""

    name: str
    state: Literal["well", "slow", "erring", "refusing", "dead", "unknown", "keyless"]
    """refusing: it does not accept the key; dead: nobody listens; unknown: no such host; keyless: none is set."""
    sim: SimSettings
    renames: bool
    """It has other names for the models."""
    usd: tuple[float, float] | None
    """Its own prices of a million input and output tokens."""

    @property
    def host(self) -> str:
        return f"{self.name}.example.net"

    @property
    def key(self) -> str:
        """Its own; the client's must never get there."""
        return f"sk-of-{self.name}"

    @property
    def variable(self) -> str:
        return f"FAULTS_KEY_{self.name.upper()}"

    def entries(self) -> list[dict[str, Any]]:
        """Its `[[upstream]]` entries: one for OpenAI's formats, one for Anthropic's, whose base URL has no version."""
        shared: dict[str, Any] = {"stands_in_for": f"http://{HOST}"}
        if self.state != "keyless":
            shared["key_env"] = self.variable
        if self.usd is not None:
            shared |= {"input_usd": self.usd[0], "output_usd": self.usd[1]}
        first = {"name": self.name, "base_url": f"http://{self.host}/v1"}
        first["endpoints"] = ["chat/completions", "responses", "embeddings"]
        if self.renames:
            first["models"] = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14"}
        second = {"name": f"{self.name}-messages", "base_url": f"http://{self.host}", "endpoints": ["messages"]}
        if self.renames and self.usd is not None:
            second["models"] = {"claude-haiku-4-5": "claude-haiku-4-5-20251001"}
        return [first | shared, second | shared]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run depends on."""

    seed: int
    engine: dict[str, Any]
    sim: SimSettings
    keep_alive_s: int
    latency_s: float
    network: tuple[NetworkFault, ...]
    callers: tuple[Plan, ...]
    close_s: float | None
    """The engine is closed then, whoever still waits."""
    others: tuple[StandIn, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of all providers."""
        return (*self.sim.faults, *(fault for other in self.others for fault in other.sim.faults))
