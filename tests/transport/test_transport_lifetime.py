"""Engines behind clients: one per loop and configuration, across threads and forks, closed at the right time."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import openai
import pytest

import headway
from headway.engine.registry import registry
from headway.testing import FakeProvider, Step
from headway.transport import synchronous
from headway.types import Reply

from .sdk import HOME, MODEL, QUIET, async_openai, sync_openai

PATIENCE_S = 20.0


async def ask(client, text="x"):
    """One answer's text."""
    return (await client.responses.create(model=MODEL, input=text)).output_text


def engine_of(http):
    """The engine that a client uses on the running loop."""
    return http._transport._opened[asyncio.get_running_loop()].engine


def test_a_client_works_on_two_loops_one_after_the_other():
    """Made before any loop, used under asyncio.run twice: an engine each, the first closed with its loop."""
    provider = FakeProvider()
    client = async_openai(provider)
    seen = []

    async def main():
        assert await ask(client) == "ok"
        seen.append(engine_of(client._client))

    asyncio.run(main())
    asyncio.run(main())
    first, second = seen
    assert first is not second
    assert first._closed
    assert second._closed


def test_equal_settings_share_an_engine_and_the_last_client_closes_it():
    """Two clients, one engine; another setting, another engine."""
    provider = FakeProvider()

    async def main():
        one, two, other = (async_openai(provider, cache_ttl_s=ttl) for ttl in (5, 5, 6))
        for client in (one, two, other):
            await ask(client)
        engine = engine_of(one._client)
        assert engine_of(two._client) is engine
        assert engine_of(other._client) is not engine
        await one.close()
        assert await ask(two) == "ok"
        await two.close()
        assert engine._closed
        assert await ask(other) == "ok"

    asyncio.run(main())


def test_a_client_that_nobody_closed_leaves_its_engine_to_the_next():
    """A client made per request keeps cache and connections: the engine lives as long as the loop."""
    provider = FakeProvider()

    async def main():
        for _ in range(3):
            await ask(async_openai(provider, cache="memory"))
            gc.collect()

    asyncio.run(main())
    assert provider.calls == 1


def test_closed_loops_are_let_go_of():
    """A loop that was closed without asyncio.run's care is forgotten with the next one."""
    provider = FakeProvider()
    client = async_openai(provider)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask(client))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    asyncio.run(ask(client))
    gc.collect()
    assert gone() is None


