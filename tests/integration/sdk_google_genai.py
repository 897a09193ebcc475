"""The google-genai SDK. No wire reader knows its format yet: its requests pass through Headway untouched."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai import errors, types

from tests.integration.suite import TOOL_NAME, TOOL_PARAMETERS, Door, Suite, Ticket

MODEL = "gemini-2.5-flash"


def asked(prompt: str, fault: str = "", **config: Any) -> dict[str, Any]:
    """The arguments of a generation."""
    if fault:
        config["http_options"] = types.HttpOptions(headers={"x-sim-fault": fault})
    return {"model": MODEL, "contents": prompt, "config": types.GenerateContentConfig(**config)}


def forced() -> dict[str, Any]:
    """The configuration that demands the tool."""
    function = types.FunctionDeclaration(name=TOOL_NAME, parameters_json_schema=TOOL_PARAMETERS)
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    return {
        "tools": [types.Tool(function_declarations=[function])],
        "tool_config": types.ToolConfig(function_calling_config=calling),
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
    }


SCHEMA: dict[str, Any] = {"response_mime_type": "application/json", "response_schema": Ticket}


class Sync(Door):
    """`Client(http_options=HttpOptions(httpx_client=...))`."""

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, httpx_client=http))

    def plain(self, prompt: str, fault: str = "") -> Any:
        return self.client.models.generate_content(**asked(prompt, fault)).text

    def stream(self, prompt: str, fault: str = "") -> Any:
        return "".join(part.text or "" for part in self.client.models.generate_content_stream(**asked(prompt, fault)))

    def tool(self, prompt: str) -> Any:
        return self.client.models.generate_content(**asked(prompt, **forced())).function_calls[0].args

    def structured(self, prompt: str) -> Any:
        return self.client.models.generate_content(**asked(prompt, **SCHEMA)).parsed

    def close(self) -> Any:
        self.client.close()


class Async(Door):
    """`Client(http_options=HttpOptions(httpx_async_client=...)).aio`."""

    asynchronous = True

    def __init__(self, url: str, key: str, http: Any) -> None:
        self.client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, httpx_async_client=http))

    async def plain(self, prompt: str, fault: str = "") -> Any:
        return (await self.client.aio.models.generate_content(**asked(prompt, fault))).text

    async def stream(self, prompt: str, fault: str = "") -> Any:
        parts = await self.client.aio.models.generate_content_stream(**asked(prompt, fault))
        return "".join([part.text or "" async for part in parts])

    async def tool(self, prompt: str) -> Any:
        return (await self.client.aio.models.generate_content(**asked(prompt, **forced()))).function_calls[0].args

    async def structured(self, prompt: str) -> Any:
        return (await self.client.aio.models.generate_content(**asked(prompt, **SCHEMA))).parsed

    async def close(self) -> Any:
        await self.client.aio.aclose()
        self.client.close()


class TestGoogleGenai(Suite):
    """All of the suite that a request which passes through can show."""

    doors = (Sync, Async)
    error = errors.ServerError
    read = False
