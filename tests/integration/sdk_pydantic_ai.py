"""pydantic-ai: agents over `OpenAIProvider(http_client=...)`, which is always an async client."""

from __future__ import annotations

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
        self.called = {"city": city.rpartition(" ")[2]}  # nobody demands the call: the simulator quotes the sentence
        return "Blue sky."

    async def close(self) -> Any:
        await self.provider.client.close()

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
        await self.weather.run(f"Weather in the city {prompt}")
        return self.called

    async def structured(self, prompt: str) -> Any:
        return (await self.ticket.run(prompt)).output


class Sync(_Agent):
    """`Agent.run_sync` and `Agent.run_stream_sync`."""

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.agent.run_sync(prompt, model_settings=self._settings(fault)).output

    def stream(self, prompt: str, fault: str = "") -> Any:
        result = self.agent.run_stream_sync(prompt, model_settings=self._settings(fault))
        return "".join(result.stream_text(delta=True))

    def tool(self, prompt: str) -> Any:
        self.weather.run_sync(f"Weather in the city {prompt}")
        return self.called

    def structured(self, prompt: str) -> Any:
        return self.ticket.run_sync(prompt).output


class TestPydanticAI(Suite):
    """All of the suite."""

    doors = (Sync, Async)
    error = ModelHTTPError
    tool_requests = 2
