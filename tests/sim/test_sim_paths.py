"""OpenAI's format at other providers' paths: Azure's two kinds, Groq's, Mistral's models."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.sim import SimSettings, Simulator, run_virtual
from headway.sim.formats import route
from headway.types import Headers, Reply

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Write 12 words."}]}
FIELDS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "messages": (
        "/v1/messages",
        {**ASK, "model": "claude-sonnet-5", "max_tokens": 9},
        "model messages max_tokens system tools tool_choice thinking stop_sequences stream output_config cache_control".split(),
    ),
    "contents": (
        "/v1/models/gemini-2.5-flash:generateContent",
        {"contents": [{"parts": [{"text": "Write 12 words."}]}]},
        "contents systemInstruction generationConfig generation_config tools toolConfig".split(),
    ),
}
"""For each format: where it goes, a body that is right, and the fields that are read."""

WORDS = (
    "role content type text parts name input_schema cache_control ttl functionDeclarations functionResponse budget_tokens"
    " thinkingConfig thinkingBudget responseSchema functionCallingConfig allowedFunctionNames format schema effort"
).split()


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5_000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=8,
)


@given(api=st.sampled_from(sorted(FIELDS)), data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_body_gets_an_answer_or_a_400(api, data):
    """Whatever stands in a field, the provider answers or says that it is wrong; it never breaks."""
    path, body, fields = FIELDS[api]
    changed = data.draw(st.dictionaries(st.sampled_from(fields), VALUES, min_size=1, max_size=3))
    reply, simulator = run_virtual(lambda: post(path, {**body, **changed}))
    assert reply.status in (200, 400, 404)
    assert msgspec.json.decode(reply.body or b"{}") if b"data: " not in (reply.body or b"") else True
    assert len(simulator.ledger.rows) == 1
