"""The ways into an engine: `Engine.send`, a call made elsewhere, and the official SDKs over the transport."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import anthropic
import httpx2
import msgspec
import openai

import headway
from headway.engine.inbound import Control, inbound
from headway.errors import HeadwayError
from headway.types import Reply, Tags, Timeouts
from headway.wire import reader_for

from .plans import CLIENT_KEY, HOST, Plan

__all__ = ["Got", "Sdks", "ask", "ask_sdk"]

TERMINAL = (
    b"data: [DONE]",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: message_stop",
)
THEIRS = (openai.APIError, anthropic.APIError, httpx2.TransportError)
"""What an SDK may raise; the last once its stream has begun."""
GARBLED = (json.JSONDecodeError, openai.APIResponseValidationError, anthropic.APIResponseValidationError)
"""What it raises where a stream holds what is no JSON, which the engine hands on as it came."""

Say = Callable[[str, bytes], None]


@dataclass
class Got:
    """What one caller saw."""

    plan: Plan
    started_s: float = 0.0
    ended_s: float | None = None
    ends: list[str] = field(default_factory=list)
    """How it ended; one entry, if all is well: "done", "left", an error's code, or for an SDK "event" (an error
    inside a stream) or "garbled"."""
    status: int = 0
    request_id: str = ""
    cache_status: str = ""
    body: bytearray = field(default_factory=bytearray)
    text: str | None = None
    """What an SDK made of a stream, whose bytes it does not show."""
    wrong: list[str] = field(default_factory=list)
    """What no door should do."""


async def ask(engine: headway.Engine, got: Got, say: Say) -> None:
    """Ask as planned and read the answer, through `Engine.send` or `Engine.handle`. Raises what they raise."""
    plan = got.plan
    reply = await (_send(engine, plan) if plan.door == "send" else _handle(engine, plan))
    got.status = reply.status
    got.request_id = reply.header("x-request-id") or reply.header("request-id")
    got.cache_status = reply.header("cache-status")
    async with reply:
        count = 0
        if plan.leave_chunks == 0:
            got.ends.append("left")
            return
        async for chunk in reply:
            got.body += chunk
            count += 1
            say("reads", chunk)
            if count == plan.leave_chunks:
                got.ends.append("left")
                return
            if plan.stream and plan.leave_at_end and _is_whole(got.body):
                return
            if plan.dawdle_s:
                await asyncio.sleep(plan.dawdle_s)


def _tags(plan: Plan) -> Tags:
    return Tags(step=str(plan.number), run=str(plan.group))


async def _send(engine: headway.Engine, plan: Plan) -> Reply:
    return await engine.send(
        plan.path, plan.body, cache=plan.cache, deadline_s=plan.deadline_s, priority=plan.priority,
        tags=_tags(plan), namespace=plan.namespace,
    )  # fmt: skip


async def _handle(engine: headway.Engine, plan: Plan) -> Reply:
    messages = plan.path.endswith("/messages")
    credential = ("x-api-key", CLIENT_KEY) if messages else ("authorization", f"Bearer {CLIENT_KEY}")
    call = inbound(
        engine,
        method="POST",
        origin=f"http://{HOST}",
        path=plan.path,
        headers=(("content-type", "application/json"), credential),
        body=msgspec.json.encode(plan.body),
        reader=reader_for(plan.path),
        control=Control(
            cache=plan.cache,  # type: ignore[arg-type]  # one of its words
            priority=plan.priority,
            deadline_s=inf if plan.deadline_s is None else plan.deadline_s,
            sample=plan.sample,
            namespace=plan.namespace,
            tags=_tags(plan),
        ),
        timeouts=None if plan.timeouts is None else Timeouts(**plan.timeouts),
    )
    return await engine.handle(call)


def _is_whole(body: bytearray) -> bool:
    """Whether a stream's terminal event is in, blank line and all."""
    return body.endswith(b"\n\n") and any(mark in body for mark in TERMINAL)


