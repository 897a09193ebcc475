"""Gemini's `generateContent`, played; its SDK is tried in tests/integration."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headway.sim import SimSettings, Simulator, run_virtual
from headway.types import Call, Reply
from tests.sim.helpers import call, json

MODEL = "gemini-2.5-flash"
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}


def body(text: str = "Write 12 words.", **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


async def ask(
    simulator: Simulator, fields: dict[str, Any], *, method: str = "generateContent", fault: str = "", model: str = MODEL
) -> Reply:  # fmt: skip
    """An answer, read to the end; the key is in Gemini's own header."""
    asked: Call = call(f"/v1beta/models/{model}:{method}?alt=sse", fields, fault=fault)
    headers = (("x-goog-api-key", "sim"), *(pair for pair in asked.headers if pair[0] != "authorization"))
    reply = await simulator.handler(msgspec.structs.replace(asked, headers=headers))
    await reply.read()
    return reply


def play(**fields: Any) -> Simulator:
    """A simulator whose answers are never wrong."""
    return Simulator(SimSettings(quality=None, **fields))


def events(reply: Reply) -> list[dict[str, Any]]:
    """The data of a stream's events."""
    parts = (reply.body or b"").decode().strip().split("\r\n\r\n")
    return [msgspec.json.decode(part.removeprefix("data: ")) for part in parts]


def test_whole_and_streamed_answers_are_one():
    """The streamed parts add up to the whole text; the last tells why it ended and what was used."""

    async def main() -> None:
        simulator = play()
        whole = json(await ask(simulator, body()))
        stream = events(await ask(simulator, body(), method="streamGenerateContent"))
        said = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in stream)
        assert said == whole["candidates"][0]["content"]["parts"][0]["text"]
        assert [event["candidates"][0].get("finishReason") for event in stream] == [None] * (len(stream) - 1) + ["STOP"]
        assert stream[-1]["usageMetadata"] == whole["usageMetadata"]
        row = simulator.ledger.rows[-1]
        assert (row.stream, row.model, row.content) == (True, MODEL, simulator.ledger.rows[0].content)
        assert row.dollars == pytest.approx((row.input_tokens * 0.3 + row.output_tokens * 2.5) / 1e6)

    run_virtual(main)


def test_functions_schemas_and_bounds():
    """A demanded function is called once; its own kind of schema is filled; thoughts are counted apart."""

    async def main() -> None:
        simulator = play()
        any_mode = {"functionCallingConfig": {"mode": "ANY"}}
        tools = {"tools": [{"functionDeclarations": [WEATHER]}], "toolConfig": any_mode}
        called = json(await ask(simulator, body("Paris", **tools)))["candidates"][0]["content"]["parts"]
        assert called == [{"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}]
        streamed = events(await ask(simulator, body("Paris", **tools), method="streamGenerateContent"))
        assert [event["candidates"][0]["content"]["parts"] for event in streamed] == [called]
        answer = {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"sky": "blue"}}}]}
        after = body("Paris", **tools)
        after["contents"].append(answer)
        assert "text" in json(await ask(simulator, after))["candidates"][0]["content"]["parts"][0]
        schema = {"type": "OBJECT", "properties": {"label": {"type": "STRING", "enum": ["billing", "shipping"]}}}
        config = {"responseMimeType": "application/json", "responseSchema": schema}
        text = json(await ask(simulator, body("I was charged twice", generationConfig=config)))
        assert msgspec.json.decode(text["candidates"][0]["content"]["parts"][0]["text"]) == {"label": "billing"}
        short = {"maxOutputTokens": 3}
        assert json(await ask(simulator, body(generationConfig=short)))["candidates"][0]["finishReason"] == "MAX_TOKENS"
        thinking = {"thinking_config": {"thinking_budget": 1_024}}  # its SDK mixes both spellings
        counts = json(await ask(simulator, body(generationConfig=thinking)))["usageMetadata"]
        assert counts["thoughtsTokenCount"] > 50
        assert counts["totalTokenCount"] == sum(
            counts[key] for key in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        )

    run_virtual(main)


def test_errors_have_its_shape():
    """A code, a status in capitals, the wait in the details; a stream may tell an overload inside a 200."""

    async def main() -> None:
        simulator = play(retry_after=True, rpm=1)
        assert (await ask(simulator, body())).status == 200
        limited = await ask(simulator, body())
        error = json(limited)["error"]
        assert (limited.status, error["code"], error["status"]) == (429, 429, "RESOURCE_EXHAUSTED")
        assert 59 < float(error["details"][0]["retryDelay"].rstrip("s")) <= 60
        simulator = play()
        for fault, status in (("429", "RESOURCE_EXHAUSTED"), ("500", "INTERNAL"), ("503", "UNAVAILABLE")):
            assert json(await ask(simulator, body(), fault=fault))["error"]["status"] == status
        inside = events(await ask(simulator, body(), method="streamGenerateContent", fault="event"))
        assert inside[-1]["error"]["status"] == "UNAVAILABLE"
        assert json(await ask(simulator, body(), fault="empty"))["candidates"][0]["content"]["parts"] == []
        for wrong in ({}, body(contents=[{"role": "system", "parts": []}])):
            assert json(await ask(simulator, wrong))["error"]["status"] == "INVALID_ARGUMENT"
        assert (await ask(simulator, body(), model="gpt-4o")).status == 404

    run_virtual(main)
