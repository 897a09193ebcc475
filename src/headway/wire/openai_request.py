"""What the OpenAI formats share on the request's side: what the prompt needs, and where its cache breakpoints stand."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.tokens import estimate_tokens

__all__ = ["MEDIA_TOKENS", "read_prompt", "strip_markers", "tool_of_the_server"]

MEDIA_TOKENS: Final = 765
"""Estimate for an image or file. Source: OpenAI's vision guide, gpt-4o, 1024x1024 at high detail."""

_MARKERS: Final = ("cache_control", "prompt_cache_breakpoint")
_PROMPT_FIELDS: Final = ("messages", "input", "instructions", "system")


class _Tool(msgspec.Struct):
    type: Any = "function"


_decode_tools: Final = msgspec.json.Decoder(list[_Tool]).decode


def strip_markers(tree: Any) -> Any:
    """Take cache breakpoints out of the prompt and off the tools, in place; returns `tree`.

    Only there, and never inside a tool's `parameters`: in a JSON schema the same word names a property.
    """
    if type(tree) is not dict:
        return tree
    nodes = [tree.get(field) for field in _PROMPT_FIELDS]
    while nodes:
        node = nodes.pop()
        if type(node) is list:
            nodes.extend(node)
        elif type(node) is dict:
            _strip(node)
            nodes.extend([value for key, value in node.items() if key != "parameters"])
    tools = tree.get("tools")
    for tool in tools if type(tools) is list else ():
        if type(tool) is dict:
            _strip(tool)
    return tree


def _strip(node: dict[str, Any]) -> None:
    for marker in _MARKERS:
        if type(node.get(marker)) is dict:
            del node[marker]


def read_prompt(blocks: Any, extra_chars: int) -> tuple[int, str]:
    """Estimated tokens of a prompt, and what in it the body alone does not hold ("" if nothing).

    Args:
        blocks: The decoded `messages` or `input`: a string or a list of objects.
        extra_chars: Characters of the prompt that stand elsewhere (instructions, tools).

    Decided on structure: a text that speaks of a file id or a URL is text.
    """
    chars, media, why_not = extra_chars, 0, ""
    nodes: list[Any] = []
    if type(blocks) is not list:
        nodes.append(blocks)
    else:
        for block in blocks:
            if type(block) is dict:
                content = block.get("content")
                if type(content) is str and len(block) == 2 and "role" in block:
                    chars += len(content)  # nearly all messages are this simple
                    continue
                if "role" not in block and block.get("type") in (None, "item_reference"):
                    why_not = "item reference"
            nodes.append(block)
    while nodes:
        node = nodes.pop()
        if type(node) is str:
            chars += len(node)
        elif type(node) is list:
            nodes.extend(node)
        elif type(node) is dict:
            for key, value in node.items():
                if key.endswith("_url"):
                    media += 1
                    url = value.get("url") if type(value) is dict else value
                    if url is not None and not (type(url) is str and url.startswith("data:")):
                        why_not = "remote URL"
                elif key == "file_id":
                    if value is not None:
                        why_not = "file id"
                elif key == "audio" and type(value) is dict and "id" in value:
                    why_not = "stored audio"
                elif key in ("data", "file_data"):
                    media += 1
                else:
                    nodes.append(value)
    return estimate_tokens(chars) + media * MEDIA_TOKENS, why_not


def tool_of_the_server(tools: msgspec.Raw) -> str:
    """The first tool that the provider itself would run, as a reason; "" if all are the caller's."""
    if not bytes(tools):
        return ""
    try:
        for tool in _decode_tools(tools) if bytes(tools) != b"null" else ():
            if tool.type not in ("function", "custom"):
                return f"server-side tool {str(tool.type)[:40]}"
    except UNREADABLE:
        return "unreadable tools"
    return ""