def test_closing_ends_what_is_under_way():
    """A call that waits when its client's engine is closed gets the family's error, and no task is left."""
    provider = FakeProvider([Step(delay_s=1000)])

    async def main():
        client = async_openai(provider, max_retries=0)
        task = asyncio.create_task(ask(client))
        await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(openai.APIConnectionError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_one_sync_client_from_eight_threads():
    """All answers arrive, each with its own text, through one engine."""

    async def echo(call):
        return await FakeProvider([Step(text=call.body.decode())])(call)

    got = {}
    with sync_openai(echo) as client:

        def work(n):
            for k in range(10):
                text = f"t{n}-{k}"
                got[text] = client.responses.create(model=MODEL, input=text).output_text

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert len(got) == 80
    assert all(text in body for text, body in got.items())


def test_eight_sync_streams_at_once():
    """Streams of several threads do not mix."""
    provider = FakeProvider([Step(text="a b c d e f g h")])
    got = []
    with sync_openai(provider) as client:

        def work():
            stream = client.responses.create(model=MODEL, input="x", stream=True)
            got.append("".join(e.delta for e in stream if e.type == "response.output_text.delta"))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert got == ["a b c d e f g h"] * 8
    assert provider.open == 0


def test_a_sync_stream_left_early_is_ended():
    """Closing half-way, or losing the stream, closes the provider's."""
    gone = threading.Event()

    class Watched(FakeProvider):
        async def __call__(self, call):
            reply = await super().__call__(call)
            closing = reply._close

            async def close():
                await closing()
                gone.set()

            reply._close = close
            return reply

    provider = Watched([Step(text="a b c d", chunk_delay_s=0.02)])
    with headway.client(handler=provider, **QUIET) as client:
        body = {"model": MODEL, "input": "x", "stream": True}
        for lost in (False, True):
            gone.clear()
            request = client.build_request("POST", HOME + "/responses", json=body)
            response = client.send(request, stream=True)
            next(response.iter_raw())
            if not lost:
                response.close()
            del response, request
            gc.collect()
            assert gone.wait(PATIENCE_S)


def test_ctrl_c_in_a_waiting_call_cancels_it():
    """KeyboardInterrupt reaches the program at once, and the attempt ends."""
    begun, gone = threading.Event(), threading.Event()

    async def slow(call):
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            gone.set()

    def interrupt():
        begun.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with sync_openai(slow) as client:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            client.responses.create(model=MODEL, input="x")
        assert gone.wait(PATIENCE_S)


def test_a_handler_may_not_call_its_own_sync_client():
    """On the background loop's thread a sync call would wait for itself: it is told so, and does not hang."""
    said = []

    async def handler(call):
        with headway.client(handler=FakeProvider(), **QUIET) as inner:
            said.append(inner.post(HOME + "/responses", json={"model": MODEL, "input": "x"}).text)
        return await FakeProvider()(call)

    with headway.client(handler=handler, **QUIET) as client:
        assert client.post(HOME + "/responses", json={"model": MODEL, "input": "x"}).status_code == 200
    assert "use Engine there" in said[0]


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, in which every warning is an error."""
    env = os.environ | {"HEADWAY_LOG": "off", "OPENAI_API_KEY": "k"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


HEAD = """
import asyncio, gc, os, sys, threading
import openai, headway
from headway.testing import FakeProvider
provider = FakeProvider()
def sync_client(**more):
    return openai.OpenAI(http_client=headway.client(handler=provider, **more))
def ask(client):
    return client.responses.create(model="m", input="x").output_text
"""


def test_a_program_that_closes_nothing_ends_quietly():
    """No warning and no traceback at interpreter exit: sync, sync and lost before, async."""
    code = """
    client = sync_client(cache=True)
    print(ask(client), ask(sync_client(cache="memory")))
    other = openai.AsyncOpenAI(http_client=headway.async_client(handler=provider, cache=True))
    async def main():
        print((await other.responses.create(model="m", input="y")).output_text)
    asyncio.run(main())
    """
    done = run(HEAD + textwrap.dedent(code))
    assert (done.stdout.split(), done.stderr, done.returncode) == (["ok"] * 3, "", 0)


def test_a_real_connection_left_open_ends_quietly():
    """The same over real sockets, where an unclosed one would be warned about; passing-through ones included."""
    code = """
    from headway.sim import SimSettings
    from headway.sim.server import serving
    with serving(SimSettings(latency_scale=0)) as url:
        client = openai.OpenAI(base_url=url, http_client=headway.client(cache=True))
        client.responses.create(model="gpt-5.4-mini", input="x")
        client.models.list()
        async def main():
            other = openai.AsyncOpenAI(base_url=url, http_client=headway.async_client(cache=True))
            await other.responses.create(model="gpt-5.4-mini", input="x")
            await other.models.list()
        asyncio.run(main())
        asyncio.run(main())
    print("ok")
    """
    done = run(HEAD + textwrap.dedent(code))
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("ok", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_a_loop_and_an_engine_of_its_own():
    """Parent and child both go on, with the client that was made and used before the fork."""
    code = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested here
    client = sync_client(cache="memory")
    ask(client)
    child = os.fork()
    if child == 0:
        print("child", ask(client), provider.calls, flush=True)
        client.close()
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", ask(client), provider.calls, flush=True)
    """
    done = run(HEAD + textwrap.dedent(code))
    # The child's cache is its own, so it asked once more; the parent's answered.
    assert done.stdout.splitlines() == ["child ok 2", "parent ok 1"]
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_registry_has_no_engines_after_their_loops():
    """Nothing is kept for loops that are over."""
    asyncio.run(ask(async_openai(FakeProvider())))
    assert all(not table or not loop.is_closed() for loop, table in registry()._tables.items())


def test_any_settings_can_be_compared():
    """Upstreams and named caches hold mappings: clients that have them share engines like all others."""
    settings = {
        "upstreams": [{"name": "a", "base_url": "https://x.test/v1", "stands_in_for": "https://provider.test"}],
        "caches": {"drafts": {}},
    }

    async def main():
        provider = FakeProvider()
        one, two, other = (async_openai(provider, **settings | more) for more in ({}, {}, {"cache": "memory"}))
        for client in (one, two, other):
            await ask(client)
        assert engine_of(one._client) is engine_of(two._client)
        assert engine_of(one._client) is not engine_of(other._client)

    asyncio.run(main())


def test_the_first_calls_of_several_threads_share_one_engine(monkeypatch):
    """One thread used to take back what another had opened meanwhile: that engine was never closed."""
    provider = FakeProvider()
    http = headway.client(handler=provider, **QUIET)
    opened, made = synchronous._Opened, []

    def one_at_the_same_time():
        made.append(None)
        if len(made) == 1:
            other = threading.Thread(target=http.post, args=(HOME + "/responses",), kwargs={"json": {"model": MODEL}})
            other.start()
            other.join(PATIENCE_S)
        return opened()

    monkeypatch.setattr(synchronous, "_Opened", one_at_the_same_time)
    assert http.post(HOME + "/responses", json={"model": MODEL}).status_code == 200
    assert len(made) == 2
    [shared] = [one.shared for one in http._transport._opened.values()]
    assert shared.users == 1
    http.close()
    assert shared.closed


def test_an_empty_chunk_is_not_the_end_of_a_sync_stream():
    """A handler's b"" used to end what passed through, where its reader was as fast."""
    taken = threading.Event()

    async def handler(call):
        async def chunks():
            yield b"one "
            await asyncio.to_thread(taken.wait, PATIENCE_S)
            yield b""
            yield b"two"

        return Reply(200, (), chunks=chunks(), trace=call.trace)

    with headway.client(handler=handler, **QUIET) as http, http.stream("GET", HOME + "/files/1") as response:
        parts = response.iter_raw()
        assert next(parts) == b"one "
        taken.set()
        assert b"".join(parts) == b"two"
