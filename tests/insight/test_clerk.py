"""The process beside the gateway: started when it is asked, ended after that, replaced when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.insight.clerk import Clerk, ClerkFailed
from headway.insight.desk import Ask
from tests.insight.rows import log_at, trace_of


def run(main: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(bounded())


async def calls(clerk: Clerk) -> int:
    """How many calls the first view tells of."""
    status, document = await clerk.ask(Ask(what="overview"))
    assert status == 200
    return int(msgspec.json.decode(document)["totals"]["calls"])


def environ_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def written(path: Path, count: int) -> None:
    import time

    log = log_at(path)
    for nth in range(count):
        log.write(trace_of(f"a{nth}", time.time()))
    log.close()


def test_it_is_one_process_for_all_who_ask(tmp_path: Path) -> None:
    """Asked at once from many sides."""
    path = tmp_path / "calls.sqlite"
    written(path, 3)

    async def main() -> None:
        clerk = Clerk(path)
        assert clerk.pid == 0
        assert await asyncio.gather(*[calls(clerk) for _ in range(20)]) == [3] * 20
        assert clerk.starts == 1
        await clerk.aclose()
        assert clerk.pid == 0

    run(main())


def test_it_does_not_get_the_providers_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything else of the environment that it has no use for."""
    for name in ("OPENAI_API_KEY", "LANGCHAIN_API_KEY", "HOMEBREW_TOKEN", "PYTHON_KEYRING_PW", "PATH_TO_SECRET"):
        monkeypatch.setenv(name, "sk-secret")

    async def main() -> None:
        clerk = Clerk(tmp_path / "none.sqlite")
        await calls(clerk)
        assert b"sk-secret" not in environ_of(clerk.pid)
        await clerk.aclose()

    run(main())


def test_it_runs_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has a library's name is only a file."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit(f'run: {__file__}')\n")
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        clerk = Clerk(tmp_path / "none.sqlite")
        assert await calls(clerk) == 0
        await clerk.aclose()

    run(main())


def test_one_that_dies_is_replaced(tmp_path: Path) -> None:
    """Who waits is told, and the next question is answered."""
    path = tmp_path / "calls.sqlite"
    written(path, 3)

    async def main() -> None:
        clerk = Clerk(path)
        await calls(clerk)
        os.kill(clerk.pid, signal.SIGSTOP)
        waiting = asyncio.ensure_future(calls(clerk))
        await asyncio.sleep(0.05)
        os.kill(clerk.pid, signal.SIGKILL)
        with pytest.raises(ClerkFailed, match="ended"):
            await waiting
        assert await calls(clerk) == 3
        assert clerk.starts == 2
        await clerk.aclose()

    run(main())


def test_one_that_hangs_is_replaced(tmp_path: Path) -> None:
    """Waiting is bounded."""
    path = tmp_path / "calls.sqlite"
    written(path, 3)

    async def main() -> None:
        clerk = Clerk(path, answer_s=5.0)
        await calls(clerk)
        clerk._answer_s = 0.2
        os.kill(clerk.pid, signal.SIGSTOP)
        with pytest.raises(ClerkFailed, match="in time"):
            await calls(clerk)
        clerk._answer_s = 5.0
        while True:
            try:
                assert await calls(clerk) == 3
                break
            except ClerkFailed:
                await asyncio.sleep(0.02)
        await clerk.aclose()

    run(main())


def test_it_ends_when_nobody_asks_any_more(tmp_path: Path) -> None:
    """And is there again when somebody does."""
    path = tmp_path / "calls.sqlite"
    written(path, 1)

    async def main() -> None:
        clerk = Clerk(path, idle_s=0.1)
        assert await calls(clerk) == 1
        pid = clerk.pid
        while clerk.pid or alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await calls(clerk) == 1
        await clerk.aclose()

    run(main())


def test_what_is_asked_at_once_is_bounded(tmp_path: Path) -> None:
    """More is refused at once."""

    async def main() -> None:
        clerk = Clerk(tmp_path / "none.sqlite")
        await calls(clerk)
        os.kill(clerk.pid, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(calls(clerk)) for _ in range(256)]
        await asyncio.sleep(0.05)
        with pytest.raises(ClerkFailed, match="more to do"):
            await calls(clerk)
        os.kill(clerk.pid, signal.SIGCONT)
        assert await asyncio.gather(*waiting) == [0] * 256
        await clerk.aclose()

    run(main())


def test_it_ends_with_its_gateway(tmp_path: Path) -> None:
    """However that ends: the end of its input is its own."""
    import subprocess
    import sys

    child = subprocess.Popen(
        [sys.executable, "-m", "headway.insight", str(tmp_path / "none.sqlite")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, _ = child.communicate(b'1 {"what":"overview"}\n', timeout=20)
    assert out.startswith(b"1 200 {")
    assert child.returncode == 0
