"""A Messages request as Anthropic reads it: system text, content blocks, tools and cache breakpoints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import msgspec

from headway.sim.ask import Ask, Block, Turn, count_at, flag_at, map_at, object_of, stops_at
from headway.sim.refusals import invalid

__all__ = ["read_messages"]

_BREAKPOINTS_MAX: Final = 4
_TTL_S: Final = {"5m": 300, "1h": 3_600}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_THINKING_TOKENS_MIN: Final = 1_024


def read_messages(raw: bytes, deployment: str = "") -> Ask:
    """Read a body. Raises `Refused` (400) naming the parameter.

    Args:
        raw: The body.
        deployment: Not used: no path names a model here.
    """
    body = object_of(raw)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model: Field required", "model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required", "messages")
    tokens_max = count_at(body, "max_tokens", 1)
    if tokens_max is None:
        raise invalid("max_tokens: Field required", "max_tokens")
    form = map_at(map_at(body, "output_config"), "format") or map_at(body, "output_format")
    schema = form.get("schema")
    choice = map_at(body, "tool_choice")
    tools = [tool for tool in _list(body, "tools") if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    return Ask(
        api="messages",
        model=model,
        body=body,
        turns=tuple(_turns(body, messages)),
        stream=flag_at(body, "stream"),
        tokens_max=tokens_max,
        stop=stops_at(body, "stop_sequences"),
        schema=schema if isinstance(schema, dict) else None,
        json_only=form.get("type") == "json_schema",
        tools=tuple(_function(tool) for tool in tools if tool.get("type", "custom") == "custom"),
        tool_choice=str(choice.get("name", "")) or _CHOICES.get(str(choice.get("type", "auto")), "auto"),
        effort=_effort(body, tokens_max),
        blocks=_blocks(body, tools, messages),
    )


def _turns(body: dict[str, Any], messages: list[Any]) -> Iterator[Turn]:
    if system := "\n\n".join(_said(block) for block in _content(body.get("system"), "system")):
        yield Turn("system", system)
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise invalid(f"{where}.role: Input should be 'user' or 'assistant'", where)
        parts = _content(message.get("content"), f"{where}.content")
        for result, group in groupby(parts, lambda part: part.get("type") == "tool_result"):
            yield Turn("tool" if result else str(message["role"]), "\n".join(filter(None, map(_said, group))))


def _content(content: Any, where: str) -> list[dict[str, Any]]:
    """Content blocks; a string is one of text."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise invalid(f"{where}: Input should be a valid string or a list of content blocks", where)
    return content


def _said(block: dict[str, Any]) -> str:
    """The text in a block; images, documents and calls say nothing here."""
    if block.get("type") == "tool_result":
        return "\n".join(map(_said, _content(block.get("content"), "content")))
    text = block.get("text")
    return text if isinstance(text, str) else ""


def _blocks(body: dict[str, Any], tools: list[Any], messages: list[Any]) -> tuple[Block, ...]:
    """Tools, system, messages: the order in which prefixes are cached."""
    found = [_block("tool", tool) for tool in tools]
    found += [_block("system", part) for part in _content(body.get("system"), "system")]
    for message in messages:
        found += [_block(str(message["role"]), part) for part in _content(message.get("content"), "content")]
    if found and (ttl_s := _ttl_s(body)) and not found[-1].ttl_s:
        found[-1] = msgspec.structs.replace(found[-1], ttl_s=ttl_s)
    breakpoints = [block.ttl_s for block in found if block.ttl_s]
    if len(breakpoints) > _BREAKPOINTS_MAX:
        raise invalid(f"A maximum of 4 blocks with cache_control may be provided. Found {len(breakpoints)}.")
    if breakpoints != sorted(breakpoints, reverse=True):
        raise invalid("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")
    return tuple(found)


def _block(role: str, block: dict[str, Any]) -> Block:
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    written = msgspec.json.encode(plain, order="sorted").decode()
    said = _said(block) if block.get("type") in ("text", "tool_result", "image", "document") else written
    return Block(f"{role}\n{written}", said, _ttl_s(block))


def _ttl_s(holder: dict[str, Any]) -> int:
    control = holder.get("cache_control")
    if not isinstance(control, dict):
        return 0
    ttl = str(control.get("ttl", "5m"))
    if control.get("type") != "ephemeral" or ttl not in _TTL_S:
        raise invalid("cache_control: Input should be {'type': 'ephemeral'} with a ttl of '5m' or '1h'")
    return _TTL_S[ttl]


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    described = str(tool.get("description") or "")
    return {"name": tool["name"], "description": described, "parameters": map_at(tool, "input_schema")}


def _effort(body: dict[str, Any], tokens_max: int) -> str:
    """How much it is to think; "" for not at all."""
    thinking = map_at(body, "thinking")
    if thinking.get("type") == "adaptive":
        effort = str(map_at(body, "output_config").get("effort") or "high")
        return "xhigh" if effort == "max" else effort
    if thinking.get("type") != "enabled":
        return ""
    budget = count_at(thinking, "budget_tokens", _THINKING_TOKENS_MIN)
    if budget is None or budget >= tokens_max:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.", "thinking.budget_tokens")
    return "low" if budget < 4_096 else "medium" if budget < 16_384 else "high"


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []
