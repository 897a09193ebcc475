"""Traces and rows as engines leave them, and a gateway that is asked something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from headway.types import Tags, Trace, Usage
from headway.types.steps import StepRow

BODY = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "hi"}]}


def call(outcome: str = "ok", **fields: Any) -> Trace:
    """A call's ended trace: half a second, streamed, 9 output tokens."""
    return _ended("call", outcome, fields)


def attempt(outcome: str = "ok", **fields: Any) -> Trace:
    """The same of a try."""
    return _ended("attempt", outcome, {"upstream": "openai", "sent_at_s": 10.1, **fields})


def _ended(kind: Any, outcome: str, fields: Mapping[str, Any]) -> Trace:
    trace = Trace(kind, "id", 10.0, 1_800_000_000.0)
    trace.path, trace.format, trace.model = "/v1/chat/completions", "openai_chat", "gpt-5.4-mini"
    trace.status, trace.cache, trace.flight_id, trace.stream = 200, "miss", "flight", True
    trace.first_content_at_s, trace.dollars = 10.25, 0.001
    trace.usage = Usage(input_tokens=100, output_tokens=9)
    for name, value in fields.items():
        setattr(trace, name, value)
    trace.end(outcome, 10.5)  # type: ignore[arg-type]
    return trace


def step(name: str, **fields: Any) -> StepRow:
    """A step of "article" that took two seconds."""
    given = {"started_s": 1.0, "end_s": 3.0, "index": 0, **fields}
    return StepRow(pipeline="article", run="r", step=name, start_wall_s=0.0, **given)


TAGGED = Tags(run="r", step="draft#3", parent="article")


async def ask(client: httpx.AsyncClient, url: str, **options: Any) -> httpx.Response:
    """One chat completion."""
    headers = options.pop("headers", {})
    body = json.dumps(BODY | options)
    return await client.post(f"{url}/v1/chat/completions", content=body, headers=headers)
