"""A whole Chat Completions stream, merged into the ``chat.completion`` that it amounts to.

Source: OpenAI API reference, "The chat completion chunk object". Fields that are not known here are kept: the
last value that is not null stands, lists are joined.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.sse import datas_of

__all__ = ["merge"]

_TEXTS: Final = frozenset({"content", "reasoning", "reasoning_content", "refusal"})
_NOT_OF_THE_WHOLE: Final = frozenset({"choices", "object", "obfuscation"})
_NOT_OF_A_CHOICE: Final = frozenset({"index", "delta", "logprobs"})
_NOT_OF_A_CALL: Final = frozenset({"index", "function", "custom"})

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def merge(sse: bytes) -> bytes | None:
    """The ``chat.completion`` as JSON; None for a stream that broke off, holds an error or cannot be read."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    done = False
    try:
        for data in datas_of(sse):
            if data == b"[DONE]":
                done = True
            else:
                chunk = _decode(data)
                if chunk.get("error") is not None or chunk.get("object") == "error":
                    return None
                _keep(whole, chunk, _NOT_OF_THE_WHOLE)
                for choice in chunk.get("choices") or ():
                    _merge_choice(choices, choice)
        if not done or not choices:
            return None
        ordered = [_finished(choices[index]) for index in sorted(choices)]
        # id, created, model, usage and whatever else came at the top level follow
        return msgspec.json.encode({"object": "chat.completion", "choices": ordered, **whole})
    except (*UNREADABLE, AttributeError, TypeError, KeyError):
        return None  # JSON of a shape that is no stream of chunks


def _keep(into: dict[str, Any], fields: dict[str, Any], but: frozenset[str]) -> None:
    into.update({name: value for name, value in fields.items() if name not in but and value is not None})


def _merge_choice(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = choice.get("index")
    index = index if type(index) is int else 0
    into = choices.setdefault(index, {"index": index, "message": {}, "calls": {}, "logprobs": None})
    _keep(into, choice, _NOT_OF_A_CHOICE)
    for kind, logprobs in (choice.get("logprobs") or {}).items():
        into["logprobs"] = into["logprobs"] or {}
        into["logprobs"][kind] = _joined(into["logprobs"].get(kind), logprobs)
    message = into["message"]
    for name, value in (choice.get("delta") or {}).items():
        if name == "tool_calls":
            for call in value or ():
                _merge_call(into["calls"], call)
        elif name == "function_call":
            if value is not None:
                _merge_function(message.setdefault("function_call", {}), value)
        elif name in _TEXTS or type(value) is list:
            message[name] = _joined(message.get(name), value)
        elif value is not None:
            message[name] = value


def _merge_call(calls: dict[int, dict[str, Any]], call: dict[str, Any]) -> None:
    index = call.get("index")
    if type(index) is not int:  # left out by some compatible providers, which send whole calls
        index = len(calls) if call.get("id") or not calls else len(calls) - 1
    into = calls.setdefault(index, {})
    _keep(into, {name: value for name, value in call.items() if value != ""}, _NOT_OF_A_CALL)
    for kind in ("function", "custom"):
        if call.get(kind) is not None:
            _merge_function(into.setdefault(kind, {}), call[kind])


def _merge_function(into: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        if name in ("arguments", "input"):
            into[name] = _joined(into.get(name), value)
        elif value:
            into[name] = value  # the name comes whole, and from some providers with every piece


def _joined(so_far: Any, value: Any) -> Any:
    """`value` after what came before it; null adds nothing."""
    if so_far is None or value is None:
        return value if so_far is None else so_far
    return so_far + value


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    calls = choice.pop("calls")
    message = {"role": "assistant", "content": None, "refusal": None, **choice.pop("message")}
    if calls:
        message["tool_calls"] = [{"type": "function", **calls[index]} for index in sorted(calls)]
    return {"finish_reason": None, **choice, "message": message}
