"""Several workers of one gateway: what they share, and what becomes of those that die, hang or are told to reload."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from headway.gateway import watching
from headway.gateway.keys import KeyStore
from headway.gateway.settings import ServeSettings
from headway.policy.keys import Key
from headway.sim import SimSettings
from headway.sim.server import serving
from tests.gateway.test_reload import ask, gateway


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)], capture_output=True, text=True)
    names = {int(one): Path(f"/proc/{one}/cmdline") for one in found.stdout.split()}
    return [pid for pid, path in names.items() if path.exists() and b"headway.gateway" in path.read_bytes()]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def counted(url: str) -> float:
    """Calls that all workers together have answered, as anybody's metrics say."""
    lines = get(f"{url}/metrics").decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("headway_requests_total{"))


async def many(port: int, count: int, *, first: int = 0, headers: str = "") -> list[int]:
    """So many requests at once, each on a connection of its own: the system spreads those over the workers."""

    async def one(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return (await ask(reader, writer, f"Question {number}", headers=headers))[0]
        finally:
            writer.close()

    return await asyncio.gather(*[one(first + n) for n in range(count)])


def test_they_keep_within_one_limit_and_one_key_s(tmp_path):
    """240 a minute at the provider, full at the start: two that did not know of each other would send up to 480.

    And a key's 30 a minute are 30 for both together: those that would have to wait longer than they can are refused.
    """
    with KeyStore(tmp_path / "keys.sqlite") as store:
        free = store.create(Key(id="", name="free"))[1].reveal()
        bound = store.create(Key(id="", name="bound", requests_per_min=30))[1].reveal()
    with (
        serving(SimSettings(rpm=240, capacity_s=60, latency_scale=0.0)) as base,
        gateway(
            tmp_path, "requests_per_min = 240\n", "--workers", "2", "--base-url", base, "--keys",
            str(tmp_path / "keys.sqlite"),
        ) as made,
    ):  # fmt: skip
        anybody = f"Authorization: Bearer {free}\r\n"
        assert set(asyncio.run(many(made.port, 8, headers=anybody))) == {200}  # both are warm
        told = f"Authorization: Bearer {bound}\r\nheadway-deadline: 4\r\n"
        statuses = asyncio.run(many(made.port, 60, first=100, headers=told))
        assert 29 <= statuses.count(200) <= 34
        assert set(statuses) <= {200, 429, 504}  # among processes there is no queue: who waits may be told late
        statuses = asyncio.run(many(made.port, 210, first=1000, headers=anybody))
        assert set(statuses) == {200}
        totals = json.loads(get(base.removesuffix("/v1") + "/sim/ledger"))["totals"]
        assert totals["throttled"] <= 2
        assert totals["ok"] >= 247


def test_counts_never_go_back_when_a_worker_is_killed_and_all_reload(tmp_path):
    """What it had counted stays, another one comes, and both read the new configuration."""
    with (
        serving(SimSettings(latency_scale=0.0)) as base,
        gateway(tmp_path, "timeout_s = 60\n", "--workers", "2", "--base-url", base) as made,
    ):
        assert set(asyncio.run(many(made.port, 40))) == {200}
        before = counted(made.url)
        assert before == 40
        first = children(made.child.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        until_s = time.monotonic() + 20
        while first[0] in (now := children(made.child.pid)) or len(now) < 2:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        # The port is a socket of each: until the new one listens, all connections are the other's.
        assert counted(made.url) >= before
        assert set(asyncio.run(many(made.port, 20, first=100))) == {200}
        assert counted(made.url) == before + 20
        while "read anew: attempts_max" not in (said := made.reload("timeout_s = 60\nattempts_max = 2\n")):
            assert "as it was" in said  # the new worker has read it when it started
        assert "line 1: timeout_s must be" in made.reload('timeout_s = "x"\n')
        assert counted(made.url) == before + 20


def test_one_that_hangs_is_replaced(tmp_path, monkeypatch, capfd):
    """It is stopped, as a loop that is blocked for good would be: silence is what both look like from outside."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    monkeypatch.setattr(watching, "HUNG_S", 2.0)
    monkeypatch.setattr(watching, "_EXIT_S", 0.2)
    settings = ServeSettings(port=0, workers=2, drain_s=1.0, engine={"base_url": "http://127.0.0.1:9/v1"})
    url = ""

    async def main() -> None:
        workers = watching.Workers(settings)
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.ensure_future(workers.run(asked.set_result))
        nonlocal url
        url = await asked
        first = children(os.getpid())
        os.kill(first[0], signal.SIGSTOP)
        async with asyncio.timeout(30):
            while first[0] in (now := children(os.getpid())) or len(now) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    asyncio.run(main())
    assert "has said nothing for 2 s" in capfd.readouterr().err
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/healthz")


def test_a_worker_by_itself_says_what_it_is_a_part_of():
    """It is started by the command, over a socket that is not there otherwise."""
    found = subprocess.run([sys.executable, "-m", "headway.gateway"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "headway serve --workers N" in found.stderr
