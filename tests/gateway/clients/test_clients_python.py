"""The official Python SDKs of OpenAI and Anthropic over real sockets, sync and async, told nothing but where and who."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest

MODEL = "gpt-4o"
CLAUDE = "claude-haiku-4-5"


def words(count: int, about: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Write {count} words about {about}."}]


@pytest.fixture
def told(house, monkeypatch):
    """The environment that the SDKs read."""
    for name, value in house.env().items():
        monkeypatch.setenv(name, value)


def test_openai_sync(told):
    """Whole, streamed, as a raw response, embeddings and lists."""
    with openai.OpenAI() as ai:
        raw = ai.chat.completions.with_raw_response.create(model=MODEL, messages=words(12, "tides"))
        assert raw.status_code == 200
        assert raw.headers["headway-attempts"] == "1"
        assert float(raw.headers["headway-cost"]) > 0
        whole = raw.parse().choices[0].message.content
        streamed = ai.chat.completions.create(model=MODEL, messages=words(12, "tides"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices) == whole
        with ai.responses.stream(model=MODEL, input="Write 9 words about rain.") as events:
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert events.get_final_response().output_text == text != ""
        vectors = ai.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
        assert [len(one.embedding) for one in vectors.data] == [1536, 1536]
        assert MODEL in {model.id for model in ai.models.list()}
        assert ai.models.retrieve(MODEL).id == MODEL


def test_openai_files_and_batches(told):
    """Uploaded, made into a batch, looked at, cancelled; a download comes as it was sent."""
    row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    line = json.dumps(row | {"body": {"model": MODEL, "messages": words(5, "files")}}).encode() + b"\n"
    with openai.OpenAI() as ai:
        file = ai.files.create(file=("in.jsonl", line), purpose="batch")
        assert ai.files.content(file.id).read() == line
        batch = ai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "tests"}
        )
        assert batch.id in {one.id for one in ai.batches.list()}
        assert ai.batches.cancel(batch.id).status in ("cancelling", "cancelled")
        assert ai.files.delete(file.id).deleted


def test_openai_async_many_at_once(told):
    """Fifty calls over one client's pool, whole and streamed, each with its own answer."""

    async def main():
        async with openai.AsyncOpenAI() as ai:

            async def whole(n: int) -> str:
                done = await ai.chat.completions.create(model=MODEL, messages=words(5 + n, "pools"))
                return done.choices[0].message.content

            async def streamed(n: int) -> str:
                chunks = await ai.chat.completions.create(model=MODEL, messages=words(5 + n, "pools"), stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

            many = await asyncio.gather(*[ask(n) for n in range(25) for ask in (whole, streamed)])
            assert [len(text.split()) for text in many] == [5 + n for n in range(25) for _ in range(2)]

    asyncio.run(main())


def test_openai_errors_are_its_own_and_asked_once(told, house):
    """401, 403, 404, 402 and 429 with the time to come back."""

    def ask(key: str = "app", model: str = MODEL, **more):
        with openai.OpenAI(api_key=house.keys.get(key, key)) as ai:
            return ai.chat.completions.create(model=model, messages=words(5, f"{key} {model}"), **more)

    with pytest.raises(openai.AuthenticationError):
        ask("hw-nobody")
    with pytest.raises(openai.PermissionDeniedError, match=r"gpt-4\.1"):
        ask("narrow", "gpt-4.1")
    with pytest.raises(openai.NotFoundError):
        ask(model="unheard-of")
    assert len([row for row in house.ledger() if row["model"] == "unheard-of"]) == 1
    with pytest.raises(openai.APIStatusError) as caught:
        ask("poor", max_tokens=50)
    assert (caught.value.status_code, caught.value.code) == (402, "budget")
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(2):
            ask("slow_python", extra_headers={"headway-deadline": "0.5"})
    assert int(caught.value.response.headers["retry-after"]) > 1


def test_openai_leaves_a_stream(told, house):
    """Closing it ends it at the provider, which bills no more than was made."""
    with openai.OpenAI() as ai:
        messages = words(3000, "leaving from Python")
        with ai.chat.completions.create(model="gpt-4.1", messages=messages, stream=True) as chunks:
            for _ in range(3):
                next(chunks)
    assert house.booked(lambda row: row["model"] == "gpt-4.1")["aborted"]


def test_anthropic_sync_and_async(told):
    """Whole, streamed, as a raw response, counted, and with a system prompt that is cached."""
    ask = {"model": CLAUDE, "max_tokens": 100, "messages": words(12, "tides")}
    with anthropic.Anthropic() as ai:
        raw = ai.messages.with_raw_response.create(**ask)
        assert raw.headers["headway-attempts"] == "1"
        whole = raw.parse().content[0].text
        with ai.messages.stream(**ask) as events:
            assert "".join(events.text_stream) == whole
            assert events.get_final_message().usage.output_tokens == raw.parse().usage.output_tokens
        system = [{"type": "text", "text": "Be brief. " * 3000, "cache_control": {"type": "ephemeral"}}]
        used = [ai.messages.create(system=system, **ask).usage for _ in range(2)]
        assert used[0].cache_creation_input_tokens == used[1].cache_read_input_tokens > 4096

    async def main():
        async with anthropic.AsyncAnthropic() as ai:
            many = await asyncio.gather(*[ai.messages.create(**ask) for _ in range(5)])
            assert {one.content[0].text for one in many} == {whole}
            async with ai.messages.stream(**ask) as events:
                assert "".join([text async for text in events.text_stream]) == whole

    asyncio.run(main())


def test_anthropic_batches_and_errors(told, house):
    """Message batches pass; each refusal is the SDK's own exception."""
    params = {"model": CLAUDE, "max_tokens": 20, "messages": words(5, "batches")}
    with anthropic.Anthropic() as ai:
        batch = ai.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
        assert ai.messages.batches.retrieve(batch.id).processing_status == "in_progress"
        assert ai.messages.batches.cancel(batch.id).id == batch.id
        with pytest.raises(anthropic.NotFoundError):
            ai.messages.create(**params | {"model": "claude-none"})
    with anthropic.Anthropic(api_key="hw-nobody") as ai, pytest.raises(anthropic.AuthenticationError):
        ai.messages.create(**params)
    with anthropic.Anthropic(api_key=house.keys["narrow"]) as ai, pytest.raises(anthropic.PermissionDeniedError):
        ai.messages.create(**params)
