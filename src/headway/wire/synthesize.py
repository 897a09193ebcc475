"""A stream made of a whole answer, for callers who stream what was stored as JSON.

Every event has the shape that the provider's own would have, in its order; only the cut differs: a text is one delta.
Joined and aggregated, the events are the answer again. Source: OpenAI API reference, "The chat completion chunk object"
and "Streaming events" of the Responses API.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.wire.decoding import UNREADABLE

__all__ = ["chat_events", "responses_events"]

_DONE: Final = b"data: [DONE]\n\n"
_NOT_OF_A_CHUNK: Final = frozenset({"object", "choices", "usage"})
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode


def chat_events(body: bytes, *, usage: bool) -> list[bytes] | None:
    """The chunks of a ``chat.completion``; None for one that cannot be streamed (audio) or read."""
    try:
        whole = _decode(body)
        base = {name: value for name, value in whole.items() if name not in _NOT_OF_A_CHUNK}
        base = {"id": base.pop("id", ""), "object": "chat.completion.chunk", **base}
        chunks: list[dict[str, Any]] = []
        for choice in whole["choices"]:
            deltas = _deltas(choice["message"])
            if deltas is None:
                return None
            own = {"index": choice.get("index", 0)}
            begun = {"logprobs": None, "finish_reason": None}
            chunks += [base | {"choices": [own | {"delta": delta} | begun]} for delta in deltas]
            chunks[-1]["choices"][0]["logprobs"] = choice.get("logprobs")
            rest = {name: value for name, value in choice.items() if name not in ("index", "message", "logprobs")}
            chunks.append(base | {"choices": [own | {"delta": {}, "logprobs": None} | rest]})
        if usage and whole.get("usage") is not None:
            chunks.append(base | {"choices": [], "usage": whole["usage"]})
        return [*(b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks), _DONE] if chunks else None
    except (*UNREADABLE, AttributeError, KeyError, TypeError):
        return None


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The role first, then each field by itself: thinking before text, tool calls with their place."""
    if message.get("audio") is not None:
        return None
    fields = {name: value for name, value in message.items() if value is not None and value != []}
    deltas: list[dict[str, Any]] = [{"role": fields.pop("role", "assistant"), "content": ""}]
    calls = fields.pop("tool_calls", [])
    ordered = sorted(fields, key=lambda name: not name.startswith("reasoning"))  # stable: else as they stood
    deltas += [{name: fields[name]} for name in ordered if fields[name] != ""]
    deltas += [{"tool_calls": [{"index": index, **call}]} for index, call in enumerate(calls)]
    if "content" not in fields:
        deltas[0] = {"role": deltas[0]["role"], "content": None}
    return deltas


class _Events:
    """Numbers events as they are made."""

    def __init__(self) -> None:
        self.made: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": len(self.made), **fields}
        self.made.append(f"event: {kind}\n".encode() + b"data: " + _encode(event) + b"\n\n")


def responses_events(body: bytes) -> list[bytes] | None:
    """The events of a completed response; None for anything else."""
    try:
        whole = _decode(body)
        if whole.get("status") != "completed":
            return None
        # An aggregate is what `response.completed` holds: the stored bytes, in one line as an event's data must be.
        one_line = msgspec.json.format(body, indent=-1) if b"\n" in body or b"\r" in body else body
        raw, events = msgspec.Raw(one_line), _Events()
        begun = {name: value for name, value in whole.items() if name != "completed_at"}
        begun |= {"status": "in_progress", "output": [], "usage": None}
        events.add("response.created", response=begun)
        events.add("response.in_progress", response=begun)
        for index, item in enumerate(whole["output"]):
            _item_events(events, index, item)
        events.add("response.completed", response=raw)
        return events.made
    except (*UNREADABLE, AttributeError, KeyError, TypeError):
        return None


_EMPTIED: Final[dict[str, dict[str, Any]]] = {
    "message": {"content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "reasoning": {"summary": []},
}
_BY_ARGUMENT: Final = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}


def _item_events(events: _Events, index: int, item: dict[str, Any]) -> None:
    """An item is added empty, filled, and done; one of an unknown kind is added as it is."""
    kind, place = item["type"], {"item_id": item.get("id") or "", "output_index": index}
    begun = item | _EMPTIED.get(kind, {}) if kind in _EMPTIED else item
    if "status" in begun:
        begun = begun | {"status": "in_progress"}
    events.add("response.output_item.added", output_index=index, item=begun)
    if kind == "message":
        for at, part in enumerate(item["content"]):
            _part_events(events, {**place, "content_index": at}, part)
    elif kind == "reasoning":
        for at, part in enumerate(item.get("summary") or ()):
            where = {**place, "summary_index": at}
            events.add("response.reasoning_summary_part.added", **where, part=part | {"text": ""})
            events.add("response.reasoning_summary_text.delta", **where, delta=part["text"])
            events.add("response.reasoning_summary_text.done", **where, text=part["text"])
            events.add("response.reasoning_summary_part.done", **where, part=part)
    elif kind in _BY_ARGUMENT:
        name, field = _BY_ARGUMENT[kind]
        events.add(f"{name}.delta", **place, delta=item[field])
        named = {"name": item.get("name") or ""} if kind == "function_call" else {}
        events.add(f"{name}.done", **place, **named, **{field: item[field]})
    events.add("response.output_item.done", output_index=index, item=item)


def _part_events(events: _Events, where: dict[str, Any], part: dict[str, Any]) -> None:
    field = "refusal" if part["type"] == "refusal" else "text"
    name = f"response.{'refusal' if field == 'refusal' else 'output_text'}"
    text, logprobs = part[field], {"logprobs": part.get("logprobs") or []} if field == "text" else {}
    empty = part | {field: ""} | ({"annotations": []} if "annotations" in part else {})
    events.add("response.content_part.added", **where, part=empty)
    events.add(f"{name}.delta", **where, delta=text, **logprobs)
    events.add(f"{name}.done", **where, **{field: text}, **logprobs)
    for at, annotation in enumerate(part.get("annotations") or ()):
        events.add("response.output_text.annotation.added", **where, annotation_index=at, annotation=annotation)
    events.add("response.content_part.done", **where, part=part)
