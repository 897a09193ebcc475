"""instructor, over the openai SDK over Headway."""

from __future__ import annotations

from typing import Any

import instructor
import openai
import pydantic

from tests.integration.suite import Door, Suite, Ticket


class GetWeather(pydantic.BaseModel):
    """Structured answers are tool calls to instructor; this is what the tool takes."""

    city: str


def asked(prompt: str, fault: str = "", model: Any = None) -> dict[str, Any]:
    """The arguments of a chat completion; without a response model it is the openai SDK's."""
    headers = {"extra_headers": {"x-sim-fault": fault}} if fault else {}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
    return {**body, "response_model": model, **headers}


class Sync(Door):
    """`from_openai(OpenAI(http_client=...))`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.under = openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)
        self.client = instructor.from_openai(self.under)

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.create(**asked(prompt, fault)).choices[0].message.content

    def stream(self, prompt: str, fault: str = "") -> Any:
        with self.client.create(**asked(prompt, fault), stream=True) as chunks:
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def tool(self, prompt: str) -> Any:
        return self.client.create(**asked(prompt, model=GetWeather)).model_dump()

    def structured(self, prompt: str) -> Any:
        *_, last = self.client.create_partial(**asked(prompt, model=Ticket))
        return last

    def close(self) -> Any:
        self.under.close()


class Async(Door):
    """`from_openai(AsyncOpenAI(http_client=...))`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.under = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)
        self.client = instructor.from_openai(self.under)

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.create(**asked(prompt, fault))).choices[0].message.content

    async def stream(self, prompt: str, fault: str = "") -> Any:
        async with await self.client.create(**asked(prompt, fault), stream=True) as chunks:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async def tool(self, prompt: str) -> Any:
        return (await self.client.create(**asked(prompt, model=GetWeather))).model_dump()

    async def structured(self, prompt: str) -> Any:
        return await self.client.create(**asked(prompt, model=Ticket))

    def close(self) -> Any:
        return self.under.close()


class TestInstructor(Suite):
    """All of the suite, with both."""

    doors = (Sync, Async)
    error = openai.InternalServerError
