"""The groq SDK, which still runs on httpx."""

from __future__ import annotations

import json
from typing import Any

import groq

from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

TOOL: Any = {"type": "function", "function": {"name": TOOL_NAME, "parameters": TOOL_PARAMETERS}}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": Ticket.model_json_schema()}}


def asked(prompt: str, fault: str = "") -> dict[str, Any]:
    """The arguments of a chat completion."""
    headers = {"extra_headers": {"x-sim-fault": fault}} if fault else {}
    return {"model": "llama-3.3-70b-versatile", "messages": [{"role": "user", "content": prompt}], **headers}


class Sync(Door):
    """`Groq(http_client=...)`."""

    family = "httpx"

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = groq.Groq(base_url=url, api_key=key, http_client=http)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.chat.completions.create(**asked(prompt, fault)).choices[0].message.content

    def stream(self, prompt: str, fault: str = "") -> Any:
        with self.client.chat.completions.create(**asked(prompt, fault), stream=True) as chunks:
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def tool(self, prompt: str) -> Any:
        done = self.client.chat.completions.create(**asked(prompt), tools=[TOOL], tool_choice="required")
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    def structured(self, prompt: str) -> Any:
        done = self.client.chat.completions.create(**asked(prompt), response_format=FORM)
        return Ticket.model_validate_json(done.choices[0].message.content or "")

    def close(self) -> Any:
        self.client.close()


class Async(Door):
    """`AsyncGroq(http_client=...)`."""

    asynchronous = True
    family = "httpx"

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = groq.AsyncGroq(base_url=url, api_key=key, http_client=http)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.chat.completions.create(**asked(prompt, fault))).choices[0].message.content

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with await self.client.chat.completions.create(**asked(prompt, fault), stream=True) as chunks:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async def tool(self, prompt: str) -> Any:
        done = await self.client.chat.completions.create(**asked(prompt), tools=[TOOL], tool_choice="required")
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    async def structured(self, prompt: str) -> Any:
        done = await self.client.chat.completions.create(**asked(prompt), response_format=FORM)
        return Ticket.model_validate_json(done.choices[0].message.content or "")

    def close(self) -> Any:
        return self.client.close()


class TestGroq(Suite):
    """All of the suite, with both."""

    doors = (Sync, Async)
    error = groq.InternalServerError
