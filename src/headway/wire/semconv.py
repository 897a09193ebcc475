"""What OpenTelemetry's conventions for generative AI call a provider and what is asked of it.

Source: OpenTelemetry semantic conventions for generative AI (status: Development), November 2026; FACTS section 8.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from headway.wire.endpoints import endpoint_of

__all__ = ["operation_of", "provider_of"]

_BY_HOST: Final = MappingProxyType(
    {
        "api.openai.com": "openai",
        "api.anthropic.com": "anthropic",
        "api.groq.com": "groq",
        "api.mistral.ai": "mistral_ai",
        "api.deepseek.com": "deepseek",
        "generativelanguage.googleapis.com": "gcp.gemini",
        "api.x.ai": "x_ai",
        "api.perplexity.ai": "perplexity",
        "api.cohere.com": "cohere",
    }
)
_BY_SUFFIX: Final = (
    (".openai.azure.com", "azure.ai.openai"),
    ("-aiplatform.googleapis.com", "gcp.vertex_ai"),
    (".amazonaws.com", "aws.bedrock"),
)


@lru_cache(maxsize=1024)
def provider_of(origin: str, path: str) -> str:
    """`gen_ai.provider.name`: by host, else whose format it is, for many hosts speak another's.

    Args:
        origin: Scheme and authority.
        path: Of the request.
    """
    host = urlsplit(origin).hostname or ""
    known = _BY_HOST.get(host) or next((name for suffix, name in _BY_SUFFIX if host.endswith(suffix)), "")
    if known:
        return known
    if endpoint_of(path) == "/v1/messages":
        return "anthropic"
    return "gcp.gemini" if "enerateContent" in path else "openai"


@lru_cache(maxsize=1024)
def operation_of(path: str) -> str:
    """`gen_ai.operation.name`; "" for what is no operation of a model, such as lists and files."""
    path = path.partition("?")[0]
    if endpoint_of(path):
        return "embeddings" if path.endswith("/embeddings") else "chat"
    if path.endswith(("enerateContent", "/completions")):
        return "text_completion" if path.endswith("/completions") else "generate_content"
    return ""
