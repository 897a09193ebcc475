"""Workers and the process that started them: what one of them does wrong stays its own trouble."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from headway.errors import ConfigError
from headway.gateway import reload as reloading
from headway.gateway import server, watching
from headway.gateway.environment import EnvFile
from headway.gateway.hub.hub import Hub, Seat
from headway.gateway.hub.member import Member
from headway.gateway.hub.messages import Figures, Give, Ready, Reload, Reloaded, StatesAsked, Taken
from headway.gateway.listening import listen
from headway.gateway.reload import Reloader
from headway.gateway.settings import ServeSettings
from headway.policy.common_limits import Slice
from headway.policy.shared_limits import SharedMark
from headway.telemetry.states import merged, packed, unpacked
from headway.testing import FakeProvider

pytestmark = pytest.mark.usefixtures("each_loop")


class Worker:
    """One at the other end of a seat: whether it finds the configuration right, and whether it can use it."""

    def __init__(self, hub: Hub, pid: int, *, right: bool = True, usable: bool = True) -> None:
        self.seat = Seat(hub, pid, lambda: None)
        hub.seats.append(self.seat)
        self.seat.link.send = self.heard  # type: ignore[method-assign]
        self.right, self.usable = right, usable
        self.has_new = False

    def heard(self, message: Any) -> bool:
        assert isinstance(message, Reload)
        ok = self.right if message.check else self.usable
        self.has_new = self.has_new or (ok and not message.check)
        answer = Reloaded(message.id, ok, "read anew" if ok else f"worker {self.seat.pid} cannot")
        asyncio.get_running_loop().call_soon(self.seat._came, answer)
        return True


def test_where_any_worker_finds_it_wrong_none_changes():
    """The first may have read the file a moment before it was spoilt."""

    async def main() -> None:
        hub = Hub()
        workers = [Worker(hub, n, right=n != 2) for n in (1, 2, 3)]
        for one in workers:
            one.seat._came(Ready())
        ok, said = await hub.reload()
        assert (ok, [one.has_new for one in workers]) == (False, [False] * 3)
        assert said.startswith("the configuration in service stays")
        assert said.endswith("worker 2 cannot")

    asyncio.run(main())


def test_a_half_reload_is_told_as_one():
    """A disk that refuses the second: the sentence says how many have the new configuration."""

    async def main() -> None:
        hub = Hub()
        workers = [Worker(hub, n, usable=n != 2) for n in (1, 2, 3)]
        for one in workers:
            one.seat._came(Ready())
        ok, said = await hub.reload()
        assert (ok, [one.has_new for one in workers]) == (False, [True, False, True])
        assert said.startswith("2 of 3 workers have the new configuration")
        assert "worker 2 cannot" in said

    asyncio.run(main())


def test_a_worker_that_was_starting_is_told_when_it_takes_requests():
    """It may have read the old file. One that was started later has read the new one, and is left alone."""

    async def main() -> None:
        told: list[str] = []
        hub = Hub(told.append)
        early, broken = Worker(hub, 1), Worker(hub, 2, usable=False)
        assert (await hub.reload())[0]
        late = Worker(hub, 3)
        for one in (early, broken, late):
            assert not one.has_new
            one.seat._came(Ready())
        await asyncio.sleep(0.01)
        assert [one.has_new for one in (early, broken, late)] == [True, False, False]
        assert [one for one in told if "worker 2 cannot" in one] == told != []
        await hub.aclose()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_answers_a_reload_whatever_comes_of_it():
    """The next reload waits for that answer without limit."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            member, said = Member(ours), []
            member._link.send = lambda message: said.append(message) or True  # type: ignore[method-assign]

            async def fails() -> str:
                raise TypeError("nobody has thought of that")

            member._reloader = SimpleNamespace(reload=fails, check=fails)  # type: ignore[assignment]
            for number, check in ((7, True), (8, False)):
                with pytest.raises(TypeError):
                    await member._do_reload(Reload(number, check))
            assert [(one.id, one.ok) for one in said] == [(7, False), (8, False)]

    asyncio.run(main())


