"""A request as the provider reads it: one `Ask` whatever the endpoint, or the 400 that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from headway.sim.refusals import invalid

__all__ = [
    "Api",
    "Ask",
    "Block",
    "Turn",
    "count_at",
    "flag_at",
    "map_at",
    "object_of",
    "read_ask",
    "stops_at",
    "text_of",
]

Api: TypeAlias = Literal["responses", "chat", "embeddings", "messages", "contents"]
"""OpenAI's three, Anthropic's Messages, and Gemini's `generateContent`."""


class Turn(msgspec.Struct, frozen=True):
    """One message: who said what. Tool results have the role "tool"."""

    role: str
    text: str


class Block(msgspec.Struct, frozen=True):
    """One block of a Messages prompt: a tool, or a part of the system text or of a message."""

    key: str
    """What it says and whose it is; blocks with equal keys are equal."""
    text: str
    ttl_s: int = 0
    """How long the prefix that ends here is to be cached; 0 where there is no breakpoint."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, normalised over the endpoints."""

    api: Api
    model: str
    body: Mapping[str, Any]
    """The parsed body, for what is echoed."""
    turns: tuple[Turn, ...] = ()
    """System and developer text included, in order."""
    stream: bool = False
    include_usage: bool = False
    tokens_max: int | None = None
    stop: tuple[str, ...] = ()
    answers: int = 1
    schema: Mapping[str, Any] | None = None
    json_only: bool = False
    """JSON is demanded, with or without a schema."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Functions only: name, description, parameters."""
    tool_choice: str = "auto"
    """"auto", "none", "required", or a function's name."""
    effort: str = ""
    cache_key: str = ""
    texts: tuple[str, ...] = ()
    """What is to be embedded."""
    dimensions: int | None = None
    blocks: tuple[Block, ...] = ()
    """The prompt in the order it is cached in; Messages only."""

    @property
    def chars(self) -> int:
        """Characters of text in the prompt."""
        return sum(len(turn.text) for turn in self.turns) + sum(map(len, self.texts))


def read_ask(api: Api, raw: bytes, deployment: str = "") -> Ask:
    """Read a body in one of OpenAI's formats. Raises `Refused` (400) naming the parameter.

    Args:
        api: Which format.
        raw: The body.
        deployment: The model that the path names, which then counts; "" for the body's.
    """
    body = object_of(raw)
    model = deployment or body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", "model", "missing_required_parameter")
    if api == "embeddings":
        texts = _texts(body.get("input"))
        return Ask(api=api, model=model, body=body, texts=texts, dimensions=count_at(body, "dimensions", 1))
    return _responses(body, model) if api == "responses" else _chat(body, model)


def object_of(raw: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises `Refused` (400)."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP"
            " library correctly. The API expects a JSON payload.)"
        ) from None
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def _chat(body: dict[str, Any], model: str) -> Ask:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    form = map_at(body, "response_format")
    inner = form.get("json_schema")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        choice = str((choice.get("function") or {}).get("name", "required"))
    bound_key = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return Ask(
        api="chat",
        model=model,
        body=body,
        turns=tuple(_turn(message, f"messages[{index}]") for index, message in enumerate(messages)),
        stream=flag_at(body, "stream"),
        include_usage=bool(map_at(body, "stream_options").get("include_usage")),
        tokens_max=count_at(body, bound_key, 1),
        stop=stops_at(body, "stop"),
        answers=count_at(body, "n", 1, 128) or 1,
        schema=inner.get("schema") if isinstance(inner, dict) and isinstance(inner.get("schema"), dict) else None,
        json_only=form.get("type") in ("json_object", "json_schema"),
        tools=_functions(body.get("tools")),
        tool_choice="required" if choice == "any" else choice,  # Mistral's word for it
        effort=str(body.get("reasoning_effort") or ""),
        cache_key=str(body.get("prompt_cache_key") or ""),
    )


