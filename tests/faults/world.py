"""Runs a scenario: the engine as users have it, over the virtual network, and everything that both sides say of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import headway
from headway.engine.registry import Plan as EnginePlan
from headway.engine.registry import Shared, registry
from headway.errors import HeadwayError
from headway.sim import Network, Simulator, VirtualLoop, run_virtual, serve_on
from headway.sim.app import asgi_app
from headway.sim.ledger import Row
from headway.store.call_reader import CallLogReader
from headway.store.rows import LogRow

from .doors import Got, Sdks, ask, ask_sdk
from .plans import HOST, Scenario, StandIn
from .rest import Rest, after_close, at_rest, hedge_early
from .wire import Sent, Watcher, Wire, recording

SETTLE_S = 3.0
"""What an engine may take to come to rest: more than a flight lingers for its connection."""


@dataclass
class Record:
    """All that is known of a run."""

    scenario: Scenario
    got: list[Got]
    sent: list[Sent]
    wire: Wire
    ledger: tuple[Row, ...]
    """Of all providers."""
    calls: list[LogRow]
    attempts: list[LogRow]
    rest: Rest
    left_open: list[str]
    elapsed_s: float
    trace: bytes


def run(scenario: Scenario, directory: Path) -> Record:
    """Run it to its end. The directory gets the call log and the cache."""

    async def main() -> Record:
        return await _World(scenario, directory).run()

    with _surroundings(scenario):
        return run_virtual(main)


@contextmanager
def _surroundings(scenario: Scenario) -> Iterator[None]:
    """The stand-ins' keys in the environment, and the dice that the SDKs' pauses come from."""
    keys = {other.variable: other.key for other in scenario.others}
    dice = random.getstate()
    os.environ.update(keys)
    random.seed(scenario.seed)
    try:
        yield
    finally:
        random.setstate(dice)
        for name in keys:
            del os.environ[name]


class _World:
    def __init__(self, scenario: Scenario, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.scenario = scenario
        self.log = directory / f"calls-{scenario.seed}.sqlite"
        self.settings: dict[str, Any] = {
            "log": str(self.log),
            "cache_path": str(directory / f"cache-{scenario.seed}.sqlite"),
            **scenario.engine,
        }
        self.watcher = Watcher(loop.time)
        self.sent: list[Sent] = []
        self.got = [Got(plan) for plan in scenario.callers]
        self.simulators: list[Simulator] = []
        self.network = Network(
            loop, seed=scenario.seed, latency_s=scenario.latency_s, faults=scenario.network, watch=self.watcher
        )
        self._serve(HOST, Simulator(scenario.sim))
        for other in scenario.others:
            self._stand_in(other)
        self.sdks = Sdks(self.settings) if any(plan.door == "sdk" for plan in scenario.callers) else None
        self.shared: Shared | None = None

    async def run(self) -> Record:
        scenario = self.scenario
        engine = self._engine()
        hedge_early(engine)
        tasks = [self.loop.create_task(self._call(engine, got)) for got in self.got]
        if scenario.close_s is not None:
            await asyncio.sleep(scenario.close_s)
            await engine.aclose()
        await asyncio.gather(*tasks)
        await self._settle(engine)
        rest = at_rest(engine, self.loop)
        await self._close(engine)
        left_open = after_close(self.loop, self.network)
        with CallLogReader(self.log) as reader:
            calls, attempts = reader.calls(limit=100_000), reader.attempts(limit=100_000)
        elapsed_s = self.loop.time()
        await asyncio.sleep(10_000)  # the providers notice that everybody is gone
        ledger = tuple(row for simulator in self.simulators for row in simulator.ledger.rows)
        lines = self.watcher.lines
        lines += [msgspec.json.encode(row).decode() for row in (*calls, *attempts, *ledger)]
        return Record(
            scenario=scenario,
            got=self.got,
            sent=self.sent,
            wire=self.watcher.wire,
            ledger=ledger,
            calls=calls,
            attempts=attempts,
            rest=rest,
            left_open=left_open,
            elapsed_s=elapsed_s,
            trace="\n".join(lines).encode(),
        )

    def _serve(self, host: str, simulator: Simulator) -> None:
        self.simulators.append(simulator)
        app = recording(asgi_app(simulator), host, self.sent)
        serve_on(self.network, host, 80, simulator, keep_alive_s=self.scenario.keep_alive_s, app=app)

    def _stand_in(self, other: StandIn) -> None:
        if other.state == "dead":
            self.network.serve(other.host, 81, asyncio.Protocol)  # the host is there, the port is not
        elif other.state != "unknown":
            self._serve(other.host, Simulator(other.sim))

    def _engine(self) -> headway.Engine:
        """The one that the SDKs' transport shares, if there are SDKs."""
        if self.sdks is None:
            return headway.Engine(**self.settings)
        self.shared = registry().open(EnginePlan(None, None, self.settings))
        return self.shared.engine

    async def _close(self, engine: headway.Engine) -> None:
        if self.sdks is not None and self.shared is not None:
            await self.shared.release()
            await self.sdks.aclose()  # the last to let go closes it, if it is the last
            assert self.shared.closed
        await engine.aclose()

    async def _settle(self, engine: headway.Engine) -> None:
        """What goes on in the background may take what a call may take."""
        until_s = self.loop.time() + self.scenario.engine["timeout_s"] + SETTLE_S
        await asyncio.sleep(SETTLE_S)
        while (engine._refresher._tasks or engine.prefetch._tasks) and self.loop.time() < until_s:  # noqa: ASYNC110 - virtual
            await asyncio.sleep(SETTLE_S)

    async def _call(self, engine: headway.Engine, got: Got) -> None:
        plan = got.plan
        await asyncio.sleep(plan.arrive_s)
        if plan.prefetch_s is not None:
            engine.prefetch(plan.path, plan.body)
            await asyncio.sleep(plan.prefetch_s)
        got.started_s = self.loop.time()
        task = self.loop.create_task(self._ask(engine, got))
        leave = None if plan.leave_s is None else self.loop.call_later(plan.leave_s, task.cancel)
        try:
            await task
            end = "done" if not got.ends else ""
        except HeadwayError as error:
            end = error.code
        except asyncio.CancelledError:
            end = "left"
        if leave is not None:
            leave.cancel()
        if end:
            got.ends.append(end)
        got.ended_s = self.loop.time()
        self._say(got, ",".join(got.ends), bytes(got.body))

    async def _ask(self, engine: headway.Engine, got: Got) -> None:
        self._say(got, "asks", b"")

        def say(event: str, data: bytes) -> None:
            self._say(got, event, data)

        if self.sdks is not None and got.plan.door == "sdk":
            await ask_sdk(self.sdks, got, say)
        else:
            await ask(engine, got, say)

    def _say(self, got: Got, event: str, data: bytes) -> None:
        self.watcher.line(f"caller {got.plan.number}", event, data)
