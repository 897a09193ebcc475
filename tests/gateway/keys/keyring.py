"""A file of keys with an engine behind it, in a few words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from headway import Engine
from headway.engine.inbound import inbound
from headway.gateway.keys import Keys, KeyStore
from headway.gateway.request import Request
from headway.policy.keys import Key
from headway.sim.loop import START_WALL_S
from headway.types import Call, Headers, Reply
from headway.wire import reader_for

PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"  # $0.15 and $0.60 for a million tokens
JSON = (("content-type", "application/json"),)


def body(model: str = MODEL, text: str = "Hello", **more: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


class Provider:
    """Answers after a while, always with the same number of tokens."""

    def __init__(self, *, output_tokens: int = 10, after_s: float = 0.0) -> None:
        self.usage = {"prompt_tokens": 10, "completion_tokens": output_tokens, "total_tokens": 10 + output_tokens}
        self.after_s = after_s
        self.times: list[float] = []
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.times.append(asyncio.get_running_loop().time())
        self.calls.append(call)
        call.trace.sent_at_s = self.times[-1]
        await asyncio.sleep(self.after_s)
        answer = {
            "id": "1", "object": "chat.completion", "model": call.view.model, "created": 1, "usage": self.usage,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        }  # fmt: skip
        return Reply(200, JSON, json.dumps(answer).encode())


def made(path: Path, name: str = "app", wall_s: Callable[[], float] = lambda: START_WALL_S, **rights: Any) -> str:
    """Make a key; its text."""
    with KeyStore(path, wall_s=wall_s) as store:
        return store.create(Key(id="", name=name, **rights))[1].reveal()


def bearing(text: str) -> Headers:
    return (("authorization", f"Bearer {text}"),)


@asynccontextmanager
async def served(
    path: Path,
    provider: Any,
    *,
    warn: Callable[[str], None] = print,
    late_s: list[float] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Keys, Any]]:
    """Keys, and what sends a request with one of them through an engine; calendar time runs ahead by `late_s[0]`."""
    wall_s = asyncio.get_running_loop().wall_s if late_s else None
    keys = await Keys.open(path, warn=warn, wall_s=(lambda: wall_s() + late_s[0]) if late_s else None)
    try:
        settings = {"log": "off", "log_level": "off", "limits": "off", "seed": 1, "api_key": "sk-own"} | settings
        async with Engine(handler=provider, **settings) as engine:

            async def send(
                text: str, data: bytes | None = None, *, path: str = PATH, deadline_s: float = inf, priority: int = 0
            ) -> Reply:
                request = Request("POST", path, bearing(text), data or body())
                keys.guard(request)
                reader = reader_for(path)
                call = inbound(
                    engine, method="POST", origin="https://api.openai.com", path=path,
                    headers=(("authorization", "Bearer sk-own"),), body=request.body, reader=reader,
                )  # fmt: skip
                deadline_at_s = min(call.deadline_at_s, asyncio.get_running_loop().time() + deadline_s)
                call = replace(call, deadline_at_s=deadline_at_s, priority=priority)
                return await engine.handle(keys.admit(request, call.view).applied(call))

            yield keys, send
    finally:
        await keys.aclose()
