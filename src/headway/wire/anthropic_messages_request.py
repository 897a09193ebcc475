"""What the Messages format's requests hold: the prompt's size, what in it lies elsewhere, and its cache breakpoints.

Source: Anthropic API reference, "Create a Message"; "Vision"; "Prompt caching"; "Tool reference".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.tokens import estimate_tokens

__all__ = ["MEDIA_TOKENS", "blocks_of", "read_prompt", "strip_markers", "tool_of_the_server"]

MEDIA_TOKENS: Final = 1600
"""Estimate for an image or a document. Source: Anthropic's vision guide, an image of 1092 x 1092 pixels."""

_NO_PROMPT: Final = frozenset(
    "cache_control citations data encrypted_content encrypted_index id role signature tool_use_id type".split()
)
"""Fields of a block that are no text to read: names, marks, and what only the provider can open."""
_FREE_FORM: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks whose input is anybody's JSON: nothing in it means anything here."""
_RUN_BY_THE_CALLER: Final = ("custom", "bash_", "text_editor_", "memory_")
"""Types of tools that the caller runs, or how their dated names begin."""


class _Tool(msgspec.Struct):
    type: Any = None


_decode_tools: Final = msgspec.json.Decoder(list[_Tool]).decode
_encode: Final = msgspec.json.Encoder().encode


def read_prompt(system: Any, messages: Any, extra_chars: int) -> tuple[int, str]:
    """Estimated tokens of a prompt, and what in it the body alone does not hold ("" if nothing).

    Args:
        system: The decoded `system`: a string or blocks.
        messages: The decoded `messages`.
        extra_chars: Characters of the prompt that stand elsewhere (tools).

    Decided on structure: a text, or a tool's input, that speaks of a file id or a URL is text.
    """
    chars, media, why_not = extra_chars, 0, ""
    nodes: list[Any] = [system, messages]
    while nodes:
        node = nodes.pop()
        if type(node) is str:
            chars += len(node)
        elif type(node) is list:
            nodes.extend(node)
        elif type(node) is dict:
            if node.get("type") in _FREE_FORM:
                chars += len(_encode(node.get("input")))
                continue
            for key, value in node.items():
                if key == "source" and type(value) is dict:
                    kind = value.get("type")
                    if kind in ("text", "content"):
                        nodes.append(value.get("data" if kind == "text" else "content"))
                    else:
                        media += 1
                        why_not = why_not or _why_not_source(kind)
                elif key == "file_id":
                    why_not = why_not or ("file id" if value is not None else "")
                elif key not in _NO_PROMPT:
                    nodes.append(value)
    return estimate_tokens(chars) + media * MEDIA_TOKENS, why_not


def _why_not_source(kind: Any) -> str:
    if kind == "base64":
        return ""
    return {"url": "remote URL", "file": "file id"}.get(kind if type(kind) is str else "", "unknown source")


def blocks_of(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object of a decoded request that may carry ``cache_control``.

    Those are the request itself, tools, and the blocks of `system` and `messages`, nested ones (a tool's result, a
    document's content) included; never a tool's input or schema, where the same word is the caller's own.
    """
    yield tree
    nodes = [tree.get("system"), tree.get("messages"), tree.get("tools")]
    while nodes:
        node = nodes.pop()
        if type(node) is list:
            nodes.extend(node)
        elif type(node) is dict:
            yield node
            nodes += [node.get("content"), node.get("source")]


def strip_markers(tree: dict[str, Any]) -> None:
    """Take ``cache_control`` off every block that may carry it, in place."""
    for block in blocks_of(tree):
        block.pop("cache_control", None)


def tool_of_the_server(tools: msgspec.Raw) -> str:
    """The first tool that the provider runs, or whose world the body does not hold, as a reason; "" if there is none.

    Computer and browser tools count: what they are asked about has changed by the next time.
    """
    if not bytes(tools) or bytes(tools) == b"null":
        return ""
    try:
        for tool in _decode_tools(tools):
            kind = tool.type
            if kind is not None and not (type(kind) is str and kind.startswith(_RUN_BY_THE_CALLER)):
                return f"server-side tool {str(kind)[:40]}"
    except UNREADABLE:
        return "unreadable tools"
    return ""
