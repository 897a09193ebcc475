"""Azure OpenAI: the model in the path, its errors and its headers."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from headway.wire import model_in_path, path_with_model, reader_for
from headway.wire.provider_errors import read_error
from headway.wire.rate_headers import LimitReading, read_limits


@pytest.mark.parametrize(
    ("path", "format_", "model"),
    [
        ("/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21", "openai_chat", "my-gpt"),
        ("/openai/deployments/my%20gpt/embeddings?api-version=2024-10-21", "openai_embeddings", "my gpt"),
        ("/proxy/openai/deployments/d/chat/completions", "openai_chat", "d"),
        ("/openai/v1/responses?api-version=preview", "openai_responses", ""),
        ("/openai/v1/chat/completions", "openai_chat", ""),
        ("/openai/v1/embeddings", "openai_embeddings", ""),
        ("/anthropic/v1/messages", "anthropic_messages", ""),
        ("/v1/responses?next=/openai/deployments/d/responses", "openai_responses", ""),
        ("/openai/deployments/", None, ""),
        ("", None, ""),
    ],
)
def test_paths(path: str, format_: str | None, model: str) -> None:
    """Readers are found by the end of the path; a deployment in it is the model of a body that names none."""
    reader = reader_for(path)
    assert (reader.format if reader else None) == format_
    assert model_in_path(path) == model
    other = path_with_model(path, "an/other one")
    assert model_in_path(other) == ("an/other one" if model else "")
    assert path_with_model(other, model) == path


def error(code: Any, message: str, **fields: Any) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, **fields}}).encode()


LIMITED = (
    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-01-preview have exceeded "
    "{} rate limit of your current AIServices S0 pricing tier. Please retry after 37 seconds. Please contact Azure "
    "support service if you would like to further increase the default rate limit."
)


@pytest.mark.parametrize(("what", "kind"), [("token", "tokens"), ("call", "requests")])
@pytest.mark.parametrize("code", ["429", 429, "RateLimitReached"])
def test_429(what: str, kind: str, code: Any) -> None:
    """The text says which limit it was and how long to wait; a code that repeats the status says nothing more."""
    seen = read_error(429, error(code, LIMITED.format(what)))
    assert (seen.outcome, seen.retryable, seen.limit_kind, seen.retry_after_s) == ("throttled", True, kind, 37.0)
    assert seen.code == str(code)
    assert seen.limit is None


def test_gateway_429() -> None:
    """API Management in front answers in a shape of its own."""
    seen = read_error(429, b'{ "statusCode": 429, "message": "Rate limit is exceeded. Try again in 4 seconds." }')
    assert (seen.outcome, seen.retry_after_s) == ("throttled", 4.0)


def test_content_filter() -> None:
    """A prompt that the filter refuses is a client's error, and never tried again."""
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    seen = read_error(400, error("content_filter", text, status=400, innererror=inner))
    assert (seen.outcome, seen.retryable, seen.code) == ("client_error", False, "content_filter")


def test_no_capacity() -> None:
    """High demand is an overload, whatever the status."""
    assert read_error(429, error("NoCapacity", "The system is experiencing high demand.")).outcome == "overloaded"


def test_headers() -> None:
    """Remaining without a limit, -1 for unknown, bare seconds, milliseconds to wait, and the gateway's request id."""
    snapshot = read_limits(
        (
            ("apim-request-id", "bb943c68"),
            ("x-ratelimit-remaining-requests", "79"),
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-ratelimit-reset-tokens", "55"),
            ("retry-after-ms", "1250"),
            ("retry-after", "2"),
        ),
        0.0,
    )
    assert snapshot is not None
    assert snapshot.requests == LimitReading(remaining=79)
    assert snapshot.tokens == LimitReading(reset_s=55.0)
    assert (snapshot.retry_after_s, snapshot.request_id) == (1.25, "bb943c68")
    both = read_limits((("apim-request-id", "a"), ("x-request-id", "x")), 0.0)
    assert both is not None
    assert both.request_id == "x"


def test_what_the_sdk_sends() -> None:
    """The Azure client of the SDK puts the deployment into the path, where it is found."""
    seen: list[httpx2.Request] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(400, content=b"{}")

    http = openai.DefaultHttpxClient(transport=httpx2.MockTransport(serve))
    client = openai.AzureOpenAI(
        api_key="k", azure_endpoint="http://sim", azure_deployment="my-gpt", api_version="2024-10-21", http_client=http
    )
    with client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hi"}])
    target = seen[0].url.raw_path.decode()
    reader = reader_for(target)
    assert reader is not None
    assert (reader.format, model_in_path(target)) == ("openai_chat", "my-gpt")
