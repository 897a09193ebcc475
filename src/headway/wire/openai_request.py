"""What the two OpenAI formats share on the request's side: the canonical body, and what the prompt needs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.tokens import estimate_tokens

__all__ = [
    "MEDIA_TOKENS",
    "UNREADABLE",
    "canonical",
    "count_or_none",
    "has_markers",
    "read_prompt",
    "strip_markers",
    "tool_of_the_server",
]

UNREADABLE: Final = (ValueError, RecursionError)
"""What decoding may raise: broken or wrongly shaped JSON, broken UTF-8, brackets nested too deep."""

MEDIA_TOKENS: Final = 765
"""Estimate for an image or file. Source: OpenAI's vision guide, gpt-4o, 1024x1024 at high detail."""

_DENIED: Final = frozenset(
    {"cache_control", "metadata", "safety_identifier", "service_tier", "stream", "stream_options", "user"}
)
_DENIED_PREFIX: Final = "prompt_cache_"
_MARKERS: Final = ("cache_control", "prompt_cache_breakpoint")
_PROMPT_FIELDS: Final = ("messages", "input", "instructions", "system")

_decode: Final = msgspec.json.Decoder().decode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


class _Tool(msgspec.Struct):
    type: Any = "function"


_decode_tools: Final = msgspec.json.Decoder(list[_Tool]).decode


def canonical(body: bytes) -> bytes | None:
    """The body with sorted keys, less what does not change the answer; None if it is no JSON object.

    Dropped are the deny-listed top-level fields and, inside the prompt, the cache breakpoints. All else
    stays, known or not; arrays keep their order, text and numbers their value (`1`, `1.0` and `true` stay
    apart).

    Source: FACTS section 5.
    """
    try:
        tree = _decode(body)
        if type(tree) is not dict:
            return None
        for field in [field for field in tree if field in _DENIED or field.startswith(_DENIED_PREFIX)]:
            del tree[field]
        if has_markers(body):
            strip_markers(tree)
        return _encode_sorted(tree)
    except UNREADABLE:
        return None


def has_markers(body: bytes) -> bool:
    """Whether the body may hold cache breakpoints, in letters or in the escapes that stand for letters."""
    return b"cache_" in body or b"\\u00" in body


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


def count_or_none(value: Any) -> int | None:
    """`value` if it is a whole number >= 0, else None."""
    return value if type(value) is int and value >= 0 else None
