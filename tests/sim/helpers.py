"""What the simulator's tests share."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from headway.sim import Simulator
from headway.types import Call, Reply, RequestView, Trace

LABELS = ("billing", "technical_support", "shipping")


def call(path: str, body: dict[str, Any] | bytes, *, key: str = "sk-test", fault: str = "") -> Call:
    """A call as the engine would hand it over."""
    headers = (("authorization", f"Bearer {key}"), *((("x-sim-fault", fault),) if fault else ()))
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    trace = Trace("call", "c1", 0.0, 0.0)
    return Call(origin="https://api.openai.com", path=path, headers=headers, body=raw, view=RequestView(), trace=trace)


async def chat(simulator: Simulator, text: str, *, fault: str = "", key: str = "sk-test", **fields: Any) -> Reply:
    """A chat completion by gpt-4o, read to the end."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}
    reply = await simulator.handler(call("/v1/chat/completions", body, fault=fault, key=key))
    await reply.read()
    return reply


async def respond(simulator: Simulator, prompt: str, *, fault: str = "", **fields: Any) -> Reply:
    """A response by gpt-5.4-mini, read to the end."""
    body = {"model": "gpt-5.4-mini", "input": prompt, **fields}
    reply = await simulator.handler(call("/v1/responses", body, fault=fault))
    await reply.read()
    return reply


def json(reply: Reply) -> Any:
    """The body of a reply that was read."""
    assert reply.body is not None
    return msgspec.json.decode(reply.body)


def chat_text(reply: Reply) -> str:
    """The first choice's text."""
    return json(reply)["choices"][0]["message"]["content"]


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()
