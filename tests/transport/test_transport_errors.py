"""Failures as an SDK's user sees them, and how many attempts they cost."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import httpx
import httpx2
import openai
import pytest

import headway
from headway import BadReply, ConnectFailed, ConnectionLost, DeadlineExceeded, ProviderTimeout
from headway.testing import FakeProvider, Step, virtual_run

from .sdk import HOME, MODEL, QUIET, async_openai, sync_openai

CHUNKS = (b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n',)


def failing(provider, **settings):
    """Ask once over the SDK with its own two retries on; what it raises."""

    async def main():
        async with async_openai(provider, **settings) as client:
            with pytest.raises(openai.OpenAIError) as caught:
                await client.responses.create(model=MODEL, input="x")
            return caught.value

    return virtual_run(main)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError)],
)
def test_a_final_answer_is_not_tried_again_by_the_sdk(status, expected):
    """Exactly `attempts_max` tries reach the provider, not three times as many."""
    provider = FakeProvider([status])
    error = failing(provider, attempts_max=3, timeout_s=60)
    assert type(error) is expected
    assert error.response.headers["x-should-retry"] == "false"
    if status != 429:  # refusals for pace have a bound of their own
        assert provider.calls == 3
        assert error.response.headers["headway-attempts"] == "3"


def test_a_billing_refusal_is_final_at_once():
    """429 insufficient_quota: one attempt in all."""
    body = b'{"error":{"message":"no money","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}'
    provider = FakeProvider([Step(status=429, body=body)])
    assert isinstance(failing(provider), openai.RateLimitError)
    assert provider.calls == 1


@pytest.mark.parametrize(
    ("error", "expected", "family"),
    [
        (ConnectFailed("refused"), openai.APIConnectionError, httpx2.ConnectError),
        (ProviderTimeout("silent"), openai.APITimeoutError, httpx2.ReadTimeout),
        (ConnectionLost("reset"), openai.APIConnectionError, httpx2.ReadError),
        (BadReply("nonsense"), openai.APIConnectionError, httpx2.RemoteProtocolError),
    ],
)
def test_no_answer_costs_our_attempts_alone(error, expected, family):
    """The SDK tries again after an exception; its tries get the same failure without an attempt."""
    provider = FakeProvider([error])
    raised = failing(provider, attempts_max=2)
    assert type(raised) is expected
    assert type(raised.__cause__) is family
    assert type(raised.__cause__.__cause__) is type(error)
    assert provider.calls == 2


def test_a_connect_timeout_is_told_from_a_refusal():
    """Both are `ConnectFailed`; what the connection ended with decides the family's word."""
    error = ConnectFailed("late")
    error.__cause__ = TimeoutError()
    raised = failing(FakeProvider([error]), attempts_max=1)
    assert type(raised) is openai.APITimeoutError
    assert type(raised.__cause__) is httpx2.ConnectTimeout


def test_a_failure_is_remembered_for_the_sdks_own_tries_only():
    """A call that the program makes anew is a new call; so is another body, and one after a while."""
    provider = FakeProvider([ConnectFailed("down"), 200])

    async def main():
        async with headway.async_client(handler=provider, attempts_max=1, **QUIET) as client:

            async def post(text, count):
                headers = {"x-stainless-retry-count": str(count)}
                return await client.post(HOME + "/responses", json={"model": MODEL, "input": text}, headers=headers)

            with pytest.raises(httpx2.ConnectError):
                await post("x", 0)
            with pytest.raises(httpx2.ConnectError):
                await post("x", 1)
            assert provider.calls == 1
            assert (await post("y", 1)).status_code == 200
            await asyncio.sleep(60)
            assert (await post("x", 2)).status_code == 200
            assert (await post("x", 0)).status_code == 200

    virtual_run(main)


