"""The mistralai SDK, which takes a client under names of its own."""

from __future__ import annotations

import json
from typing import Any

from mistralai.client import Mistral
from mistralai.client.errors import MistralError

from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

TOOL: Any = {"type": "function", "function": {"name": TOOL_NAME, "parameters": TOOL_PARAMETERS}}


def asked(prompt: str, fault: str = "") -> dict[str, Any]:
    """The arguments of a chat completion."""
    headers = {"http_headers": {"x-sim-fault": fault}} if fault else {}
    return {"model": "mistral-small-latest", "messages": [{"role": "user", "content": prompt}], **headers}


class Sync(Door):
    """`Mistral(client=...)`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = Mistral(api_key=key, server_url=url, client=http)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.chat.complete(**asked(prompt, fault)).choices[0].message.content

    def stream(self, prompt: str, fault: str = "") -> Any:
        with self.client.chat.stream(**asked(prompt, fault)) as events:
            return "".join(event.data.choices[0].delta.content or "" for event in events)

    def tool(self, prompt: str) -> Any:
        done = self.client.chat.complete(**asked(prompt), tools=[TOOL], tool_choice="any")
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    def structured(self, prompt: str) -> Any:
        return self.client.chat.parse(Ticket, **asked(prompt)).choices[0].message.parsed

    def close(self) -> Any:
        self.client.__exit__(None, None, None)


class Async(Door):
    """`Mistral(async_client=...)`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = Mistral(api_key=key, server_url=url, async_client=http)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.chat.complete_async(**asked(prompt, fault))).choices[0].message.content

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with await self.client.chat.stream_async(**asked(prompt, fault)) as events:
            return "".join([event.data.choices[0].delta.content or "" async for event in events])

    async def tool(self, prompt: str) -> Any:
        done = await self.client.chat.complete_async(**asked(prompt), tools=[TOOL], tool_choice="any")
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    async def structured(self, prompt: str) -> Any:
        return (await self.client.chat.parse_async(Ticket, **asked(prompt))).choices[0].message.parsed

    async def close(self) -> Any:
        await self.client.__aexit__(None, None, None)


class TestMistral(Suite):
    """All of the suite, with both."""

    doors = (Sync, Async)
    error = MistralError
