"""Ten minutes at 80 % load with 1 % faults: whole answers, streams, clients who leave, bad requests. Does it grow?

    python bench/gateway/soak.py [--minutes 10] [--per-s RATE]

The provider fails one call in a hundred (500, 429, a reset, a cut answer, a slow one; half of them at the first try).
Two in a hundred clients leave in the middle, two in a hundred requests are none. Asked: memory within 2 % from the
second minute to the end, and at the end as many descriptors and tasks as before the first request. One JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from load import Line, lines, quantile
from others import Peer, free_port, rss_mb, running
from provider import provider
from tests.gateway.attacks import CASES, status_of

from common import emit, own_state

IN_FLIGHT_MAX, SPARE_MAX, SAMPLE_S, QUIET_LOOKS, LOAD = 512, 128, 2.0, 40, 0.8
FAULTS = ("500", "429", "reset", "cut", "slow")
BAD = [case for case in CASES if not case.heavy and "10 MB" not in case.name and "1 MB" not in case.name]
CODE = """
import asyncio, os, signal
signal.signal(signal.SIGUSR1, lambda *_: open(os.environ["BENCH_TASKS"], "w").write(str(len(asyncio.all_tasks()))))
from headway.cli import main
main()
"""
BODY = '{"model":"gpt-5.4-mini","user":"%s","stream":%s,"messages":[{"role":"user","content":"Where is my card? %d"}]}'


@contextlib.contextmanager
def served(upstream: int, cwd: str) -> Iterator[tuple[Peer, str]]:
    """A gateway with keys that says how many tasks it has when it is asked; and the key."""
    from headway.gateway.keys import KeyStore
    from headway.policy.keys import Key

    keys, port = Path(cwd) / "keys", free_port()
    with KeyStore(keys) as store:
        key = store.create(Key(id="", name="app"))[1].reveal()
    command = [sys.executable, "-c", CODE, "serve", "--port", str(port), "--keys", str(keys)]
    env = {"OPENAI_API_KEY": "sk-bench", "HEADWAY_HOME": str(Path(cwd) / "state"), "BENCH_TASKS": f"{cwd}/tasks"}
    command += ["--base-url", f"http://127.0.0.1:{upstream}/v1"]
    with running("headway", command, port, cwd, headers={"x-api-key": key}, **env) as peer:
        yield peer, key


def held(peer: Peer, cwd: str) -> dict[str, int]:
    """Sockets, other descriptors and tasks of the gateway."""
    sockets = others = 0
    for one in Path(f"/proc/{peer.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            sockets += (is_socket := str(one.readlink()).startswith("socket:"))
            others += not is_socket
    told = Path(cwd) / "tasks"
    told.unlink(missing_ok=True)
    os.kill(peer.pid, signal.SIGUSR1)
    until_s = time.perf_counter() + 5
    while (not told.exists() or not told.read_text()) and time.perf_counter() < until_s:
        time.sleep(0.01)
    return {"sockets": sockets, "others": others, "tasks": int(told.read_text() or -1)}


class Crowd:
    """All kinds of clients."""

    def __init__(self, peer: Peer, key: str) -> None:
        self.peer, self.key = peer, key
        self.counts: Counter[str] = Counter()
        self.took_s: list[float] = []
        self.spare: list[Line] = []
        self.number = 0
        self.dice = random.Random(1)

    async def one(self) -> None:
        """One request of some kind."""
        self.number += 1
        drawn = self.dice.random()
        try:
            if drawn < 0.02:
                await self.bad()
            elif drawn < 0.04:
                await self.leave()
            elif drawn < 0.05:
                fault = self.dice.choice(FAULTS) + self.dice.choice(["", ",once=1"])
                await self.ask(f"fault={fault}", stream=self.dice.random() < 0.3, kind=f"fault {fault}")
            elif drawn < 0.2:
                await self.ask("chunks=20,pace=0.005", stream=True, kind="stream")
            else:
                await self.ask("", stream=False, kind="whole")
        except (OSError, RuntimeError, TimeoutError) as error:
            self.counts[f"client: {type(error).__name__}: {str(error)[:60]}"] += 1

    async def ask(self, user: str, *, stream: bool, kind: str) -> None:
        line = self.spare.pop() if self.spare else (await lines(self.peer.port, 1))[0]
        body = (BODY % (user, str(stream).lower(), self.number)).encode()
        try:
            async with asyncio.timeout(60):
                await line.ask(self.peer.port, body, self.peer.raw)
            self.counts[f"{kind}: 200"] += 1
            if kind == "whole":
                self.took_s.append(line.took_s)
        except (RuntimeError, ConnectionError) as error:
            self.counts[f"{kind}: {str(error)[:12]}"] += 1
            line.transport.close()
            return
        if len(self.spare) < SPARE_MAX and not line.transport.is_closing():
            self.spare.append(line)
        else:
            line.transport.close()

    async def leave(self) -> None:
        line = (await lines(self.peer.port, 1))[0]
        stream = self.dice.random() < 0.7
        asked = (BODY % ("delay=0.02,chunks=50,pace=0.01", str(stream).lower(), self.number)).encode()
        over = line.ask(self.peer.port, asked, self.peer.raw)
        await asyncio.wait((over,), timeout=self.dice.random() * 0.2)
        line.transport.abort()
        with contextlib.suppress(ConnectionError, RuntimeError):
            await over
        self.counts["left"] += 1

    async def bad(self) -> None:
        case = self.dice.choice(BAD)
        status, _ = await status_of(self.peer.port, case.make(self.key))
        right = "as it should" if status in case.right else f"{status} for {case.name}"
        self.counts[f"bad request: {right}"] += 1

    async def fastest(self, seconds: float) -> float:
        """How many a second it takes."""
        until_s, before = time.perf_counter() + seconds, self.number

        async def more() -> None:
            while time.perf_counter() < until_s:
                await self.one()

        await asyncio.gather(*[more() for _ in range(64)])
        return (self.number - before) / seconds

    async def steady(self, per_s: float, seconds: float, rss: list[tuple[float, float]]) -> None:
        """At a rate; memory is looked at now and then."""
        tasks: set[asyncio.Task[None]] = set()
        start_s = time.perf_counter()
        looked_s, sent = 0.0, 0
        while (now_s := time.perf_counter() - start_s) < seconds:
            while sent < now_s * per_s:
                sent += 1
                if len(tasks) >= IN_FLIGHT_MAX:
                    self.counts["not sent: too many under way"] += 1
                    continue
                task = asyncio.ensure_future(self.one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if now_s - looked_s >= SAMPLE_S:
                looked_s = now_s
                rss.append((now_s, rss_mb(self.peer.pid)))
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)

    def close(self) -> None:
        for line in self.spare:
            line.transport.close()
        self.spare.clear()


async def soak(
    peer: Peer, key: str, cwd: str, minutes: float, per_s: float, end: Callable[[], object]
) -> dict[str, Any]:
    """What was seen; `end` ends the provider, and with it the connections that are kept for the next request."""
    crowd, rss = Crowd(peer, key), list[tuple[float, float]]()
    await crowd.ask("", stream=False, kind="whole")
    crowd.close()
    await asyncio.sleep(1)
    before = held(peer, cwd)
    before["sockets"] -= 1  # to the provider
    rate = per_s or LOAD * await crowd.fastest(min(10.0, minutes * 6))
    crowd.counts.clear()
    crowd.took_s.clear()
    await crowd.steady(rate, minutes * 60, rss)
    crowd.close()
    end()
    for _ in range(QUIET_LOOKS):
        await asyncio.sleep(0.5)
        if (after := held(peer, cwd)) == before:
            break
    settled = [mb for at_s, mb in rss if 120 <= at_s < 180] or [mb for _, mb in rss[: max(1, len(rss) // 3)]]
    last = [mb for at_s, mb in rss if at_s >= minutes * 60 - 60] if minutes > 3 else [mb for _, mb in rss[-3:]]
    growth = median(last) / median(settled) - 1
    return {
        "growth": round(growth, 4), "rss_mb": [round(mb, 1) for _, mb in rss[:: max(1, len(rss) // 20)]],
        "before": before, "after": after, "per_s": round(rate), "requests": sum(crowd.counts.values()),
        "p50_ms": round(median(crowd.took_s) * 1e3, 2), "p99_ms": round(quantile(crowd.took_s, 0.99) * 1e3, 2),
        "answers": dict(sorted(crowd.counts.items())),
    }  # fmt: skip


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--minutes", type=float, default=10.0)
    told.add_argument("--per-s", type=float, default=0.0, help="requests a second; 80 % of what it takes")
    args = told.parse_args()
    with contextlib.ExitStack() as ending, tempfile.TemporaryDirectory(prefix="headway-bench-") as cwd:
        upstream = ending.enter_context(provider())
        with served(upstream, cwd) as (peer, key):
            found = asyncio.run(soak(peer, key, cwd, args.minutes, args.per_s, ending.close))
        said = (Path(cwd) / "headway.log").read_text("utf-8")
        state = sum(file.stat().st_size for file in (Path(cwd) / "state").rglob("*") if file.is_file())
    kept = (
        found["before"]["tasks"] == found["after"]["tasks"] and found["before"]["sockets"] == found["after"]["sockets"]
    )
    wrong = [name for name in found["answers"] if name.startswith(("client", "bad request: ")) and "should" not in name]
    broken = [name for name in found["answers"] if name.startswith(("whole", "stream")) and not name.endswith("200")]
    more = {"traceback": "Traceback" in said, "log_mb": round(len(said) / 1e6, 2), "state_mb": round(state / 1e6, 1)}
    emit(
        f"{args.minutes:g} minutes at {LOAD:.0%} load, 1 % faults", "growth <= 2 %, nothing left", found["growth"],
        reached=(found["growth"] <= 0.02 or args.minutes < 3) and kept and not (wrong or broken or more["traceback"]),
        nothing_left=kept, unexpected=wrong + broken, **found, **more,
    )  # fmt: skip


if __name__ == "__main__":
    own_state()
    main()
