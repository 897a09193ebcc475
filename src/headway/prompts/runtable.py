"""The two optional tables of a task file that say how it is run: [settings] and [run].

    [settings]                   # any setting of an engine (docs/settings.md), but for the key itself
    cache = "off"
    base_url = "https://eu.example.com/v1"
    hedge_ratio = 0.02

    [run]
    name = "concise"             # what comparisons call it; the file's name without it
    stream = true                # ask for streams
    concurrency = 8              # rows in flight at once, 1 to 100,000
    order = "parallel"           # or "sequential": the next row when the last one has been answered
    merge = "merged"             # or "separate", for tasks with several [outputs]

What stands there is what `headway run` starts from, and what `headway compare` compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headway.config.checks import checked
from headway.errors import ConfigError

__all__ = ["RunTable", "Tables", "checked_settings"]


class RunTable(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of a task are sent; see the module."""

    name: str = ""
    stream: bool = False
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    """Rows in flight at once; None: as whoever runs it has it."""
    order: Literal["parallel", "sequential"] = "parallel"
    merge: Literal["", "merged", "separate"] = ""
    """For tasks with several outputs: one structured call, or a call each; "" as the task is."""

    @property
    def width(self) -> int | None:
        """Rows in flight at once, 1 where they go one after the other; None: not said."""
        return 1 if self.order == "sequential" else self.concurrency


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """What a task file says beyond its task."""

    settings: dict[str, Any] = {}
    run: RunTable = RunTable()


def checked_settings(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a task file, as keyword arguments of an `Engine`.

    Raises:
        ConfigError: An unknown setting, a wrong value, or a key, which must not stand in a file.
    """
    if "api_key" in table:
        raise ConfigError(
            f"{path}: settings.api_key must not stand in a file; put it into an environment variable and name that "
            "variable with api_key_env"
        )
    named = {{"upstream": "upstreams", "rule": "rules"}.get(key, key): value for key, value in table.items()}
    for key, value in named.items():
        checked(key, value, f"{path}: settings")
    return named
