"""langchain-openai in an environment of its own; run by `test_clients_tools.py`. What is wrong ends it."""

from __future__ import annotations

import asyncio
import os

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

ASK = "Write 12 words about tides."


def main() -> None:
    model = ChatOpenAI(model="gpt-4o", stream_usage=True)
    whole = model.invoke(ASK)
    assert whole.content
    assert whole.usage_metadata["total_tokens"] > 0
    chunks = list(model.stream(ASK))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert sum(chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata) > 0
    many = model.batch([f"Write {n} words about tides." for n in range(5, 15)], {"max_concurrency": 5})
    assert [len(one.content.split()) for one in many] == list(range(5, 15))
    newer = ChatOpenAI(model="gpt-4o", use_responses_api=True)
    assert newer.invoke(ASK).text

    async def later() -> None:
        assert (await model.ainvoke(ASK)).content == whole.content
        assert "".join([chunk.content async for chunk in model.astream(ASK)]) == whole.content

    asyncio.run(later())

    # It would fetch the tokens of its model from the net to measure the texts.
    embed = OpenAIEmbeddings(model="text-embedding-3-small", dimensions=64, check_embedding_ctx_length=False)
    vectors = embed.embed_documents(["one", "two"])
    assert [len(one) for one in vectors] == [64, 64]

    try:
        ChatOpenAI(model="gpt-4.1", api_key=os.environ["KEY_NARROW"]).invoke(ASK)
    except openai.PermissionDeniedError:
        pass
    else:
        raise AssertionError("a key did what it may not")


main()
