"""The anthropic SDK."""

from __future__ import annotations

from typing import Any

import anthropic

from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

TOOL: Any = {"name": TOOL_NAME, "input_schema": TOOL_PARAMETERS}
FORCED: Any = {"type": "tool", "name": TOOL_NAME}


def asked(prompt: str, fault: str = "") -> dict[str, Any]:
    """The arguments of a message."""
    headers = {"extra_headers": {"x-sim-fault": fault}} if fault else {}
    body = {"model": "claude-sonnet-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": prompt}]}
    return {**body, **headers}


class Sync(Door):
    """`Anthropic(http_client=...)`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key=key, http_client=http)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.messages.create(**asked(prompt, fault)).content[0].text

    def stream(self, prompt: str, fault: str = "") -> Any:
        with self.client.messages.stream(**asked(prompt, fault)) as stream:
            return "".join(stream.text_stream)

    def tool(self, prompt: str) -> Any:
        return self.client.messages.create(**asked(prompt), tools=[TOOL], tool_choice=FORCED).content[0].input

    def structured(self, prompt: str) -> Any:
        return self.client.messages.parse(**asked(prompt), output_format=Ticket).parsed_output

    def close(self) -> Any:
        self.client.close()


class Async(Door):
    """`AsyncAnthropic(http_client=...)`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key=key, http_client=http)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.messages.create(**asked(prompt, fault))).content[0].text

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with self.client.messages.stream(**asked(prompt, fault)) as stream:
            return "".join([text async for text in stream.text_stream])

    async def tool(self, prompt: str) -> Any:
        async with self.client.messages.stream(**asked(prompt), tools=[TOOL], tool_choice=FORCED) as stream:
            return (await stream.get_final_message()).content[0].input

    async def structured(self, prompt: str) -> Any:
        return (await self.client.messages.parse(**asked(prompt), output_format=Ticket)).parsed_output

    def close(self) -> Any:
        return self.client.close()


class TestAnthropic(Suite):
    """All of the suite, with both."""

    doors = (Sync, Async)
    error = anthropic.APIStatusError
