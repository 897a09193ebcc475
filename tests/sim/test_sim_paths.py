"""OpenAI's format at other providers' paths: Azure's two kinds, Groq's, Mistral's models."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headway.sim import SimSettings, Simulator, run_virtual
from headway.sim.formats import route
from headway.types import Headers, Reply

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Write 12 words."}]}


async def post(
    path: str, body: dict[str, Any], headers: Headers = (("authorization", "Bearer sim"),)
) -> tuple[Reply, Simulator]:
    """One answer, read to the end, and who gave it."""
    simulator = Simulator(SimSettings(quality=None))
    reply = await simulator.respond("POST", path, headers, msgspec.json.encode(body))
    await reply.read()
    return reply, simulator


def run(
    path: str, body: dict[str, Any], headers: Headers = (("authorization", "Bearer sim"),)
) -> tuple[Any, Simulator]:
    """The same in virtual time, its JSON."""
    reply, simulator = run_virtual(lambda: post(path, body, headers))
    return msgspec.json.decode(reply.body or b""), simulator


@pytest.mark.parametrize(
    ("path", "model", "key"),
    [
        ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "", "api-key"),
        ("/openai/v1/chat/completions?api-version=preview", "gpt-4o", "api-key"),
        ("/openai/v1/chat/completions", "llama-3.3-70b-versatile", "authorization"),
        ("/v1/chat/completions", "mistral-large-latest", "authorization"),
    ],
)
def test_the_same_words_at_every_path(path, model, key):
    """Each is a chat completion, priced as what its provider sells, with the key in the header it uses there."""
    value = "Bearer sim" if key == "authorization" else "sim"
    body, simulator = run(path, {**ASK, **({"model": model} if model else {})}, ((key, value),))
    assert body["object"] == "chat.completion"
    assert body["model"] == (model or "gpt-4o")
    (row,) = simulator.ledger.rows
    assert (row.outcome, row.dollars is not None and row.dollars > 0) == ("ok", True)


def test_azure_names_the_model_in_the_path():
    """What the body calls it does not count; a deployment that is not there is a 404."""
    body, _ = run("/openai/deployments/gpt-4o/chat/completions", {**ASK, "model": "gpt-4.1"})
    assert body["model"] == "gpt-4o"
    missing, simulator = run("/openai/deployments/mine/chat/completions", ASK)
    assert (missing["error"]["code"], simulator.ledger.rows[0].status) == ("model_not_found", 404)
    vectors, _ = run("/openai/deployments/text-embedding-3-small/embeddings", {"input": "a"})
    assert len(vectors["data"][0]["embedding"]) == 1_536


def test_mistral_streams_end_with_the_usage():
    """Unasked, with the finish; OpenAI's only where it is asked for."""

    async def stream(model: str) -> list[dict[str, Any]]:
        reply, _ = await post("/v1/chat/completions", {**ASK, "model": model, "stream": True})
        lines = (reply.body or b"").decode().split("\n\n")
        return [msgspec.json.decode(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]

    told = run_virtual(lambda: stream("mistral-small-latest"))
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert told[-1]["usage"]["completion_tokens"] >= 12
    assert all("usage" not in chunk for chunk in (*told[:-1], *run_virtual(lambda: stream("gpt-4o"))))


def test_mistral_any_is_required():
    """Its word for "some tool, whichever"."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
    body, _ = run(
        "/v1/chat/completions", {**ASK, "model": "mistral-small-latest", "tools": [tool], "tool_choice": "any"}
    )
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_paths_that_are_none():
    """A prefix alone, a foreign method and a deployment without a name lead nowhere."""
    for path in (
        "/openai", "/openai/deployments//chat/completions", "/v1beta/models/gemini-2.5-flash:countTokens",
        "/x/v1/messages", "/openai/deployments/gpt-4o/", "/v1beta/models/",
    ):  # fmt: skip
        assert route(path) is None
