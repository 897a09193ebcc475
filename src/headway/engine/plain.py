"""A line of the structured log as a human reads it at a terminal: what happened first, then what helps most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["plain_line", "shown"]

_ORDER: Final = (
    "model", "upstream", "status", "error_code", "latency_s", "wait_s", "attempts", "attempt", "dollars", "cache",
    "key", "step", "run", "route",
)  # fmt: skip
_LAST: Final = ("id",)
_LEFT_TO_JSON: Final = frozenset(("timestamp", "level", "event", "logger", "message", "flight", "outcome", "trace_id"))
"""Shown by themselves, or for programs alone."""
_COLOURS: Final = {"warning": "\x1b[33m", "info": "\x1b[32m", "debug": "\x1b[2m"}
_PLAIN: Final = "\x1b[0m"


def plain_line(fields: Mapping[str, Any], *, coloured: bool) -> str:
    """One line without its end: the clock (UTC), the level, the event, its sentence, the rest as name=value."""
    level, event = str(fields.get("level", "")), shown(str(fields.get("event", "")))
    said = f"{_COLOURS.get(level, '')}{level:<7}{_PLAIN}" if coloured else f"{level:<7}"
    parts = [f"{str(fields.get('timestamp', ''))[11:19]}Z", said, event]
    if message := fields.get("message"):
        parts.append(f"- {shown(str(message))}")
    between = [name for name in fields if name not in _ORDER and name not in _LAST and name not in _LEFT_TO_JSON]
    for name in (*_ORDER, *between, *_LAST):
        value = fields.get(name)
        if value is not None and not (name in ("wait_s", "cache") and value in (0.0, "off")):
            parts.append(f"{name}={_value(value)}")
    return " ".join(parts)


def shown(text: str) -> str:
    """Text that a client may have made, for a terminal: what would steer it (escapes, line ends) is written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if isinstance(value, str) and (not text or any(one in text for one in ' "=')):
        text = json.dumps(text, ensure_ascii=False)
    return shown(text)