def test_a_slice_that_comes_too_late_goes_back():
    """Nobody waits for it any more, and the hub has booked it."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            member = Member(ours)
            said: list[Any] = []
            member.limits._tell = said.append
            member._came(Taken(99, "scope", Slice(3.0, 40.0, 0.0, SharedMark(1.0, 1.0, 0.0, 0.0))))
            member._came(Taken(100, "scope", Slice(wait_s=1.0)))
            assert said == [Give("scope", (3.0, 40.0), known=True)]

    asyncio.run(main())


def test_a_worker_that_dies_while_it_is_asked_is_counted_once():
    """Its last figures are kept when it leaves; the answer that waits for it must not bring them a second time."""
    name, labels = "headway_requests_total", ("/v1/responses", "m", "ok", "2xx")

    async def main() -> None:
        hub, said = Hub(), []
        asking, dying = Seat(hub, 1, lambda: None), Seat(hub, 2, lambda: None)
        hub.seats += [asking, dying]
        asking.link.send = lambda message: said.append(message) or True  # type: ignore[method-assign]
        dying.link.send = lambda message: True  # type: ignore[method-assign]  # it is asked, and says nothing any more
        dying._came(Ready())
        dying._came(Figures(packed({name: {labels: [7]}})))
        hub.came(asking, StatesAsked(5))
        await asyncio.sleep(0)
        dying._left()
        await asyncio.gather(*hub._work)
        (answer,) = said
        assert merged(unpacked(one.meters) for one in answer.states)[name] == {labels: [7]}
        await hub.aclose()

    asyncio.run(asyncio.wait_for(main(), 5))


def reloader(make: Any, said: list[str], env: str = "") -> Reloader:
    settings = ServeSettings(port=0, env_file=env)
    told = SimpleNamespace(tell=lambda event, sentence, **_: said.append(sentence))
    serving = SimpleNamespace(settings=settings, said=told)
    standing = SimpleNamespace(plan=SimpleNamespace(settings=None))
    return Reloader(serving, standing, EnvFile(env), make, lambda: ((), ()), 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), RecursionError("deep"), OSError(28, "full")])
def test_an_odd_failure_is_a_sentence_and_later_reloads_work(monkeypatch, error):
    """In one process: not a bare traceback, after which nobody knows what is in service."""
    monkeypatch.setattr(reloading, "planned", lambda _: SimpleNamespace(settings=None))
    monkeypatch.setattr(reloading, "_changed", lambda *_: ["log"])

    def make(*_: object) -> Any:
        raise error

    async def main() -> list[str]:
        said: list[str] = []
        made = reloader(make, said)
        with pytest.raises(ConfigError, match="cannot be put into service"):
            await made.reload()
        for turn in (1, 2):
            made.ask()
            while len(said) < turn:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return said

    said = asyncio.run(main())
    assert all(one.startswith("the configuration in service stays") for one in said)


def test_a_look_changes_nothing(tmp_path, monkeypatch):
    """Not even the variables of the file that is read with it."""
    env = tmp_path / "env"
    env.write_text("HUB_TEST_NAME=new\n")
    monkeypatch.delenv("HUB_TEST_NAME", raising=False)
    seen: list[str | None] = []
    import os

    monkeypatch.setattr(reloading, "planned", lambda _: seen.append(os.environ.get("HUB_TEST_NAME")))
    asyncio.run(reloader(None, [], str(env)).check())
    assert (seen, os.environ.get("HUB_TEST_NAME")) == (["new"], None)


def test_a_reload_that_waits_for_an_old_stream_says_so(monkeypatch):
    """Too many old configurations still answer."""
    monkeypatch.setattr(reloading, "planned", lambda _: SimpleNamespace(settings=None))
    monkeypatch.setattr(reloading, "_changed", lambda *_: [])

    async def main() -> None:
        said: list[str] = []
        made = reloader(None, said)
        streaming = asyncio.get_running_loop().create_future()

        async def old() -> None:
            await streaming
            made._retired.clear()

        made._retired = [(None, asyncio.ensure_future(old()))] * reloading.RETIRED_MAX  # type: ignore[list-item]
        waiting = asyncio.ensure_future(made.reload())
        await asyncio.sleep(0.01)
        assert len(said) == 1
        assert "a reload waits until the oldest has ended" in said[0]
        streaming.set_result(None)
        assert "as it was" in await waiting

    asyncio.run(main())


def test_a_worker_leaves_the_hub_last(tmp_path, monkeypatch):
    """Who has left is taken to have ended, and is killed where it has not: a collector of traces may be slow."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    order: list[str] = []

    @asynccontextmanager
    async def traced(_: object):
        yield
        order.append("traces")

    class Fake:
        limits = None

        def join(self, serving: Any, reloader: Any, end: Any) -> None:
            pass

        async def leave(self) -> None:
            order.append("left")

    monkeypatch.setattr(server, "traced", traced)

    async def main() -> None:
        settings, stop = (
            ServeSettings(port=0, engine={"base_url": "http://127.0.0.1:9/v1", "api_key": "k"}),
            asyncio.Event(),
        )
        stop.set()
        await server.run(
            settings,
            listen(settings),
            handler=FakeProvider([200]),
            stop=stop,
            member=Fake(),  # type: ignore[arg-type]
        )

    asyncio.run(main())
    assert order == ["traces", "left"]


def test_at_the_end_nobody_is_killed_for_taking_his_time(tmp_path, monkeypatch):
    """Only `_stop` ends those that take too long then."""
    monkeypatch.setattr(watching, "_EXIT_S", 0.05)

    async def main() -> None:
        workers = watching.Workers(ServeSettings(port=0, workers=2))
        workers._ending = True
        place = workers._places[0]
        place.child = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220 - it takes milliseconds
        try:
            assert await workers._exit_code(place) is None
            assert place.child.poll() is None
            workers._ending = False
            assert await workers._exit_code(place) == -signal.SIGKILL
        finally:
            place.child.kill()
            place.child.wait()
            workers._place.close()

    asyncio.run(main())


def test_a_worker_that_hangs_before_it_is_ready_is_ended(tmp_path, monkeypatch, capfd):
    """At the first start that is the end, and not a wait without one."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(watching, "READY_S", 0.3)
    monkeypatch.setattr(watching, "WATCH_S", 0.1)
    monkeypatch.setattr(watching, "sys", SimpleNamespace(executable=str(sleeper)))

    async def main() -> None:
        async with asyncio.timeout(20):
            await watching.Workers(ServeSettings(port=0, workers=2, drain_s=1.0)).run(None)

    with pytest.raises(ConfigError, match="a worker did not start"):
        asyncio.run(main())
    assert "takes no requests after 0.3 s" in capfd.readouterr().err


HELD = """
import asyncio, os, signal
from headway.gateway.hangup import Hangup, held_back
async def main():
    Hangup(lambda: print("reload"), lambda: None).watch(asyncio.get_running_loop())
    await asyncio.sleep(0.05)
with held_back():
    os.kill(os.getpid(), signal.SIGHUP)
    print("lives", flush=True)
    asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal")
def test_a_hangup_that_comes_early_is_a_reload_later():
    """Not the end of a gateway that is only starting."""
    found = subprocess.run(
        [sys.executable, "-c", HELD], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout.split()) == (0, ["lives", "reload"])
