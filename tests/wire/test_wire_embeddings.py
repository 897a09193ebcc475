"""Embeddings: what they ask, what they cost, and when they are kept."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import Answer, Usage
from headway.wire import reader_for

EMBEDDINGS = reader_for("/v1/embeddings")
assert EMBEDDINGS is not None


def view(input_: Any, **fields: Any) -> Any:
    return EMBEDDINGS.read_request(
        json.dumps({"model": "text-embedding-3-small", "input": input_, **fields}).encode(), ()
    )


def body(*embeddings: Any, usage: Any = None, **fields: Any) -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(embeddings)]
    usage = {"prompt_tokens": 8, "total_tokens": 8} if usage is None else usage
    return json.dumps(
        {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage, **fields}
    ).encode()


@pytest.mark.parametrize(
    ("input_", "tokens"),
    [("x" * 40, 10), (["x" * 20, "y" * 20], 10), ([1, 2, 3], 3), ([[1, 2], [3]], 3), (None, 0), ([], 0), ({"a": 1}, 0)],
)
def test_view(input_: Any, tokens: int) -> None:
    """A text, texts, tokens or lists of tokens: texts are estimated, tokens counted; no output is asked for."""
    seen = view(input_, stream=True)
    assert (seen.format, seen.model, seen.input_tokens) == ("openai_embeddings", "text-embedding-3-small", tokens)
    assert (seen.stream, seen.output_tokens_max, seen.reusable) == (False, 0, True)


def test_canonical() -> None:
    """How numbers are written, and how many, is part of the question; who asks is not."""

    def key(**fields: Any) -> bytes | None:
        return EMBEDDINGS.canonical(json.dumps({"model": "m", "input": "a", **fields}).encode())

    assert key(encoding_format="base64") != key(encoding_format="float") != key()
    assert key(dimensions=256) != key()
    assert key(user="u") == key()


def test_answer() -> None:
    """A whole answer is kept, as numbers or as base64; its usage is what went in."""
    whole = Answer(complete=True, admissible=True, model="text-embedding-3-small", usage=Usage(input_tokens=8))
    assert EMBEDDINGS.read_answer(200, body([0.1, -0.2], [0.3, 0.4])) == whole
    assert EMBEDDINGS.read_answer(200, body("AACAPw==")) == whole
    assert EMBEDDINGS.read_answer(200, body([0.1], usage={"total_tokens": 5})).usage == Usage(input_tokens=5)
    assert EMBEDDINGS.text(body([0.1])) == ""


@pytest.mark.parametrize(
    "answer",
    [body(), body([]), body(""), body(None), body([0.1], []), b'{"data":null}', b"{}", b"[]", body([0.1])[:-2], b""],
)
def test_not_kept(answer: bytes) -> None:
    """What is not whole is not kept."""
    assert not EMBEDDINGS.read_answer(200, answer).admissible
    assert not EMBEDDINGS.read_answer(206, body([0.1])).admissible


def test_errors() -> None:
    """Errors are read as everywhere, also inside a 200."""
    error = json.dumps(
        {"error": {"message": "m", "type": "invalid_request_error", "code": "insufficient_quota"}}
    ).encode()
    for status in (200, 429):
        seen = EMBEDDINGS.read_answer(status, error).error
        assert seen is not None
        assert seen.outcome == "billing"


def test_there_are_no_streams() -> None:
    """A stream of embeddings has no kinds, no end and no aggregate."""
    stream = EMBEDDINGS.open_stream()
    assert stream.feed(b"data: {}\n\n") == "other"
    assert stream.answer() == Answer()
    assert EMBEDDINGS.aggregate(b"data: [DONE]\n\n") is None
    assert EMBEDDINGS.ask_usage(b'{"stream":true}') is None


def test_what_the_sdk_asks_and_gets() -> None:
    """The SDK asks for base64 by itself, and gets its numbers from an answer that is kept."""
    numbers = [0.5, -1.25, 3.0]
    answer = body(base64.b64encode(struct.pack("<3f", *numbers)).decode())
    seen: list[httpx2.Request] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, content=answer, headers={"content-type": "application/json"})

    http = openai.DefaultHttpxClient(transport=httpx2.MockTransport(serve))
    with openai.OpenAI(api_key="k", base_url="http://sim/v1", http_client=http) as client:
        got = client.embeddings.create(model="text-embedding-3-small", input=["x" * 40])
    assert got.data[0].embedding == numbers
    assert EMBEDDINGS.read_request(seen[0].content, ()).input_tokens == 10
    assert b'"encoding_format":"base64"' in (EMBEDDINGS.canonical(seen[0].content) or b"")
    assert EMBEDDINGS.read_answer(200, answer).usage == Usage(input_tokens=got.usage.prompt_tokens)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["input", "data", "embedding", "usage", "error", "model"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(text=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise(text: bytes) -> None:
    """Whatever comes, reading it never raises."""
    assert EMBEDDINGS.read_request(text, ()).format == "openai_embeddings"
    answer = EMBEDDINGS.read_answer(200, text)
    assert not answer.admissible or b"embedding" in text
    EMBEDDINGS.canonical(text)
