"""What passes through has a row in the call log, like any call."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from headway.errors import ConnectionLost
from headway.store.call_reader import CallLogReader
from headway.types import Call, Reply
from tests.gateway.helpers import JSON, gateway

HOME = "http://up.test/v1"


class Provider:
    """Speech, as it comes; or a list, at once."""

    def __init__(self, *chunks: bytes | Exception, status: int = 200) -> None:
        self.chunks = chunks
        self.status = status

    async def __call__(self, call: Call) -> Reply:
        if not self.chunks:
            return Reply(self.status, JSON, b"{}", trace=call.trace)
        call.trace.sent_at_s = asyncio.get_running_loop().time()
        return Reply(self.status, (("content-type", "audio/mpeg"),), chunks=self._coming(), trace=call.trace)

    async def _coming(self):
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


def rows(tmp_path, provider, method, path, *, left=False):
    """The calls and the tries of one request; left: the client goes after the first bytes."""
    log = str(tmp_path / "calls.sqlite")

    async def main():
        async with gateway(provider, base_url=HOME, log=log) as url, httpx2.AsyncClient() as client:
            try:
                async with client.stream(method, url + path, content=b"{}" if method == "POST" else None) as reply:
                    async for _ in reply.aiter_raw():
                        if left:
                            break
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(main(), 20))
    with CallLogReader(log) as reader:
        return list(reader.calls()), list(reader.attempts())


def test_an_answer_that_passes_through_is_a_call_with_one_try(tmp_path):
    """Its size and its times are known, what it cost is not: that is no zero."""
    (call,), (attempt,) = rows(tmp_path, Provider(b"spo", b"ken"), "POST", "/v1/audio/speech")
    assert (call.path, call.outcome, call.status, call.reply_bytes) == ("/v1/audio/speech", "ok", 200, 6)
    assert (call.attempts, call.cache, call.upstream, call.flight_id) == (1, "off", "http://up.test", call.id)
    assert (attempt.outcome, attempt.flight_id, attempt.reply_bytes) == ("ok", call.id, 6)
    assert call.dollars is None
    assert call.first_content_s is not None


def test_what_is_only_looked_up_costs_nothing(tmp_path):
    """A GET is charged by nobody."""
    (call,), (attempt,) = rows(tmp_path, Provider(), "GET", "/v1/assistants")
    assert (call.outcome, call.dollars, attempt.dollars, call.reply_bytes) == ("ok", 0.0, 0.0, 2)


@pytest.mark.parametrize(
    ("provider", "outcome", "code"),
    [
        (Provider(status=404), "client_error", "404"),
        (Provider(status=500), "server_error", "500"),
        (Provider(b"spo", ConnectionLost("cut off")), "connection_lost", "connection_lost"),
    ],
)
def test_failures_are_told_apart(tmp_path, provider, outcome, code):
    """An error answer, and an answer that breaks off."""
    (call,), (attempt,) = rows(tmp_path, provider, "POST", "/v1/audio/speech")
    assert (call.outcome, call.error_code) == (attempt.outcome, attempt.error_code) == (outcome, code)


def test_a_client_that_leaves_has_abandoned_it(tmp_path):
    """What it got is counted."""
    many = tuple(bytes(100_000) for _ in range(1_000))
    (call,), _ = rows(tmp_path, Provider(*many), "POST", "/v1/audio/speech", left=True)
    assert call.outcome == "abandoned"
    assert 0 < call.reply_bytes < 100_000_000
