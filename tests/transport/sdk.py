"""Official SDKs over a scripted provider."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

import headway
from headway.testing import FakeProvider

MODEL = "gpt-5.4-mini"
HOME = "https://provider.test/v1"
QUIET = {"log": "off", "log_level": "off", "seed": 7}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def async_openai(provider: FakeProvider, *, max_retries: int = 2, **settings: Any) -> openai.AsyncOpenAI:
    """The SDK, with the one line."""
    client = openai.AsyncOpenAI(
        api_key="sk-a",
        base_url=HOME,
        max_retries=max_retries,
        http_client=headway.async_client(handler=provider, **QUIET | settings),
    )
    client._platform = "Linux"  # else it asks in a thread, for which virtual time cannot wait
    return client


def sync_openai(provider: FakeProvider, *, max_retries: int = 2, **settings: Any) -> openai.OpenAI:
    """As `async_openai`."""
    return openai.OpenAI(
        api_key="sk-a",
        base_url=HOME,
        max_retries=max_retries,
        http_client=headway.client(handler=provider, **QUIET | settings),
    )


def names(response: httpx2.Response) -> set[str]:
    """The names of its headers."""
    return set(response.headers)
