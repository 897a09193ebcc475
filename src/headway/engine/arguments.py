"""What a caller says about one call, checked: as arguments of `Engine.send`, or as control headers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from headway.errors import ConfigError

__all__ = ["CONTROL_PREFIX", "PRIORITIES", "check_arguments", "own_headers"]

CONTROL_PREFIX = "headway-"
"""Headers of that name steer one call and are never sent; see `engine.inbound`."""

PRIORITIES = {"low": -1, "normal": 0, "high": 1}


def check_arguments(cache: object, deadline_s: object, priority: object) -> None:
    """What a type checker would have said of one call's arguments.

    Raises:
        ConfigError: One of them is none of what it may be.
    """
    if cache not in (None, "on", "off", "refresh"):
        raise ConfigError(f'cache must be "on", "off" or "refresh" for one call, not {cache!r}')
    if deadline_s is not None and not (isinstance(deadline_s, int | float) and deadline_s == deadline_s):
        raise ConfigError(f"deadline_s must be a number of seconds from now, not {deadline_s!r}")
    if not isinstance(priority, int) and priority not in PRIORITIES:
        raise ConfigError(f'priority must be a whole number, "low", "normal" or "high", not {priority!r}')


def own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A call's own headers with their names in lower case.

    Raises:
        ConfigError: One of them is a control header, which would be sent to the provider.
    """
    own = {name.lower(): value for name, value in headers.items()}
    for name in own:
        if name.startswith(CONTROL_PREFIX):
            raise ConfigError(
                f"header {name[:80]!r} is for the clients of SDKs; tell Engine.send by an argument instead: "
                "cache=, priority=, deadline_s=, namespace= or tags="
            )
    return own