def _responses(body: dict[str, Any], model: str) -> Ask:
    given = body.get("input")
    if isinstance(given, str):
        turns = [Turn("user", given)]
    elif isinstance(given, list) and given:
        turns = [_turn(item, f"input[{index}]") for index, item in enumerate(given)]
    else:
        raise invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(instructions := body.get("instructions"), str) and instructions:
        turns.insert(0, Turn("system", instructions))
    form = map_at(map_at(body, "text"), "format")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        choice = str(choice.get("name", "required"))
    return Ask(
        api="responses",
        model=model,
        body=body,
        turns=tuple(turns),
        stream=flag_at(body, "stream"),
        include_usage=True,
        tokens_max=count_at(body, "max_output_tokens", 16),
        schema=form.get("schema") if isinstance(form.get("schema"), dict) else None,
        json_only=form.get("type") in ("json_object", "json_schema"),
        tools=_functions(body.get("tools")),
        tool_choice=choice,
        effort=str(map_at(body, "reasoning").get("effort") or ""),
        cache_key=str(body.get("prompt_cache_key") or ""),
    )


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict):
        raise invalid(f"Invalid type for '{where}': expected an object.", where, "invalid_type")
    kind = message.get("type")
    if kind == "function_call_output":
        return Turn("tool", text_of(message.get("output"), where))
    if kind in ("function_call", "reasoning", "item_reference"):
        return Turn("assistant", "")
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant", "tool", "function"):
        raise invalid(f"Invalid value: {role!r}. Supported values are: 'system', 'assistant', 'user', 'function',"
                      " 'tool', and 'developer'.", f"{where}.role", "invalid_value")  # fmt: skip
    return Turn("system" if role == "developer" else role, text_of(message.get("content"), where))


def text_of(content: Any, where: str) -> str:
    """The text of a message's content: a string, or the text parts of a list. Raises `Refused` (400)."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"Invalid type for '{where}.content': expected a string or an array.", where, "invalid_type")
    return "\n".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))


def _texts(given: Any) -> tuple[str, ...]:
    """Strings, or arrays of token numbers, which are taken as words."""
    if isinstance(given, str) and given:
        return (given,)
    if isinstance(given, list) and 0 < len(given) <= 2_048:
        if all(isinstance(text, str) and text for text in given):
            return tuple(given)
        if all(isinstance(number, int) for number in given):
            return (" ".join(map(str, given)),)
        if all(isinstance(row, list) and row and all(isinstance(n, int) for n in row) for row in given):
            return tuple(" ".join(map(str, row)) for row in given)
    raise invalid(
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
    )


def _functions(tools: Any) -> tuple[Mapping[str, Any], ...]:
    """Chat wraps a function in "function", Responses does not."""
    found = []
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict) and tool.get("type") == "function":
            function = tool.get("function", tool)
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                found.append(function)
    return tuple(found)


def stops_at(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Stop texts: one, several or none."""
    given = body.get(key)
    texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return tuple(text for text in texts if isinstance(text, str) and text)


def map_at(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object at `key`; an empty one where there is none."""
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def flag_at(body: Mapping[str, Any], key: str) -> bool:
    """The truth at `key`. Raises `Refused` (400)."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"Invalid type for '{key}': expected a boolean.", key, "invalid_type")
    return bool(value)


def count_at(body: Mapping[str, Any], key: str, least: int, most: int = 10_000_000) -> int | None:
    """The whole number at `key`, within its bounds; None where there is none. Raises `Refused` (400)."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"Invalid type for '{key}': expected an integer.", key, "invalid_type")
    if not least <= value <= most:
        bound = f"below minimum value. Expected a value >= {least}" if value < least else f"above {most}"
        raise invalid(f"Invalid '{key}': integer {bound}, but got {value} instead.", key,
                      "integer_below_min_value" if value < least else "integer_above_max_value")  # fmt: skip
    return value
