"""Gemini's `generateContent`, as little of it as its SDK needs: text, streams, function calls and JSON schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from headway.sim.account import Account
from headway.sim.ask import Ask, Turn, count_at, map_at, object_of, stops_at
from headway.sim.bodies import Meta
from headway.sim.content import Completion
from headway.sim.refusals import Refused, invalid
from headway.types import Headers

__all__ = ["content_body", "content_error", "content_events", "content_headers", "content_overload", "read_contents"]

_STATUSES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_MODES: Final = {"ANY": "required", "NONE": "none"}
_EFFORTS: Final = ((1, ""), (2_048, "low"), (8_192, "medium"))
"""Thinking budgets below which so much is thought; 0 switches it off."""


def read_contents(raw: bytes, deployment: str) -> Ask:
    """Read a body. Raises `Refused` (400) naming the parameter.

    Args:
        raw: The body.
        deployment: The path's model and method, "gemini-2.5-flash:streamGenerateContent".
    """
    body = _camel(object_of(raw))
    model, _, method = deployment.partition(":")
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified", "contents")
    system = _said(body.get("systemInstruction"))
    config = _camel(map_at(body, "generationConfig"))
    calling = _camel(map_at(_camel(map_at(body, "toolConfig")), "functionCallingConfig"))
    allowed = _list(calling, "allowedFunctionNames")
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return Ask(
        api="contents",
        model=model,
        body=body,
        turns=(*((Turn("system", system),) if system else ()), *map(_turn, contents)),
        stream=method == "streamGenerateContent",
        include_usage=True,
        tokens_max=count_at(config, "maxOutputTokens", 1),
        stop=stops_at(config, "stopSequences"),
        answers=count_at(config, "candidateCount", 1, 8) or 1,
        schema=_plain(schema) if isinstance(schema, dict) else None,
        json_only=config.get("responseMimeType") == "application/json",
        tools=tuple(_functions(body)),
        tool_choice=str(allowed[0]) if allowed else _MODES.get(str(calling.get("mode", "AUTO")), "auto"),
        effort=_effort(_camel(map_at(config, "thinkingConfig"))),
    )


def _camel(message: Any) -> dict[str, Any]:
    """The fields of one message, all spelt alike: the provider reads `thinkingBudget` and `thinking_budget`."""
    found = {}
    for key, value in message.items() if isinstance(message, dict) else ():
        first, *rest = key.split("_")
        found[first + "".join(map(str.title, rest))] = value
    return found


def _turn(content: Any) -> Turn:
    if not isinstance(content, dict) or content.get("role", "user") not in ("user", "model", "function"):
        raise invalid("Please use a valid role: user, model.", "contents")
    answered = any("functionResponse" in _camel(part) for part in _list(content, "parts"))
    role = "tool" if answered else "assistant" if content.get("role") == "model" else "user"
    return Turn(role, _said(content))


def _said(content: Any) -> str:
    """The text of a content's parts; a function's response is the JSON it is."""
    found = []
    for part in map(_camel, _list(content, "parts")):
        if isinstance(part.get("text"), str):
            found.append(part["text"])
        elif isinstance(response := part.get("functionResponse"), dict):
            found.append(msgspec.json.encode(response.get("response")).decode())
    return "\n".join(found)


def _list(holder: Any, key: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def _functions(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for tool in _list(body, "tools"):
        for function in map(_camel, _list(_camel(tool), "functionDeclarations")):
            if isinstance(function.get("name"), str):
                schema = function.get("parametersJsonSchema") or map_at(function, "parameters")
                described = str(function.get("description") or "")
                yield {"name": function["name"], "description": described, "parameters": _plain(schema)}


def _plain(schema: Any) -> Any:
    """A JSON schema out of the provider's own kind, which writes types in capitals."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    found = {key: _plain(value) for key, value in schema.items()}
    return {**found, "type": kind.lower()} if isinstance(kind, str) else found


def _effort(thinking: dict[str, Any]) -> str:
    if level := thinking.get("thinkingLevel"):
        return str(level).lower()
    budget = thinking.get("thinkingBudget")
    if not isinstance(budget, int):
        return ""
    return next((effort for least, effort in _EFFORTS if 0 <= budget < least), "high")


def content_body(ask: Ask, completions: list[Completion], meta: Meta) -> dict[str, Any]:
    """A `GenerateContentResponse`."""
    candidates = []
    for index, done in enumerate(completions):
        called, finish = _finish(done)
        parts = [called] if called else [{"text": done.text}] if done.tokens else []
        candidates.append(_candidate(parts, index, finish))
    return _response(candidates, meta, meta.usage.output_tokens, meta.usage.reasoning_tokens)


def content_events(ask: Ask, completions: list[Completion], meta: Meta) -> Iterator[tuple[int, bytes]]:
    """A response for every token, the last with why it ended; calls come whole. One candidate is streamed."""
    done = completions[0]
    thought, last = done.reasoning_tokens, done.output_tokens
    called, finish = _finish(done)
    if called is None:
        for due, token in enumerate(done.tokens, thought + 1):
            end = finish if due == last else None
            yield due, _event(_response([_candidate([{"text": token}], 0, end)], meta, due, thought))
    if called is not None or not done.tokens:
        yield last, _event(_response([_candidate([called] if called else [], 0, finish)], meta, last, thought))


def content_overload(ask: Ask) -> bytes:
    """An overload told inside a 200; the same for every `ask`."""
    error = {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}
    return _event({"error": error})


def content_error(refused: Refused, request: str) -> tuple[int, bytes]:
    """Status and body of an error answer; a wait is told in its details, not in a header."""
    status = _STATUSES.get(refused.status, "INTERNAL")
    error: dict[str, Any] = {"code": refused.status, "message": refused.error["message"], "status": status}
    if wait_ms := dict(refused.headers).get("retry-after-ms"):
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{int(wait_ms) / 1_000:g}s"}
        error["details"] = [delay]
    return refused.status, msgspec.json.encode({"error": error})


def content_headers(account: Account, processing_ms: str) -> Headers:
    """What an answer carries: nothing about limits."""
    return (("server-timing", f"gfet4t7; dur={processing_ms}"),) if processing_ms else ()


def _finish(done: Completion) -> tuple[dict[str, Any] | None, str]:
    """The function call, if there is a whole one, and why it ended."""
    finish = "MAX_TOKENS" if done.finish == "length" else "STOP"
    if not done.tool:
        return None, finish
    try:
        return {"functionCall": {"name": done.tool, "args": msgspec.json.decode(done.text)}}, finish
    except msgspec.DecodeError:
        return {"text": ""}, "MALFORMED_FUNCTION_CALL" if finish == "STOP" else finish


def _candidate(parts: list[dict[str, Any]], index: int, finish: str | None) -> dict[str, Any]:
    ended = {} if finish is None else {"finishReason": finish}
    return {"content": {"parts": parts, "role": "model"}, **ended, "index": index}


def _response(candidates: list[dict[str, Any]], meta: Meta, output_tokens: int, thought: int) -> dict[str, Any]:
    """Thoughts are counted apart from what the candidates say; cached tokens are part of the prompt's."""
    usage = meta.usage
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, output_tokens - thought),
        "totalTokenCount": usage.input_tokens + output_tokens,
        **({"cachedContentTokenCount": usage.cached_tokens} if usage.cached_tokens else {}),
        **({"thoughtsTokenCount": thought} if thought else {}),
    }
    return {"candidates": candidates, "usageMetadata": counts, "modelVersion": meta.model, "responseId": meta.id}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %s\r\n\r\n" % msgspec.json.encode(value)
