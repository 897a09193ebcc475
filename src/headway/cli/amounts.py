"""Times and money as people write them on a command line."""

from __future__ import annotations

import re
from typing import Final

from headway.errors import ConfigError

__all__ = ["cap_of", "dollars_of", "seconds_of"]

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_TIME: Final = re.compile(r"(?:\s*\d+(?:\.\d+)?\s*(?:s|min|m|h|d))+\s*", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)", re.ASCII)
_MONEY: Final = re.compile(r"\s*(?:usd|\$)?\s*(\d+(?:\.\d+)?)\s*(?:usd|\$)?\s*", re.ASCII | re.IGNORECASE)


def seconds_of(text: str, where: str) -> float:
    """Seconds of "90s", "30m", "6h", "1d" or "1h30m".

    Raises:
        ConfigError: It is none of these, or nothing.
    """
    if _TIME.fullmatch(text.lower()):
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text.lower()))
        if seconds > 0:
            return seconds
    raise ConfigError(f"{where} must be a time such as 90s, 30m, 6h or 1d, not {text!r}")


def dollars_of(text: str, where: str) -> float:
    """Dollars of "20usd", "$20" or "20".

    Raises:
        ConfigError: It is none of these.
    """
    if found := _MONEY.fullmatch(text):
        return float(found[1])
    raise ConfigError(f"{where} must be an amount in US dollars such as 20usd or 0.50, not {text!r}")


def cap_of(text: str) -> float | None:
    """Dollars of `--max-usd`; None for "none".

    Raises:
        ConfigError: It is neither.
    """
    return None if text.strip().lower() == "none" else dollars_of(text, "--max-usd")
