"""Streams: the server-sent events of an answer, each with the number of tokens generated when it is due."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import Any, TypeAlias

import msgspec

from headway.sim.ask import Ask
from headway.sim.bodies import Meta, chat_usage, output_items, response_object
from headway.sim.content import Completion

__all__ = ["Event", "chat_events", "error_event", "response_events"]

Event: TypeAlias = tuple[int, bytes]
"""When it is due, in output tokens generated; and its bytes, blank line included."""


def chat_events(ask: Ask, completions: list[Completion], meta: Meta) -> Iterator[Event]:
    """Role, deltas, finish; then the usage chunk where it was asked for, and `[DONE]`.

    Mistral tells the usage with the finish, unasked.
    """
    head: dict[str, Any] = {
        "id": f"chatcmpl-{meta.id}",
        "object": "chat.completion.chunk",
        "created": meta.created_wall_s,
        "model": meta.model,
        "service_tier": meta.tier,
        "system_fingerprint": "fp_simulator",
    }
    tail: dict[str, Any] = {"usage": None} if ask.include_usage else {}
    streams = [_choice_events(head, tail, index, done, meta) for index, done in enumerate(completions)]
    last = max(done.output_tokens for done in completions)
    yield from merge(*streams, key=itemgetter(0))
    if ask.include_usage:
        yield last, _data({**head, "choices": [], "usage": chat_usage(meta.usage)})
    yield last, b"data: [DONE]\n\n"


def _choice_events(
    head: dict[str, Any], tail: dict[str, Any], index: int, done: Completion, meta: Meta
) -> Iterator[Event]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice], **tail})

    first: dict[str, Any] = {"role": "assistant", "content": None if done.tool else "", "refusal": None}
    yield 0, chunk(first)
    if done.tool:
        call = {
            "index": 0,
            "id": f"call_{meta.id}{index}",
            "type": "function",
            "function": {"name": done.tool, "arguments": ""},
        }
        yield done.reasoning_tokens, chunk({"tool_calls": [call]})
    for due, token in enumerate(done.tokens, done.reasoning_tokens + 1):
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": token}}]} if done.tool else {"content": token}
        yield due, chunk(delta)
    if meta.usage_told:
        tail = {"usage": chat_usage(meta.usage)}
    yield done.output_tokens, chunk({}, done.finish)


def response_events(ask: Ask, done: Completion, meta: Meta) -> Iterator[Event]:
    """Every event of a Responses stream, numbered, in the provider's order."""
    number = 0

    def event(kind: str, fields: dict[str, Any]) -> bytes:
        nonlocal number
        raw = msgspec.json.encode({"type": kind, "sequence_number": number, **fields})
        number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), raw)

    start = response_object(ask, meta, status="in_progress", output=[])
    yield 0, event("response.created", {"response": start})
    yield 0, event("response.in_progress", {"response": start})
    items = output_items(done, meta)
    last = done.output_tokens
    for place, item in enumerate(items):
        where: dict[str, Any] = {"output_index": place}
        opened = {**item, "status": "in_progress"}
        if item["type"] == "reasoning":
            yield 0, event("response.output_item.added", {**where, "item": item})
            yield done.reasoning_tokens, event("response.output_item.done", {**where, "item": item})
            continue
        part_of = {**where, "item_id": item["id"]}
        if item["type"] == "function_call":
            opened["arguments"] = ""
            yield done.reasoning_tokens, event("response.output_item.added", {**where, "item": opened})
            for due, token in enumerate(done.tokens, done.reasoning_tokens + 1):
                yield due, event("response.function_call_arguments.delta", {**part_of, "delta": token})
            whole = {**part_of, "name": done.tool, "arguments": done.text}
            yield last, event("response.function_call_arguments.done", whole)
        else:
            opened["content"] = []
            part_of["content_index"] = 0
            part = item["content"][0]
            yield done.reasoning_tokens, event("response.output_item.added", {**where, "item": opened})
            empty = {**part, "text": ""}
            yield done.reasoning_tokens, event("response.content_part.added", {**part_of, "part": empty})
            for due, token in enumerate(done.tokens, done.reasoning_tokens + 1):
                yield due, event("response.output_text.delta", {**part_of, "delta": token, "logprobs": []})
            yield last, event("response.output_text.done", {**part_of, "text": done.text, "logprobs": []})
            yield last, event("response.content_part.done", {**part_of, "part": part})
        yield last, event("response.output_item.done", {**where, "item": item})
    status = "incomplete" if done.finish == "length" else "completed"
    yield last, event(f"response.{status}", {"response": response_object(ask, meta, status=status, output=items)})


def error_event(ask: Ask) -> bytes:
    """An overload told inside a 200."""
    text = "The server is currently overloaded with other requests. Please try again later."
    if ask.api == "responses":
        raw = msgspec.json.encode(
            {"type": "error", "code": "server_is_overloaded", "message": text, "param": None, "sequence_number": 2}
        )
        return b"event: error\ndata: %s\n\n" % raw
    error = {"message": text, "type": "service_unavailable_error", "param": None, "code": "server_is_overloaded"}
    return _data({"error": error})


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)
