"""The loop of a gateway's process: which one, and that uvloop's keeps time like asyncio's."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.gateway.loops import loop_factory
from tests.gateway.test_gateway_serve import get, served

LOOPS = [("auto", True), ("uvloop", True), ("asyncio", False)]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is loaded is read in /proc")
@pytest.mark.parametrize(("kind", "uv"), LOOPS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_runs_on_the_loop_it_was_told(kind, uv, workers):
    """The process that serves has uvloop loaded, or has it not; workers too."""
    pytest.importorskip("uvloop")
    with served("--loop", kind, "--workers", workers, "--base-url", "http://127.0.0.1:9/v1") as (child, url):
        assert get(f"{url}/healthz") == b"ok\n"
        children = [*Path(f"/proc/{child.pid}/task/{child.pid}").joinpath("children").read_text().split()]
        assert len(children) == (0 if workers == "1" else 2)
        for pid in children or [str(child.pid)]:
            assert ("/uvloop/" in Path(f"/proc/{pid}/maps").read_text()) is uv


def test_uvloop_that_is_not_installed(monkeypatch):
    """Asked for by name it is missed, in a sentence; else asyncio's takes its place."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory("auto") is asyncio.new_event_loop
    for more in (["--check"], [], ["--workers", "2"]):
        done = CliRunner().invoke(app, ["serve", "--port", "0", "--loop", "uvloop", *more])
        assert done.exit_code == 2
        assert "--loop uvloop: it is not installed; run `pip install uvloop`, or leave --loop out" in done.stderr


def test_uvloop_keeps_time_like_asyncio():
    """Its clock tells more than milliseconds, and a timer that is due in less than one does wait."""
    uvloop = pytest.importorskip("uvloop")

    async def main():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, uvloop.Loop)
        assert any(loop.time() * 1e3 % 1.0 > 1e-3 for _ in range(20))
        for timer in (loop.call_later(0.0003, print), loop.call_at(loop.time() + 0.0003, print)):
            assert isinstance(timer.when(), float)  # what comes in the next turn has no such moment
            timer.cancel()
        loop.call_later(float("inf"), print).cancel()
        early_s = []
        for step in range(20):
            at_s = loop.time() + 0.0001 * step
            future = loop.create_future()
            loop.call_at(at_s, future.set_result, None)
            await future
            early_s.append(at_s - loop.time())
        assert max(early_s) < 0.001  # by a coarse clock's tick, on some systems

    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        runner.run(main())
