"""The openai SDK: Chat, Responses and embeddings."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

import headway
from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

MODEL = "gpt-4o"
TOOL: Any = {"type": "function", "function": {"name": TOOL_NAME, "parameters": TOOL_PARAMETERS}}


def chat(prompt: str, fault: str = "") -> dict[str, Any]:
    """The arguments of a chat completion."""
    headers = {"extra_headers": {"x-sim-fault": fault}} if fault else {}
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **headers}


class ChatSync(Door):
    """`OpenAI(http_client=...)`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.chat.completions.create(**chat(prompt, fault)).choices[0].message.content

    def stream(self, prompt: str, fault: str = "") -> Any:
        with self.client.chat.completions.create(**chat(prompt, fault), stream=True) as chunks:
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def tool(self, prompt: str) -> Any:
        done = self.client.chat.completions.create(**chat(prompt), tools=[TOOL], tool_choice="required")
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    def structured(self, prompt: str) -> Any:
        return self.client.chat.completions.parse(**chat(prompt), response_format=Ticket).choices[0].message.parsed

    def close(self) -> Any:
        self.client.close()


class ChatAsync(Door):
    """`AsyncOpenAI(http_client=...)`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.chat.completions.create(**chat(prompt, fault))).choices[0].message.content

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with await self.client.chat.completions.create(**chat(prompt, fault), stream=True) as chunks:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async def tool(self, prompt: str) -> Any:
        async with self.client.chat.completions.stream(**chat(prompt), tools=[TOOL], tool_choice="required") as stream:
            done = await stream.get_final_completion()
        return json.loads(done.choices[0].message.tool_calls[0].function.arguments)

    async def structured(self, prompt: str) -> Any:
        done = await self.client.chat.completions.parse(**chat(prompt), response_format=Ticket)
        return done.choices[0].message.parsed

    def close(self) -> Any:
        return self.client.close()


class AzureSync(ChatSync):
    """`AzureOpenAI(http_client=...)`: the model in the path, the key in a header of its own."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = openai.AzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21", http_client=http)


class Httpx(ChatAsync):
    """openai 3 takes a client of the older family, too."""

    family = "httpx"


def response(prompt: str, fault: str = "") -> dict[str, Any]:
    """The arguments of a response."""
    headers = {"extra_headers": {"x-sim-fault": fault}} if fault else {}
    return {"model": MODEL, "input": prompt, "store": False, **headers}


class Responses(ChatAsync):
    """The Responses API."""

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.responses.create(**response(prompt, fault))).output_text

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with await self.client.responses.create(**response(prompt, fault), stream=True) as events:
            return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])

    async def tool(self, prompt: str) -> Any:
        tool: Any = {"type": "function", "name": TOOL_NAME, "parameters": TOOL_PARAMETERS, "strict": False}
        done = await self.client.responses.create(**response(prompt), tools=[tool], tool_choice="required")
        return json.loads(done.output[0].arguments)

    async def structured(self, prompt: str) -> Any:
        return (await self.client.responses.parse(**response(prompt), text_format=Ticket)).output_parsed


class TestOpenAI(Suite):
    """All of the suite, with each."""

    doors = (ChatSync, ChatAsync, Responses, AzureSync, Httpx)
    error = openai.InternalServerError

    def test_embeddings_are_cached(self, simulator: str, key: str) -> None:
        """The second call for the same texts is a hit; what happened is in the headers."""
        asked: dict[str, Any] = {"model": "text-embedding-3-small", "input": ["my card was stolen", key]}
        with openai.OpenAI(
            base_url=f"{simulator}/v1", api_key=key, http_client=headway.client(cache=True, log="off")
        ) as client:
            first = client.embeddings.with_raw_response.create(**asked)
            again = client.embeddings.with_raw_response.create(**asked)
            assert again.parse().data[0].embedding == first.parse().data[0].embedding
        assert len(self.attempts(simulator, key)) == 1
        assert "hit" in again.headers["cache-status"]
        assert "hit" not in first.headers.get("cache-status", "")

    def test_a_dropped_connection_is_not_tried_again_by_the_sdk(self, simulator: str, key: str, prompt: str) -> None:
        """No answer at all: the SDK's own type, and its own tries end without an attempt."""
        with (
            openai.OpenAI(
                base_url=f"{simulator}/v1", api_key=key, http_client=headway.client(attempts_max=2, log="off")
            ) as client,
            pytest.raises(openai.APIConnectionError),
        ):
            client.chat.completions.create(**chat(prompt, "reset"))
        assert len(self.attempts(simulator, key)) == 2
