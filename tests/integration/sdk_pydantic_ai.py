"""pydantic-ai: agents over `OpenAIProvider(http_client=...)`, which is always an async client."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.integration.suite import TOOL_NAME, Door, Suite, Ticket


class _Agent(Door):
    """What both doors share."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.http = http
        self.provider = OpenAIProvider(base_url=f"{url}/v1", api_key=key, http_client=http)
        self.model = OpenAIChatModel("gpt-4o", provider=self.provider)
        self.called: dict[str, Any] = {}
        self.agent = Agent(self.model)
        self.ticket = Agent(self.model, output_type=Ticket)
        self.weather = Agent(self.model, tools=[Tool(self._weather, name=TOOL_NAME, description="Weather of a city")])

    def _weather(self, city: str) -> str:
        self.called = {"city": city}
        return "Blue sky."

    def _settings(self, fault: str) -> Any:
        return {"extra_headers": {"x-sim-fault": fault}} if fault else None


class Async(_Agent):
    """`Agent.run` and `Agent.run_stream`."""

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.agent.run(prompt, model_settings=self._settings(fault))).output

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with self.agent.run_stream(prompt, model_settings=self._settings(fault)) as result:
            return "".join([text async for text in result.stream_text(delta=True)])

    async def tool(self, prompt: str) -> Any:
        await self.weather.run(f"get_weather, {prompt}", model_settings={"tool_choice": "required"})
        return self.called

    async def structured(self, prompt: str) -> Any:
        return (await self.ticket.run(prompt)).output

    async def close(self) -> Any:
        await self.provider.client.close()


class TestPydanticAI(Suite):
    """All of the suite."""

    doors = (Async,)
    error = ModelHTTPError