class Sdks:
    """The SDKs' own clients, unmodified, over one transport whose engine is found by its settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._http = headway.async_client(**settings)
        self._openai = openai.AsyncOpenAI(
            api_key=CLIENT_KEY, base_url=f"http://{HOST}/v1", http_client=self._http, max_retries=0
        )
        self._anthropic = anthropic.AsyncAnthropic(
            api_key=CLIENT_KEY, base_url=f"http://{HOST}", http_client=self._http, max_retries=0
        )
        self._known: dict[tuple[bool, int], Any] = {}

    def client(self, plan: Plan) -> Any:
        """The client of the plan's format that retries as planned."""
        which = plan.path.endswith("/messages"), plan.retries
        if which not in self._known:
            first: Any = self._anthropic if which[0] else self._openai
            self._known[which] = first.with_options(max_retries=plan.retries)
        return self._known[which]

    async def aclose(self) -> None:
        """Close the client that they share."""
        await self._http.aclose()


async def ask_sdk(sdks: Sdks, got: Got, say: Say) -> None:
    """Ask as planned through an SDK; its errors end the caller as the engine's own would."""
    try:
        await _through(sdks.client(got.plan), got, say)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        if got.text is not None:
            got.ends.append("event")
            return
        response = error.response
        got.status, got.body[:] = response.status_code, response.content
        got.request_id = response.headers.get("x-request-id") or response.headers.get("request-id") or ""
        said = error.body if isinstance(error.body, dict) else {}
        ours = said.get("error", said)
        if isinstance(ours, dict) and ours.get("type") == "headway_error":
            got.ends.append(ours["code"])
            got.body.clear()
    except GARBLED:
        got.ends.append("garbled")
    except THEIRS as error:
        got.ends.append(_end_of(error, got))


def _end_of(error: Exception, got: Got) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HeadwayError):
        cause = cause.__cause__
    if cause is None:
        if got.text is None:
            got.wrong.append(f"the SDK raised {error!r}, which is no failure of the engine's")
        return "event"
    late = isinstance(error, openai.APITimeoutError | anthropic.APITimeoutError | httpx2.TimeoutException)
    if cause.code in ("deadline", "provider_timeout") and not late:
        got.wrong.append(f"the SDK raised {error!r} for {cause.code}")
    if got.text is None and isinstance(error, httpx2.TransportError):
        got.wrong.append(f"the SDK raised {error!r}, which is not of its own types")
    return cause.code


async def _through(client: Any, got: Got, say: Say) -> None:
    plan = got.plan
    timeouts = plan.timeouts
    extra: dict[str, Any] = {"extra_headers": _control(plan)}
    if timeouts is not None:
        extra["timeout"] = httpx2.Timeout(timeouts["idle_s"], connect=timeouts["connect_s"])
    resource = _resource(client, plan.path)
    if not plan.stream:
        raw = await resource.with_raw_response.create(**plan.body, **extra)
        got.status, got.body[:] = raw.status_code, raw.http_response.content
        _note_headers(got, raw.headers)
        parsed = raw.parse()
        if inspect.isawaitable(parsed):
            await parsed
        return
    stream = await resource.create(**plan.body, **extra)
    got.status, got.text = stream.response.status_code, ""
    _note_headers(got, stream.response.headers)
    count = 0
    async with stream:
        if plan.leave_chunks == 0:
            got.ends.append("left")
            return
        async for event in stream:
            delta = _delta(event)
            got.text += delta
            count += 1
            say("reads", delta.encode())
            if count == plan.leave_chunks:
                got.ends.append("left")
                return
            if plan.dawdle_s:
                await asyncio.sleep(plan.dawdle_s)


def _resource(client: Any, path: str) -> Any:
    name = path.removeprefix("/v1/")
    return client.chat.completions if name == "chat/completions" else getattr(client, name)


def _control(plan: Plan) -> dict[str, str]:
    found = {"headway-tags": f"step={plan.number},run={plan.group}"}
    said = {
        "cache": plan.cache,
        "priority": str(plan.priority) if plan.priority else None,
        "deadline": None if plan.deadline_s is None else repr(plan.deadline_s),
        "sample": plan.sample or None,
        "namespace": plan.namespace or None,
    }
    return found | {f"headway-{name}": value for name, value in said.items() if value is not None}


def _note_headers(got: Got, headers: Any) -> None:
    got.request_id = headers.get("x-request-id") or headers.get("request-id") or ""
    got.cache_status = headers.get("cache-status") or ""


def _delta(event: Any) -> str:
    """What an event of a typed stream adds to the text."""
    if getattr(event, "choices", None):
        return event.choices[0].delta.content or ""
    kind = getattr(event, "type", "")
    if kind == "response.output_text.delta":
        return str(event.delta)
    if kind == "content_block_delta" and event.delta.type == "text_delta":
        return str(event.delta.text)
    return ""
