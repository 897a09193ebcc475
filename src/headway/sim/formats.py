"""The endpoints and how each of them speaks: one line here is one more format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from headway.sim.account import Account
from headway.sim.anthropic import message_body, message_error, message_events, message_headers, message_overload
from headway.sim.anthropic_ask import read_messages
from headway.sim.ask import Api, Ask, read_ask
from headway.sim.bodies import Meta, chat_body, output_items, response_object
from headway.sim.content import Completion
from headway.sim.events import Event, chat_events, error_event, response_events
from headway.sim.gemini import (
    content_body,
    content_error,
    content_events,
    content_headers,
    content_overload,
    read_contents,
)
from headway.sim.refusals import HTML, Refused
from headway.types import Headers

__all__ = ["FORMATS", "Format", "Route", "refusal", "route"]


class Route(NamedTuple):
    """Where a request goes: the format, and what else its path says."""

    api: Api
    deployment: str = ""


class Format(NamedTuple):
    """How one endpoint reads and writes."""

    read: Callable[[bytes, str], Ask]
    """A body, and what the path names, as an `Ask`."""
    whole: Callable[[Ask, list[Completion], Meta], Any]
    events: Callable[[Ask, list[Completion], Meta], Iterator[Event]]
    overload: Callable[[Ask], bytes]
    """The event that tells an overload inside a 200."""
    refusal: Callable[[Refused, str], tuple[int, bytes]]
    """Status and body of an error; the request's id is an argument."""
    headers: Callable[[Account, str], Headers]
    """What its answers carry besides their limits; milliseconds of processing are an argument ("" for none)."""
    origin: str = ""
    """Whose models it serves; "" for everybody's."""


def route(path: str) -> Route | None:
    """The endpoint of a POST; None for a path that has none.

    Besides the providers' own paths: ``/openai/v1/...`` (Groq, and Azure's newer kind),
    ``/openai/deployments/{model}/...`` (Azure's older kind), ``/v1/models/{model}:{method}`` and the
    same at ``/v1beta`` (Gemini).
    """
    if found := _PATHS.get(path.removeprefix("/openai")):
        return Route(found)
    head, _, name = path.partition("/openai/deployments/")
    deployment, _, rest = name.partition("/")
    if not head and deployment and (found := _PATHS.get(f"/v1/{rest}")):
        return Route(found, deployment)
    head, _, name = path.replace("/v1beta/", "/v1/", 1).partition("/v1/models/")
    if not head and name.partition(":")[2] in ("generateContent", "streamGenerateContent"):
        return Route("contents", name)
    return None


def refusal(where: Route | None, refused: Refused, request: str) -> tuple[int, str, bytes]:
    """Status, content type and body of an error at an endpoint; at none of them, in OpenAI's words.

    Args:
        where: The endpoint.
        refused: The error.
        request: The request's id; "" for none.
    """
    if refused.outcome in ("html", "html200"):
        return refused.status, "text/html", HTML
    status, raw = FORMATS[where.api if where else "chat"].refusal(refused, request)
    return status, "application/json", raw


def _chat(ask: Ask, completions: list[Completion], meta: Meta) -> Any:
    return chat_body(completions, meta)


def _response(ask: Ask, completions: list[Completion], meta: Meta) -> Any:
    status = "incomplete" if completions[0].finish == "length" else "completed"
    return response_object(ask, meta, status=status, output=output_items(completions[0], meta))


def _response_events(ask: Ask, completions: list[Completion], meta: Meta) -> Iterator[Event]:
    return response_events(ask, completions[0], meta)


def _openai_error(refused: Refused, request: str) -> tuple[int, bytes]:
    return refused.status, refused.body()


def _openai_headers(account: Account, processing_ms: str) -> Headers:
    return (
        ("x-request-id", f"req_{account.id}"),
        ("openai-organization", account.organisation),
        ("openai-version", "2020-10-01"),
        *((("openai-model", account.model),) if account.model else ()),
        *((("openai-processing-ms", processing_ms),) if processing_ms else ()),
    )


def _openai(api: Api, whole: Callable[..., Any], events: Callable[..., Iterator[Event]]) -> Format:
    def read(raw: bytes, deployment: str) -> Ask:
        return read_ask(api, raw, deployment)

    return Format(read, whole, events, error_event, _openai_error, _openai_headers)


_PATHS: Final[Mapping[str, Api]] = MappingProxyType(
    {
        "/v1/responses": "responses",
        "/v1/chat/completions": "chat",
        "/v1/embeddings": "embeddings",
        "/v1/messages": "messages",
    }
)
FORMATS: Final[Mapping[Api, Format]] = MappingProxyType(
    {
        "responses": _openai("responses", _response, _response_events),
        "chat": _openai("chat", _chat, chat_events),
        "embeddings": _openai("embeddings", _chat, chat_events),
        "messages": Format(
            read_messages, message_body, message_events, message_overload, message_error, message_headers,
            "https://api.anthropic.com",
        ),
        "contents": Format(
            read_contents, content_body, content_events, content_overload, content_error, content_headers,
            "https://generativelanguage.googleapis.com",
        ),
    }
)  # fmt: skip
"""Every format, by its endpoint."""