def test_the_deadline_is_a_timeout():
    """headway-deadline passes: APITimeoutError, at that time, the provider asked once."""
    provider = FakeProvider([Step(delay_s=100)])

    async def main():
        async with async_openai(provider) as client:
            start_s = asyncio.get_running_loop().time()
            with pytest.raises(openai.APITimeoutError) as caught:
                await client.responses.create(model=MODEL, input="x", extra_headers={"headway-deadline": "3"})
            assert isinstance(caught.value.__cause__.__cause__, DeadlineExceeded)
            return asyncio.get_running_loop().time() - start_s

    assert 3 <= virtual_run(main) < 10  # the SDK's own pauses included
    assert provider.calls == 1


def test_a_full_queue_is_a_rate_limit():
    """429 of our own, with our sentence, final."""
    provider = FakeProvider([Step(delay_s=1000)])

    async def main():
        async with async_openai(provider, queue_max=1, requests_per_min=1) as client:
            ask = [client.responses.create(model=MODEL, input=str(n)) for n in range(12)]
            tasks = [asyncio.create_task(one) for one in ask]
            await asyncio.sleep(1)
            failed = [task.exception() for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return failed

    failed = virtual_run(main)
    assert failed
    assert {type(error) for error in failed} == {openai.RateLimitError}
    assert failed[0].code == "queue_full"


def test_a_spent_budget_is_402():
    """Not a RateLimitError, which programs wait out: 402, code budget, nothing sent."""
    provider = FakeProvider()
    error = failing(provider, budget_usd=1e-9)
    assert isinstance(error, openai.APIStatusError)
    assert (error.status_code, error.code) == (402, "budget")
    assert provider.calls == 0


@pytest.mark.parametrize("family", ["httpx2", "httpx"])
def test_a_stream_that_breaks_raises_the_familys_error(family):
    """After the commit point a broken stream is an exception of the caller's family, async and sync."""
    package = {"httpx2": httpx2, "httpx": httpx}[family]
    provider = FakeProvider([Step(chunks=CHUNKS, error=ConnectionLost("reset"))])
    post = {"method": "POST", "url": HOME + "/responses", "json": {"model": MODEL, "input": "x", "stream": True}}

    async def main():
        http = headway.async_client(family=family, handler=provider, **QUIET)
        async with http as client, client.stream(**post) as response:
            with pytest.raises(package.ReadError, match="reset") as caught:
                [chunk async for chunk in response.aiter_raw()]
            assert isinstance(caught.value.__cause__, ConnectionLost)

    virtual_run(main)
    http = headway.client(family=family, handler=provider, **QUIET)
    with http as client, client.stream(**post) as response, pytest.raises(package.ReadError, match="reset"):
        list(response.iter_raw())


def test_sync_failures_are_the_same():
    """The SDK's sync client: our attempts alone, the SDK's exception."""
    provider = FakeProvider([ConnectFailed("down")])
    with sync_openai(provider, attempts_max=1, max_retries=1) as client, pytest.raises(openai.APIConnectionError):
        client.responses.create(model=MODEL, input="x")
    assert provider.calls == 1


def test_a_joiner_is_told_a_connect_timeout_like_the_leader():
    """Its copy of the error used to lose the cause, and with it the difference between late and refused."""

    async def provider(call):
        await asyncio.sleep(1)
        raise ConnectFailed("late") from TimeoutError()

    async def main():
        async with async_openai(provider, cache="memory", attempts_max=1, max_retries=0) as client:
            asked = [client.responses.create(model=MODEL, input="x") for _ in range(2)]
            return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(error.__cause__) for error in virtual_run(main)] == [httpx2.ConnectTimeout] * 2


def test_a_remembered_failure_has_its_row(tmp_path):
    """The SDK's own next tries used to leave nothing in the call log."""
    log = tmp_path / "calls.sqlite"
    provider = FakeProvider([ProviderTimeout("silent", maybe_billed=True)])
    failing(provider, attempts_max=1, log=str(log))
    assert provider.calls == 1
    with closing(sqlite3.connect(log)) as rows:
        found = rows.execute(
            "select outcome, attempts, dollars, maybe_billed from calls order by start_wall_s"
        ).fetchall()
    assert [row[0] for row in found] == ["provider_timeout"] * 3
    assert [row[1] for row in found] == [1, 0, 0]
    assert [row[2:] for row in found[1:]] == [(0.0, 0)] * 2
