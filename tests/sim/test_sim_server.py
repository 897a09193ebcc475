"""The simulator over HTTP, as the official SDK sees it."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request

import httpx2
import openai
import pydantic
import pytest

from headway.sim import SimSettings, serving
from tests.sim.helpers import LABELS

PROMPT = f"Return only the label, one of: {', '.join(LABELS)}. Ticket: I was charged twice on my invoice"


@pytest.fixture(scope="module")
def url():
    """One simulator for all tests here: fast, never wrong, one accepted key."""
    with serving(SimSettings(latency_scale=0.02, quality=None, api_keys=("sim",), rpm=100_000)) as base_url:
        yield base_url


@pytest.fixture
def client(url):
    """The official SDK, without retries of its own."""
    with openai.OpenAI(base_url=url, api_key="sim", max_retries=0) as made:
        yield made


def ledger(url: str, method: str = "GET") -> dict:
    """The books, over HTTP."""
    request = urllib.request.Request(f"{url.removesuffix('/v1')}/sim/ledger", method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.headers["x-headway-simulator"] == "1"
        return json.load(reply)


def test_responses(client):
    """A whole response: text, status, usage, echo, and headers that say what it is."""
    raw = client.responses.with_raw_response.create(model="gpt-5.4-mini", input=PROMPT, metadata={"a": "b"})
    found = raw.parse()
    assert (found.output_text, found.status, found.metadata) == ("billing", "completed", {"a": "b"})
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens > 20
    assert raw.headers["x-headway-simulator"] == "1"
    assert raw.headers["openai-processing-ms"].isdigit()
    assert raw.headers["x-ratelimit-remaining-requests"] == "99999"


def test_a_responses_stream_has_every_event_in_order(client):
    """The SDK's own accumulator takes it and ends with the same text."""
    with client.responses.stream(model="gpt-5.4-mini", input="Write 12 words.") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text


def test_chat(client):
    """Whole, streamed with and without usage, and several answers at once."""
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 12 words."}]}
    whole = client.chat.completions.create(**ask, n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].message.content != whole.choices[1].message.content
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert (chunks[-1].choices, chunks[-2].choices[0].finish_reason) == ([], "stop")
    assert chunks[-1].usage.completion_tokens < whole.usage.completion_tokens
    plain = list(client.chat.completions.create(**ask, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in plain)


def test_structured_output_and_tools_parse(client):
    """The SDK's pydantic helpers take the schema's instance; tool calls stream in both APIs."""

    class Ticket(pydantic.BaseModel):
        category: str
        urgent: bool
        amounts: list[int]

    parsed = client.responses.parse(model="gpt-4o", input=PROMPT, text_format=Ticket).output_parsed
    assert isinstance(parsed, Ticket)
    message = {"role": "user", "content": PROMPT}
    done = client.chat.completions.parse(model="gpt-4o", messages=[message], response_format=Ticket)
    assert isinstance(done.choices[0].message.parsed, Ticket)
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "name": "weather", "parameters": parameters, "strict": False}
    with client.responses.stream(model="gpt-4o", input="Paris", tools=[tool], tool_choice="required") as stream:
        final = stream.get_final_response()
    assert json.loads(final.output[0].arguments) == {"city": "Paris"}
    wrapped = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    with client.chat.completions.stream(
        model="gpt-4o", messages=[{"role": "user", "content": "Paris"}], tools=[wrapped], tool_choice="required"
    ) as chat_stream:
        called = chat_stream.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(called.function.arguments) == {"city": "Paris"}


def test_embeddings(client):
    """Unit vectors, the same every time; alike texts lie closer; dimensions and both encodings."""
    texts = ["my card was stolen", "someone stole my card", "what is the exchange rate"]
    ask = {"model": "text-embedding-3-small", "input": texts}
    plain = [row.embedding for row in client.embeddings.create(**ask, encoding_format="float").data]
    packed = [row.embedding for row in client.embeddings.create(**ask).data]  # base64 is the SDK's own default
    assert plain == [pytest.approx(row) for row in packed]
    assert [len(row) for row in plain] == [1_536] * 3
    assert all(math.isclose(sum(x * x for x in row), 1.0, abs_tol=1e-5) for row in plain)

    def near(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(plain[a], plain[b], strict=True))

    assert near(0, 1) > 0.3 > abs(near(0, 2))
    assert len(client.embeddings.create(**ask, dimensions=64).data[0].embedding) == 64


