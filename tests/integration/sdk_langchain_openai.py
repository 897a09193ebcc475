"""langchain-openai: `ChatOpenAI` takes a sync and an async client."""

from __future__ import annotations

from typing import Any

import openai
from langchain_openai import ChatOpenAI

from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

TOOL: Any = {"type": "function", "function": {"name": TOOL_NAME, "parameters": TOOL_PARAMETERS}}


def headers(fault: str) -> dict[str, Any]:
    """The argument that asks the simulator for a fault."""
    return {"extra_headers": {"x-sim-fault": fault}} if fault else {}


class Sync(Door):
    """`ChatOpenAI(http_client=...)`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.model = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", api_key=key, http_client=http)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.model.invoke(prompt, **headers(fault)).content

    def stream(self, prompt: str, fault: str = "") -> Any:
        return "".join(chunk.content for chunk in self.model.stream(prompt, **headers(fault)))

    def tool(self, prompt: str) -> Any:
        return self.model.bind_tools([TOOL], tool_choice="required").invoke(prompt).tool_calls[0]["args"]

    def structured(self, prompt: str) -> Any:
        return self.model.with_structured_output(Ticket).invoke(prompt)

    def close(self) -> Any:
        self.model.root_client.close()


class Async(Door):
    """`ChatOpenAI(http_async_client=...)`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.model = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", api_key=key, http_async_client=http)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.model.ainvoke(prompt, **headers(fault))).content

    async def stream(self, prompt: str, fault: str = "") -> Any:
        return "".join([chunk.content async for chunk in self.model.astream(prompt, **headers(fault))])

    async def tool(self, prompt: str) -> Any:
        return (await self.model.bind_tools([TOOL], tool_choice="required").ainvoke(prompt)).tool_calls[0]["args"]

    async def structured(self, prompt: str) -> Any:
        return await self.model.with_structured_output(Ticket).ainvoke(prompt)

    async def close(self) -> Any:
        self.model.root_client.close()
        await self.model.root_async_client.close()


class TestLangChain(Suite):
    """All of the suite, with both."""

    doors = (Sync, Async)
    error = openai.InternalServerError
