"""Runs a scenario: the engine as users have it, over the virtual network, and everything that both sides say of it."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools
import msgspec

import headway
from headway.errors import HeadwayError
from headway.sim import Network, Simulator, VirtualLoop, run_virtual, serve_on
from headway.sim.app import asgi_app
from headway.sim.ledger import Row
from headway.store.call_reader import CallLogReader
from headway.store.rows import LogRow
from headway.types import Tags

from .rest import Rest, after_close, at_rest
from .scenario import HOST, Plan, Scenario

SETTLE_S = 3.0
"""What an engine may take to come to rest: more than a flight lingers for its connection."""

TERMINAL = (b"data: [DONE]", b"event: response.completed", b"event: response.incomplete")


@dataclass
class Got:
    """What one caller saw."""

    plan: Plan
    started_s: float = 0.0
    ended_s: float | None = None
    ends: list[str] = field(default_factory=list)
    """How it ended; one entry, if all is well: "done", "left", or an error's code."""
    status: int = 0
    request_id: str = ""
    cache_status: str = ""
    body: bytearray = field(default_factory=bytearray)


@dataclass
class Sent:
    """What the provider's application handed to its server for one request."""

    connection: int
    request_id: str = ""
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


@dataclass
class Wire:
    """Requests as the network saw them."""

    begun: int = 0
    delivered: Counter[int] = field(default_factory=Counter)
    """Whole requests by connection."""
    last_s: dict[int, float] = field(default_factory=dict)
    """When a connection's last bytes came to the server."""
    ended_s: dict[int, float] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    """Kept connections whose latest request has got no byte of an answer."""


@dataclass
class Record:
    """All that is known of a run."""

    scenario: Scenario
    got: list[Got]
    sent: list[Sent]
    wire: Wire
    ledger: tuple[Row, ...]
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

    return run_virtual(main)


