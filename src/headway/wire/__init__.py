"""Wire readers: one file per provider format, found by the path that a request goes to.

A reader reads what decisions need and never translates: a request keeps the bytes its client wrote, a reply
the bytes its provider wrote. A new format is one file that implements `wire.base.Reader`, and one line in the
table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from headway.wire.anthropic_messages import AnthropicMessages
from headway.wire.base import Reader
from headway.wire.batch import BatchFormat
from headway.wire.batch_anthropic import AnthropicBatch
from headway.wire.batch_openai import OpenAIBatch
from headway.wire.endpoints import endpoint_of
from headway.wire.openai_chat import OpenAIChat
from headway.wire.openai_embeddings import OpenAIEmbeddings
from headway.wire.openai_responses import OpenAIResponses

__all__ = ["batch_format_for", "model_in_path", "path_with_model", "reader_for"]

_READERS: Final[tuple[tuple[str, Reader], ...]] = (
    ("/chat/completions", OpenAIChat()),
    ("/responses", OpenAIResponses()),
    ("/v1/messages", AnthropicMessages()),  # /v1/threads/{id}/messages is another format
    ("/embeddings", OpenAIEmbeddings()),
)


@lru_cache(maxsize=256)  # asked several times a call, and paths are few
def reader_for(path: str) -> Reader | None:
    """The reader of what is posted to `path` (a query may follow it); None when no reader knows it.

    The end of the path decides, so that prefixes of proxies and compatible providers need no list:
    ``/v1/responses``, ``/openai/v1/chat/completions?api-version=1``. ``/v1/responses/resp_1`` creates
    nothing.
    """
    path = path.partition("?")[0]
    for suffix, reader in _READERS:
        if path.endswith(suffix):
            return reader
    return None


def batch_format_for(path: str) -> BatchFormat | None:
    """The batch API for requests that by themselves are posted to `path`; None where there is none that we know.

    What stands before the endpoint is kept: rows for ``/openai/v1/responses`` are uploaded to ``/openai/v1/files``.
    """
    path = path.partition("?")[0]
    endpoint = endpoint_of(path)
    if not endpoint:
        return None
    if endpoint.endswith("/messages"):
        return AnthropicBatch(path)
    return OpenAIBatch(f"/v1{endpoint}", path.removesuffix(endpoint))


def model_in_path(path: str) -> str:
    """The model that a path names, for bodies that name none; "" if it names none either.

    Azure OpenAI's deployments do: ``/openai/deployments/my-gpt/chat/completions?api-version=1`` is "my-gpt", the
    deployment's own name, whatever model it serves.
    """
    _, found, rest = path.partition("?")[0].partition("/openai/deployments/")
    return unquote(rest.partition("/")[0]) if found else ""


def path_with_model(path: str, model: str) -> str:
    """The path naming `model`, where it names one (`model_in_path`); else as it is."""
    if not model_in_path(path):
        return path
    before, found, rest = path.partition("/openai/deployments/")
    end = len(rest.partition("?")[0].partition("/")[0])
    return before + found + quote(model, safe="") + rest[end:]
