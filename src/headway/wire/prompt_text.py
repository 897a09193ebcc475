"""The text of what a user asks, for rules that look at it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["prompt_text"]

_DEPTH_MAX: Final = 8


def prompt_text(body: bytes) -> str:
    """The user's turns of a request, in order; "" for bodies that cannot be read.

    System prompts and the model's own turns are left out: they are the same for every question.
    """
    try:
        tree = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return ""
    if type(tree) is not dict:
        return ""
    parts: list[str] = []
    for field in ("input", "messages"):
        _gather(tree.get(field), parts, 0)
    return "\n".join(parts)


def _gather(node: Any, parts: list[str], depth: int) -> None:
    """Strings, and the `content` and `text` of objects; types, URLs and files are no text."""
    if type(node) is str:
        parts.append(node)
    elif depth > _DEPTH_MAX:
        return
    elif type(node) is list:
        for item in node:
            _gather(item, parts, depth + 1)
    elif type(node) is dict and node.get("role", "user") == "user":
        _gather(node.get("content"), parts, depth + 1)
        _gather(node.get("text"), parts, depth + 1)