class _World:
    def __init__(self, scenario: Scenario, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.scenario = scenario
        self.log = directory / f"calls-{scenario.seed}.sqlite"
        self.cache = directory / f"cache-{scenario.seed}.sqlite"
        self.lines: list[str] = []
        self.wire = Wire()
        self.sent: list[Sent] = []
        self.got = [Got(plan) for plan in scenario.callers]
        self._written: dict[int, Any] = {}
        self._arrived: dict[int, Any] = {}
        self._used: set[int] = set()
        self.simulator = Simulator(scenario.sim)
        self.network = Network(
            loop, seed=scenario.seed, latency_s=scenario.latency_s, faults=scenario.network, watch=self._watch
        )
        serve_on(
            self.network, HOST, 80, self.simulator, keep_alive_s=scenario.keep_alive_s,
            app=recording(asgi_app(self.simulator), self.sent),
        )  # fmt: skip

    async def run(self) -> Record:
        scenario = self.scenario
        engine = headway.Engine(log=str(self.log), cache_path=str(self.cache), **scenario.engine)
        async with engine:
            tasks = [self.loop.create_task(self._call(engine, got)) for got in self.got]
            if scenario.close_s is not None:
                await asyncio.sleep(scenario.close_s)
                await engine.aclose()
            await asyncio.gather(*tasks)
            await self._settle(engine)
            rest = at_rest(engine, self.loop)
        left_open = after_close(self.loop, self.network)
        with CallLogReader(self.log) as reader:
            calls, attempts = reader.calls(limit=100_000), reader.attempts(limit=100_000)
        elapsed_s = self.loop.time()
        await asyncio.sleep(10_000)  # the provider notices that everybody is gone
        self.lines += [msgspec.json.encode(row).decode() for row in (*calls, *attempts, *self.simulator.ledger.rows)]
        return Record(
            scenario=scenario,
            got=self.got,
            sent=self.sent,
            wire=self.wire,
            ledger=self.simulator.ledger.rows,
            calls=calls,
            attempts=attempts,
            rest=rest,
            left_open=left_open,
            elapsed_s=elapsed_s,
            trace="\n".join(self.lines).encode(),
        )

    async def _settle(self, engine: headway.Engine) -> None:
        """Refreshes in the background may take what a call may take."""
        until_s = self.loop.time() + self.scenario.engine["timeout_s"] + SETTLE_S
        await asyncio.sleep(SETTLE_S)
        while engine._background and self.loop.time() < until_s:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(SETTLE_S)

    async def _call(self, engine: headway.Engine, got: Got) -> None:
        await asyncio.sleep(got.plan.arrive_s)
        got.started_s = self.loop.time()
        task = self.loop.create_task(self._ask(engine, got))
        leave = None if got.plan.leave_s is None else self.loop.call_later(got.plan.leave_s, task.cancel)
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
        self._line(f"caller {got.plan.number}", ",".join(got.ends), bytes(got.body))

    async def _ask(self, engine: headway.Engine, got: Got) -> None:
        plan = got.plan
        self._line(f"caller {plan.number}", "asks", b"")
        reply = await engine.send(
            plan.path, plan.body, cache=plan.cache, deadline_s=plan.deadline_s, priority=plan.priority,
            tags=Tags(step=str(plan.number), run=str(plan.group)),
        )  # fmt: skip
        got.status = reply.status
        got.request_id = reply.header("x-request-id")
        got.cache_status = reply.header("cache-status")
        async with reply:
            count = 0
            if plan.leave_chunks == 0:
                got.ends.append("left")
                return
            async for chunk in reply:
                got.body += chunk
                count += 1
                self._line(f"caller {plan.number}", "reads", chunk)
                if count == plan.leave_chunks:
                    got.ends.append("left")
                    return
                if plan.stream and plan.leave_at_end and _is_whole(got.body):
                    return
                if plan.dawdle_s:
                    await asyncio.sleep(plan.dawdle_s)

    def _watch(self, number: int, event: str, data: bytes) -> None:
        self._line(f"connection {number}", event, data)
        if event == "up":
            _feed(self._written, number, data, on_begin=lambda: self._begun(number))
        elif event == "down delivered":
            self.wire.unanswered.discard(number)
        elif event == "up delivered":
            self.wire.last_s[number] = self.loop.time()
            _feed(self._arrived, number, data, on_complete=lambda: self.wire.delivered.update((number,)))
        elif event == "closed":
            self.wire.ended_s.setdefault(number, self.loop.time())

    def _begun(self, number: int) -> None:
        self.wire.begun += 1
        if number in self._used:
            self.wire.unanswered.add(number)
        self._used.add(number)

    def _line(self, who: str, event: str, data: bytes) -> None:
        self.lines.append(f"{self.loop.time():.6f} {who} {event} {len(data)} {zlib.crc32(data):08x}")


def _is_whole(body: bytearray) -> bool:
    """Whether a stream's terminal event is in, blank line and all."""
    return body.endswith(b"\n\n") and any(mark in body for mark in TERMINAL)


class _Marks:
    """What an HTTP parser tells."""

    def __init__(self, on_begin: Callable[[], None] | None, on_complete: Callable[[], None] | None) -> None:
        self.begin, self.complete = on_begin, on_complete

    def on_message_begin(self) -> None:
        if self.begin is not None:
            self.begin()

    def on_message_complete(self) -> None:
        if self.complete is not None:
            self.complete()


def _feed(
    parsers: dict[int, Any],
    number: int,
    data: bytes,
    *,
    on_begin: Callable[[], None] | None = None,
    on_complete: Callable[[], None] | None = None,
) -> None:
    if number not in parsers:
        parsers[number] = httptools.HttpRequestParser(_Marks(on_begin, on_complete))
    parsers[number].feed_data(data)


def recording(app: Any, sent: list[Sent]) -> Any:
    """The application, with what it answers written down."""

    async def recorded(scope: Any, receive: Any, send: Any) -> None:
        line = Sent(connection=scope["client"][1] - 32_768)
        read = False

        async def heard() -> Any:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not read:
                read = True
                sent.append(line)
            return message

        async def said(message: Any) -> None:
            if message["type"] == "http.response.start":
                line.status = message["status"]
                line.request_id = dict(message["headers"]).get(b"x-request-id", b"").decode()
            else:
                line.body += message.get("body", b"")
            await send(message)

        await app(scope, heard, said)

    return recorded


def reached(sent: list[Sent]) -> dict[int, int]:
    """Requests that the application read, by connection."""
    found: dict[int, int] = defaultdict(int)
    for line in sent:
        found[line.connection] += 1
    return found
