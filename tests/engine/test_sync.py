"""The sync twin: threads, forks and re-entry never hang; whoever cannot be served is told why."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import warnings

import pytest

from headway import Closed, ConfigError, HeadwayError, SyncEngine
from headway.engine.background import _Waiting
from headway.testing import FakeProvider, Step

from .helpers import BODY, RESPONSES

PATIENCE_S = 20.0


class Task:
    """Anything goes."""

    path = RESPONSES
    repairs_max = 0
    bears_cutting = False

    def body(self, row):
        return b'{"model":"gpt-5.4-mini","input":"x"}'

    def key_body(self, row):
        return None

    def accept(self, text):
        return text

    def repair(self, row, text, problem):
        return b""


def sync_engine(**step):
    return SyncEngine(handler=FakeProvider([Step(text="OK", **step)]), log="off", api_key="k", log_level="off")


def in_thread(work):
    """Run it in a thread that must end; what it raised, or None."""
    raised = []

    def run():
        try:
            work()
        except HeadwayError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, raised


@pytest.mark.parametrize("order", ["input", "completed"])
def test_closing_ends_a_map_in_another_thread(order):
    """Whoever iterates while another thread closes gets `Closed`, and never hangs."""
    for _ in range(10):
        e = sync_engine(delay_s=0.001)
        going = threading.Event()

        def work(e=e, going=going):
            for _ in e.map([{}] * 100_000, Task(), concurrency=8, order=order):
                going.set()

        thread, raised = in_thread(work)
        assert going.wait(PATIENCE_S)
        e.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert [type(error) for error in raised] == [Closed]


def test_closing_ends_a_call_in_another_thread():
    """A call under way gets `Closed`; so does one that comes later."""
    e = sync_engine(delay_s=1000)
    thread, raised = in_thread(lambda: e.send(RESPONSES, BODY))
    while not e.snapshot()["in_flight"]:
        pass
    e.close()
    thread.join(PATIENCE_S)
    assert [type(error) for error in raised] == [Closed]
    with pytest.raises(Closed, match="open a new one"):
        e.send(RESPONSES, BODY)


def test_two_threads_may_close():
    """Both return when it is closed."""
    e = sync_engine()
    e.send(RESPONSES, BODY)
    threads = [in_thread(e.close) for _ in range(2)]
    for thread, raised in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert raised == []


def test_a_map_left_open_at_close_leaves_nothing_behind(monkeypatch):
    """No task is destroyed while pending, no warning, no exception nobody sees."""
    unseen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unseen.append(args.exc_value))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = sync_engine()
        results = e.map([{}] * 50, Task(), concurrency=4)
        next(results)
        e.close()
        del results
        gc.collect()
    assert unseen == []


def test_the_rows_may_not_call_the_engine():
    """What runs on the loop's own thread would wait for itself: it is told to use Engine instead."""
    e = sync_engine()

    def rows():
        yield {"x": e.send(RESPONSES, BODY).status}

    thread, raised = in_thread(lambda: list(e.map(rows(), Task())))
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [ConfigError]
    assert "use Engine there" in str(raised[0])
    e.close()


def test_a_task_may_not_close_the_engine():
    """Nor may anything else on that thread."""

    class Closer(Task):
        def accept(self, text):
            e.close()

    e = sync_engine()
    thread, raised = in_thread(lambda: list(e.map([{}], Closer())))
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [ConfigError]
    e.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_told_to_open_its_own():
    """The thread stays in the parent: in the child a call is refused at once, and closing does the parent no harm."""
    e = sync_engine()
    e.send(RESPONSES, BODY)
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested here
        child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE_S))
        try:
            e.send(RESPONSES, BODY)
        except Closed as error:
            os.write(write, str(error).encode())
        finally:
            e.close()
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert "open the engine after forking" in said
    assert e.send(RESPONSES, BODY).status == 200
    e.close()


def test_a_call_may_name_its_cache():
    """As with `Engine.send`: the named cache serves it, an unknown one is an error."""
    provider = FakeProvider()
    with SyncEngine(handler=provider, log="off", cache="memory", caches={"faq": {}}) as engine:
        for _ in range(2):
            engine.send(RESPONSES, BODY, namespace="faq")
        assert engine.snapshot()["cache"]["namespaces"]["faq"]["hits"] == 1
        with pytest.raises(ConfigError, match="nowhere"):
            engine.send(RESPONSES, BODY, namespace="nowhere")
    assert provider.calls == 1


def test_work_that_is_cancelled_before_it_began_is_told_and_leaves_no_warning():
    """Its coroutine is closed, not left for the garbage collector to complain of."""

    async def work():
        await asyncio.sleep(1000)

    async def main():
        waiting = _Waiting(work())
        waiting.start()
        waiting.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert waiting.over.acquire(blocking=False)
        with pytest.raises(asyncio.CancelledError):
            waiting.result()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


def test_a_waiting_thread_is_woken_in_the_turn_that_ends_its_work():
    """Not one turn later, out of a callback: a sync call pays for every turn of the loop."""

    async def work():
        return "done"

    async def main():
        waiting = _Waiting(work())
        waiting.start()
        if sys.version_info < (3, 12):
            await asyncio.sleep(0)  # from 3.12 on it has run already
        assert waiting.over.acquire(blocking=False)
        return waiting.result()

    assert asyncio.run(main()) == "done"
