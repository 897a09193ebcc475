"""What a simulator can be told: one frozen object, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import msgspec

from headway.errors import ConfigError
from headway.sim.batch_settings import BatchSettings
from headway.sim.faults import Fault
from headway.sim.profiles import REGIONS
from headway.sim.quality import Quality

__all__ = ["SimSettings"]


class SimSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The simulated provider. Limits hold per credential and per model (or family of models).

    Raises:
        ConfigError: A value out of range; the message names the key.
    """

    seed: int = 0
    """Same seed, same request: same answer, same latency at the same load, same faults."""
    rpm: int | None = 10_000
    """Requests a minute; None for no limit and no headers about one."""
    tpm: int | None = 30_000_000
    """Tokens a minute; None for no limit and no headers about one."""
    capacity_s: float = 60.0
    """How many seconds of refill the buckets hold, 1 to 60: 60 is what the documents describe, 1 is a limit of
    3,000 a minute enforced as 50 a second."""
    start_full: bool = True
    """Whether buckets start full (an account that was idle) or empty."""
    headers: bool = True
    """Whether rate limits are told in headers; False plays a self-hosted server, 429s included."""
    retry_after: bool = False
    """Whether 429s carry `retry-after` (whole seconds) and `retry-after-ms`."""
    region: str = "us-east"
    latency_scale: float = 1.0
    """Multiplies every time; 0 answers at once."""
    capacity: int = 1_000
    """Requests in flight per model at which the provider saturates; see `sim.latency`."""
    prefix_ttl_s: float = 450.0
    """How long a cached prefix lives after its last use, 300 to 600 s. Source: OpenAI, "Prompt caching"."""
    quality: Quality | None = Quality()
    """Error rates; None for the best answer the stand-in can give, every time."""
    faults: tuple[Fault, ...] = ()
    fault_header: bool = True
    """Whether the request header `x-sim-fault` may ask for a fault."""
    stall_s: float = 900.0
    """How long a stalled answer stays silent before its connection is dropped. Not scaled."""
    batches: BatchSettings = BatchSettings()
    """How files and batches are played."""
    flex_unavailable: float = 0.0
    """The share of flex requests that are refused for want of resources, 0 to 1."""
    group_drop: float = 0.0
    """The share of items that an answer to a grouped prompt leaves out, 0 to 1."""
    organisations: Mapping[str, str] = {}
    """Keys and the organisation each belongs to: those of one share limits, prompt caches, files and batches. Other
    keys have limits of their own."""
    api_keys: tuple[str, ...] | None = None
    """Accepted keys; None accepts any that is not empty."""
    ledger_rows_max: int = 100_000
    body_bytes_max: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check the ranges."""
        for key in ("rpm", "tpm"):
            value = getattr(self, key)
            if value is not None and not 1 <= value <= 10_000_000_000:
                raise ConfigError(f"{key}: expected a number from 1, or none for no limit, got {value}")
        _within("capacity_s", self.capacity_s, 1, 60)
        _within("latency_scale", self.latency_scale, 0, 1_000)
        _within("prefix_ttl_s", self.prefix_ttl_s, 300, 600)
        _within("stall_s", self.stall_s, 0, 86_400)
        _within("capacity", self.capacity, 1, 1_000_000)
        _within("flex_unavailable", self.flex_unavailable, 0, 1)
        _within("group_drop", self.group_drop, 0, 1)
        _within("ledger_rows_max", self.ledger_rows_max, 1, 10_000_000)
        _within("body_bytes_max", self.body_bytes_max, 1, 1 << 30)
        if self.region not in REGIONS:
            raise ConfigError(f"region: {self.region!r} is not played; the regions are {', '.join(REGIONS)}")
        if self.api_keys is not None and not all(self.api_keys):
            raise ConfigError("api_keys: a key is empty; leave api_keys out to accept any key")

    def __repr__(self) -> str:
        """Without the keys."""
        shown = {f: getattr(self, f) for f in self.__struct_fields__ if f not in ("api_keys", "organisations")}
        return f"SimSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _within(key: str, value: float, least: float, most: float) -> None:
    if not (isfinite(value) and least <= value <= most):
        raise ConfigError(f"{key}: expected a number from {least:g} to {most:g}, got {value:g}")
