"""The engine's edges: arguments, loops, closing, and what may be shown of a call."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console
from rich.pretty import Pretty

from headway import Closed, ConfigError
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import BODY, RESPONSES, engine


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ({"priority": "urgent"}, 'priority must be a whole number, "low", "normal" or "high", not \'urgent\''),
        ({"priority": None}, "priority must be"),
        ({"deadline_s": float("nan")}, "deadline_s must be a number of seconds from now, not nan"),
        ({"deadline_s": "3"}, "deadline_s must be"),
        ({"cache": "bogus"}, 'cache must be "on", "off" or "refresh" for one call, not \'bogus\''),
    ],
)
def test_a_wrong_argument_is_named(argument, says):
    """One sentence, and nothing is sent."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            with pytest.raises(ConfigError) as caught:
                await e.send(RESPONSES, BODY, **argument)
            return str(caught.value)

    assert says in virtual_run(main)
    assert provider.calls == 0


@pytest.mark.parametrize("priority", ["low", "normal", "high", -3, 0, 7])
def test_priorities_are_names_or_numbers(priority):
    """Both are taken, with any deadline."""

    async def main():
        async with engine(FakeProvider()) as e:
            return (await e.send(RESPONSES, BODY, priority=priority, deadline_s=3)).status

    assert virtual_run(main) == 200


def test_an_engine_belongs_to_its_first_loop():
    """Timers and connections live on it: on another loop the engine says so instead of waiting for ever."""
    e = engine(FakeProvider())

    class Plain:
        path, repairs_max, bears_cutting = RESPONSES, 0, True

        def body(self, row):
            return b'{"model":"gpt-5.4-mini","input":"x"}'

        def key_body(self, row):
            return None

        def accept(self, text):
            return text

    async def first():
        return (await e.send(RESPONSES, BODY)).status

    async def enter():
        async with e:
            pass

    async def rows():
        return [result async for result in e.map([{}], Plain())]

    assert asyncio.run(first()) == 200
    for again in (first, enter, rows):
        with pytest.raises(ConfigError, match="open one per loop"):
            asyncio.run(again())


class Stubborn(FakeProvider):
    """Takes three seconds to let go."""

    async def __call__(self, call):
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(3)


def test_a_cancelled_close_can_be_finished():
    """Cancelled, it goes on behind; called again, it waits until all is closed. Twice at once closes once."""

    async def main():
        loop = asyncio.get_running_loop()
        e = engine(Stubborn(), cache="memory")
        call = asyncio.create_task(e.send(RESPONSES, BODY))
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(e.aclose(), 1)
        assert loop.time() == 2.0
        await asyncio.gather(e.aclose(), e.aclose())
        at_s = loop.time()
        with pytest.raises(Closed):
            await call
        with pytest.raises(Closed):
            await e.send(RESPONSES, BODY)
        await e.aclose()
        return at_s

    assert virtual_run(main) == 4.0


def test_an_engine_that_was_never_used_is_closed_for_good():
    """It does not open when it is asked after that."""

    async def main():
        e = engine(FakeProvider())
        await e.aclose()
        with pytest.raises(Closed):
            await e.send(RESPONSES, BODY)

    virtual_run(main)


def test_where_reuse_is_off_nothing_is_joined():
    """cache="on" for a call does not switch on what the engine has not, with or without a body for the key."""
    provider = FakeProvider([Step(delay_s=1)])
    key_body = b'{"model":"gpt-5.4-mini","input":"x"}'

    async def main():
        async with engine(provider) as e:
            await asyncio.gather(*[e.send(RESPONSES, BODY, cache="on", key_body=key_body) for _ in range(3)])

    virtual_run(main)
    assert provider.calls == 3


def test_headers_that_may_change_the_answer_make_another_answer():
    """In the cache as in the key; transport and tracing headers share it."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory") as e:
            for headers in ({}, {"x-behaviour": "1"}, {"cookie": "a"}, {"traceparent": "b"}, {"User-Agent": "c"}):
                await e.send(RESPONSES, BODY, headers=headers)

    virtual_run(main)
    assert provider.calls == 3


def test_the_log_keeps_a_short_digest_and_the_key_the_whole():
    """Caches and flights are kept apart by 256 bits; rows need but tell tenants apart."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            return (await e.send(RESPONSES, BODY)).trace.tenant

    short = virtual_run(main)
    (call,) = provider.seen
    assert (len(short), len(call.tenant)) == (16, 64)
    assert call.tenant.startswith(short)


def test_a_call_shows_neither_credential_nor_prompt():
    """Not to repr, and not to the rich traceback that shows a frame's locals."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            await e.send(f"{RESPONSES}?key=query-secret", BODY | {"input": "my private prompt"})

    virtual_run(main)
    (call,) = provider.seen
    console = Console(file=io.StringIO(), width=200)
    console.print(Pretty(call))
    for shown in (repr(call), str(call), console.file.getvalue()):
        assert "/v1/responses" in shown
        assert "authorization" in shown
        for secret in ("sk-test", "private", "query-secret"):
            assert secret not in shown


def test_control_headers_are_for_sdk_clients():
    """They used to be sent to the provider; `Engine.send` has arguments for what they say."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            with pytest.raises(ConfigError, match="cache=, priority="):
                await e.send(RESPONSES, BODY, headers={"Headway-Sample": "1"})

    asyncio.run(main())
    assert provider.calls == 0
