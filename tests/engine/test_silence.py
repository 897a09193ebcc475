"""Streams that stay open and say nothing: pings are no answer."""

from __future__ import annotations

import pytest

from headway import Engine, ProviderTimeout
from headway.testing import FakeProvider, Step, virtual_run

PATH = "/v1/chat/completions"
STREAM = {"model": "gpt-5.4-mini", "messages": [], "stream": True}
PING, WORD = b": ping\n\n", b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def run(provider, **settings):
    async def main():
        async with Engine(handler=provider, log="off", log_level="off", api_key="k", seed=1, **settings) as engine:
            reply = await engine.send(PATH, STREAM)
            return await reply.read()

    return virtual_run(main)


def test_pings_alone_are_a_timeout():
    """They keep the connection open for ever; the first word has a limit of its own, after the commit by time, too."""
    provider = FakeProvider([Step(chunks=(PING,) * 1000, chunk_delay_s=5.0)])
    with pytest.raises(ProviderTimeout, match="without a word of the answer for 60 s") as error:
        run(provider, first_content_timeout_s=60.0, attempts_max=1)
    assert error.value.maybe_billed
    assert provider.open == 0


def test_silence_before_the_commit_point_is_tried_again():
    """Nothing was handed on yet, so another try may answer."""
    provider = FakeProvider([Step(chunks=(PING,) * 1000, chunk_delay_s=1.0), Step(chunks=(WORD, DONE))])
    assert run(provider, first_content_timeout_s=8.0) == WORD + DONE
    assert provider.calls == 2


def test_an_answer_that_has_begun_may_take_its_time():
    """The limit is for the first word, not for the whole."""
    provider = FakeProvider([Step(chunks=(PING, WORD, WORD, DONE), chunk_delay_s=5.0)])
    assert run(provider, first_content_timeout_s=12.0) == PING + WORD + WORD + DONE