def test_models(client):
    """Listed, and one by one."""
    assert "gpt-4o" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").owned_by == "simulator"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_the_sdk_raises_its_own_errors(url, client):
    """401, 404, 400, 429, quota, 500, a dropped connection, an error inside a stream."""
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 12 words."}]}

    def fault(kind: str, **fields) -> None:
        list(client.chat.completions.create(**ask, **fields, extra_headers={"x-sim-fault": kind}))

    with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as other:
        with pytest.raises(openai.AuthenticationError) as wrong:
            other.chat.completions.create(**ask)
        assert wrong.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            other.models.list()
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**{**ask, "model": "gpt-9"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="gpt-4o", input=[])
    for kind, error in (("429", openai.RateLimitError), ("quota", openai.RateLimitError), ("500", openai.InternalServerError),
                        ("529", openai.InternalServerError), ("html", openai.InternalServerError),
                        ("reset", openai.APIConnectionError), ("truncated", openai.APIConnectionError)):  # fmt: skip
        with pytest.raises(error):
            fault(kind)
    with pytest.raises(openai.APIError, match="overloaded"):
        fault("event", stream=True)
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        fault("reset", stream=True)


def test_the_async_sdk_and_the_books(url):
    """Fifty concurrent calls: as many lines in the ledger, with the usage the SDK was told; a reset empties it."""

    async def main() -> list:
        async with openai.AsyncOpenAI(base_url=url, api_key="sim", max_retries=0) as client:
            calls = [client.responses.create(model="gpt-4o", input=f"Write 9 words, {n}") for n in range(50)]
            return await asyncio.gather(*calls)

    ledger(url, "DELETE")
    found = asyncio.run(main())
    totals = ledger(url)["totals"]
    assert (totals["attempts"], totals["ok"]) == (50, 50)
    assert totals["input_tokens"] == sum(response.usage.input_tokens for response in found)
    assert totals["output_tokens"] == sum(response.usage.output_tokens for response in found)
    assert totals["dollars"] > 0
    assert ledger(url, "DELETE")["totals"]["attempts"] == 50
    assert ledger(url)["totals"]["attempts"] == 0


def test_a_client_that_leaves_ends_generation(url):
    """Closing a stream early, and giving a whole answer up: both are booked as aborted with less than all tokens."""
    ask = {"model": "gpt-4-turbo", "messages": [{"role": "user", "content": "Write 1500 words."}]}

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="sim", max_retries=0) as client:
            stream = await client.chat.completions.create(**ask, stream=True)
            for _ in range(5):
                await anext(stream)
            await stream.close()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.chat.completions.create(**ask), 0.2)

    ledger(url, "DELETE")
    asyncio.run(main())
    rows: list[dict] = []
    for _ in range(200):
        rows = ledger(url)["rows"]
        if len(rows) == 2:
            break
    assert [row["outcome"] for row in rows] == ["aborted", "aborted"]
    assert all(0 < row["output_tokens"] < 1_500 and row["dollars"] > 0 for row in rows)


def test_bodies_are_bounded():
    """A body over the limit is refused without being read."""
    with (
        serving(SimSettings(body_bytes_max=1_000, latency_scale=0)) as base_url,
        openai.OpenAI(base_url=base_url, api_key="sim", max_retries=0) as client,
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(model="gpt-4o", input="x" * 2_000)
        assert caught.value.status_code == 413
        assert client.responses.create(model="gpt-4o", input="x").status == "completed"


def test_its_answers_are_those_of_the_in_process_handler():
    """One model of the provider: over HTTP and as a Handler it says the same, byte for byte but for the time."""
    from headway.sim import Simulator, run_virtual
    from tests.sim.helpers import call

    settings = SimSettings(latency_scale=0, seed=3)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 20 words."}]}

    async def inside() -> dict:
        return json.loads(await (await Simulator(settings).handler(call("/v1/chat/completions", body))).read())

    with serving(settings) as base_url, openai.OpenAI(base_url=base_url, api_key="sk-test") as client:
        outside = client.chat.completions.with_raw_response.create(**body)
        over_http = json.loads(outside.text)
    assert {**over_http, "created": 0} == {**run_virtual(inside), "created": 0}


def test_a_simulator_that_cannot_start_is_told():
    """Settings are checked before a process is started; a block that ends leaves no server."""
    with serving(SimSettings(latency_scale=0)) as base_url:
        pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(base_url, timeout=5)
