"""Where the providers' endpoints are, how they are told the key, and which part of a path names the endpoint.

Sources (November 2026): each provider's own page on OpenAI compatibility. Azure's address holds the resource's name,
so it has no preset address: `https://RESOURCE.openai.azure.com/openai/v1`, whose models are deployments' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from headway.types import Headers

__all__ = ["ENDPOINTS", "PRESETS", "Preset", "credential", "endpoint_of", "key_variables", "own_credential"]

ENDPOINTS: Final = ("/chat/completions", "/responses", "/embeddings", "/realtime", "/v1/messages")
"""What a request can be posted to (at realtime: a WebSocket opened), below the base URL as that format's SDK has it."""

_CHAT, _RESPONSES, _EMBEDDINGS, _REALTIME, _MESSAGES = ENDPOINTS

MESSAGES_VERSION: Final = "2023-06-01"
"""The one version of the Messages API. Source: Anthropic API reference, "Versions"."""

_OPENAI_KEY: Final = "OPENAI_API_KEY"


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: base URL ("" where it differs by account), the variable its SDK reads, and what it serves."""

    base_url: str
    key_env: str
    endpoints: tuple[str, ...]


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "openai": Preset(
            base_url="https://api.openai.com/v1",
            key_env="OPENAI_API_KEY",
            endpoints=(_CHAT, _RESPONSES, _EMBEDDINGS, _REALTIME),
        ),
        "azure": Preset(
            base_url="",
            key_env="AZURE_OPENAI_API_KEY",
            endpoints=(_CHAT, _RESPONSES, _EMBEDDINGS, _REALTIME),
        ),
        "anthropic": Preset(
            base_url="https://api.anthropic.com/v1",
            key_env="ANTHROPIC_API_KEY",
            endpoints=(_MESSAGES,),
        ),
        "groq": Preset(
            base_url="https://api.groq.com/openai/v1",
            key_env="GROQ_API_KEY",
            endpoints=(_CHAT, _RESPONSES),
        ),
        "mistral": Preset(
            base_url="https://api.mistral.ai/v1",
            key_env="MISTRAL_API_KEY",
            endpoints=(_CHAT, _EMBEDDINGS),
        ),
        "deepseek": Preset(
            base_url="https://api.deepseek.com/v1",
            key_env="DEEPSEEK_API_KEY",
            endpoints=(_CHAT,),
        ),
        "gemini": Preset(
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_env="GEMINI_API_KEY",
            endpoints=(_CHAT, _EMBEDDINGS),
        ),
        "ollama": Preset(base_url="http://localhost:11434/v1", key_env="", endpoints=(_CHAT, _RESPONSES, _EMBEDDINGS)),
        "vllm": Preset(base_url="http://localhost:8000/v1", key_env="", endpoints=(_CHAT, _RESPONSES, _EMBEDDINGS)),
    }
)


def endpoint_of(path: str) -> str:
    """The endpoint that a path names, whatever stands before it ("/openai/v1/responses?x=1" -> "/responses"); or ""."""
    path = path.partition("?")[0]
    return next((endpoint for endpoint in ENDPOINTS if path.endswith(endpoint)), "")


def own_credential(path: str, key: str) -> Headers:
    """The headers that a call of our own tells its key by: everything at and below ``/v1/messages`` has its own way.

    Args:
        path: What it is sent to, e.g. ``/v1/messages/batches``.
        key: The key; "" for none.
    """
    path = path.partition("?")[0]
    endpoint = _MESSAGES if path.endswith(_MESSAGES) or f"{_MESSAGES}/" in path else ""
    told = (credential(endpoint, key),) if key else ()
    return (*told, ("anthropic-version", MESSAGES_VERSION)) if endpoint else told


def key_variables(base_url: str) -> tuple[str, ...]:
    """The environment variables that may hold the key for a base URL; the first that is set counts.

    A provider's own comes first. OpenAI's may hold the key of any that speaks its formats, as its SDK is used so; it is
    never sent to one that does not.
    """
    base_url = base_url.rstrip("/")
    preset = next((one for one in PRESETS.values() if one.base_url and base_url == one.base_url), None)
    if preset is None or not preset.key_env:
        return (_OPENAI_KEY,)
    return (preset.key_env,) if preset.endpoints == (_MESSAGES,) else (preset.key_env, _OPENAI_KEY)


def credential(endpoint: str, key: str) -> tuple[str, str]:
    """The header that carries a key: the Messages format has one of its own."""
    return ("x-api-key", key) if endpoint == _MESSAGES else ("authorization", f"Bearer {key}")
