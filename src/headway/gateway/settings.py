"""What `headway serve` is told."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.gateway.limits import DOOR_LIMITS, LIMITS, DoorLimits, Limits
from headway.gateway.loops import LoopKind

__all__ = ["ServeSettings"]


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen, and with what engine behind it."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free one."""
    workers: int = 1
    """Processes; each has an engine of its own."""
    loop: LoopKind = "auto"
    """See `loop_factory`."""
    drain_s: float = 30.0
    """How long answers that are being written may take after the signal to end."""
    config: str = ""
    """A headway.toml; "" for the one in the working directory, if there is one."""
    env_file: str = ""
    """A file of environment variables, read at the start and with every reload; "" for none."""
    keys: str = ""
    """The file of keys, which are needed then; "" for keys.sqlite in the state directory, once a key was made."""
    engine: dict[str, Any] = {}
    """Settings of the engine that win over the file's."""
    limits: Limits = LIMITS
    doors: DoorLimits = DOOR_LIMITS
    model: str = ""
    """Who answers at `/stream` and `/chat` where nobody is named; "": the first that an upstream lists."""
