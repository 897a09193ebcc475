"""The JSON of whole answers, shaped as the official SDK reads them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from headway.sim.ask import Ask
from headway.sim.content import Completion
from headway.types import Usage

__all__ = ["Meta", "chat_body", "chat_usage", "embeddings_body", "output_items", "response_object"]


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about itself."""

    id: str
    """16 hex digits; the answer's and its parts' ids are made of it."""
    model: str
    created_wall_s: int
    usage: Usage
    hour_tokens: int = 0
    """Of the tokens written to the prompt cache, those to be kept for an hour."""
    usage_told: bool = False
    """Whether the model's provider ends every chat stream with the usage, asked for or not (Mistral)."""
    lane: str = "online"
    """"online", "flex" or "batch"."""

    @property
    def tier(self) -> str:
        """The service tier as OpenAI's answers tell it."""
        return "flex" if self.lane == "flex" else "default"


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Chat's names for the counts."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_body(completions: list[Completion], meta: Meta) -> dict[str, Any]:
    """A `chat.completion`."""
    choices = []
    for index, done in enumerate(completions):
        message: dict[str, Any] = {"role": "assistant", "content": done.text, "refusal": None, "annotations": []}
        if done.tool:
            message["content"] = None
            message["tool_calls"] = [
                {
                    "id": f"call_{meta.id}{index}",
                    "type": "function",
                    "function": {"name": done.tool, "arguments": done.text},
                }
            ]
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": done.finish})
    return {
        "id": f"chatcmpl-{meta.id}",
        "object": "chat.completion",
        "created": meta.created_wall_s,
        "model": meta.model,
        "choices": choices,
        "usage": chat_usage(meta.usage),
        "service_tier": meta.tier,
        "system_fingerprint": "fp_simulator",
    }


def output_items(done: Completion, meta: Meta) -> list[dict[str, Any]]:
    """The `output` of a Response: an (empty) reasoning item where it thought, then a message or a function call."""
    status = "incomplete" if done.finish == "length" else "completed"
    items: list[dict[str, Any]] = []
    if done.reasoning_tokens:
        items.append({"id": f"rs_{meta.id}", "type": "reasoning", "summary": []})
    if done.tool:
        items.append(
            {
                "id": f"fc_{meta.id}",
                "type": "function_call",
                "status": status,
                "arguments": done.text,
                "call_id": f"call_{meta.id}",
                "name": done.tool,
            }
        )
    elif done.tokens or done.finish != "length":
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": done.text}
        items.append(
            {"id": f"msg_{meta.id}", "type": "message", "status": status, "content": [part], "role": "assistant"}
        )
    return items


def response_object(ask: Ask, meta: Meta, *, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    """A `response`; usage is in it once it has ended. What was asked for is echoed."""
    body = ask.body
    ended = status in ("completed", "incomplete")
    text = body.get("text") if isinstance(body.get("text"), dict) else None
    usage = meta.usage
    return {
        "id": f"resp_{meta.id}",
        "object": "response",
        "created_at": meta.created_wall_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.tokens_max,
        "max_tool_calls": None,
        "model": meta.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": ask.cache_key or None,
        "reasoning": {"effort": ask.effort or None, "summary": None},
        "safety_identifier": None,
        "service_tier": meta.tier,
        "store": body.get("store", True) is not False,
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(text or {})},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
        if ended
        else None,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def embeddings_body(vectors: list[bytes], ask: Ask, meta: Meta) -> dict[str, Any]:
    """A list of vectors, given as little-endian 32-bit floats; base64 where that was asked for."""
    from array import array

    as_text = ask.body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(raw).decode() if as_text else array("f", raw).tolist(),
        }
        for index, raw in enumerate(vectors)
    ]
    usage = {"prompt_tokens": meta.usage.input_tokens, "total_tokens": meta.usage.input_tokens}
    return {"object": "list", "data": data, "model": meta.model, "usage": usage}
