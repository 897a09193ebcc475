"""A job's batch lane on virtual time: the simulator, an engine, a journal that outlives the process, a dispatcher."""

from __future__ import annotations

import asyncio
from collections import Counter

from headway import Engine
from headway.errors import ConnectionLost
from headway.jobs.lane_batch import BatchLane, BatchLaneSettings
from headway.jobs.lanes import Item
from headway.prompts.task import Task
from headway.sim import SimSettings, Simulator
from headway.sim.batch_settings import BatchSettings, parse_batch_fault
from headway.wire import batch_format_for

MODELS = {"responses": "gpt-4o-mini", "chat": "gpt-4o-mini", "messages": "claude-haiku-4-5"}


class FakeJournal:
    """What outlives a kill: finished rows and events."""

    def __init__(self):
        self.run = "0123abcd"
        self.events = []
        self.rows = {}

    def note(self, event, *, durable=True):
        assert isinstance(event, bytes)
        self.events.append(event)


class World:
    """One provider; `lane()` is one process's."""

    def __init__(self, *, api="responses", faults=(), batches=None, seed=1, cache="off", task=None, wrap=None, **sim):
        settings = BatchSettings(**{"faults": tuple(map(parse_batch_fault, faults))} | (batches or {}))
        self.sim = Simulator(SimSettings(seed=seed, batches=settings, **sim))
        self.loop = asyncio.get_running_loop()
        self.task = task or Task(model=MODELS[api], prompt="Say a word about {text}.", api=api, max_output_tokens=16)
        self.journal = FakeJournal()
        self.calls = Counter()
        self.settled = {}
        self.results = []
        self.returned = []
        self.cache = cache
        self.wrap = wrap
        self.lanes = []

    async def handler(self, call):
        """The simulator, counted; `wrap(call, send)` may stand in its way."""
        self.calls[call.method + " " + call.path.partition("?")[0]] += 1
        return await (self.wrap(call, self.sim.handler) if self.wrap else self.sim.handler(call))

    def settle(self, item, result):
        """As the dispatcher does: once for each item."""
        assert item.row not in self.settled, f"row {item.row} was settled twice"
        self.settled[item.row] = result
        if result is None:
            self.returned.append(item)
        else:
            result = result if item.took is None else item.took.added(result)
            self.settled[item.row] = result
            self.results.append(result)
            if not result.error:
                self.journal.rows[item.key] = result

    def lane(self, *, fmt=None, reuse=False, **settings):
        """A lane of a fresh process over the same journal and provider."""
        journal = FakeJournal()
        journal.events, journal.run = list(self.journal.events), self.journal.run
        journal.note = self.journal.note
        engine = Engine(
            handler=self.handler, log="off", api_key="sk-test", seed=7, log_level="off", cache=self.cache,
            wall_s=self.loop.wall_s,
        )  # fmt: skip
        lane = BatchLane(
            engine, self.task, fmt or batch_format_for(self.task.path), settle=self.settle, journal=journal,
            done=lambda key: key in self.journal.rows, wall_s=self.loop.wall_s,
            settings=BatchLaneSettings(reuse=reuse, **settings),
        )  # fmt: skip
        self.lanes.append((lane, engine))
        return lane

    async def end(self):
        """Close everything."""
        for lane, engine in self.lanes:
            await lane.aclose()
            await engine.aclose()

    def item(self, row, text=None, equal=0):
        """A row of the input."""
        data = {"text": f"thing {row}" if text is None else text}
        return Item(row=row, key=f"{self.task.row_key(data)}#{equal}", data=data)

    async def put(self, lane, rows):
        """Put rows by number."""
        for row in rows:
            await lane.put(self.item(row))

    async def until(self, rows, *, lane=None, limit_s=400_000.0):
        """Wait until so many rows are settled."""
        stop_s = self.loop.time() + limit_s
        while len(self.settled) < rows:
            if lane is not None and lane.closed.done():
                lane.closed.result()
            assert self.loop.time() < stop_s, f"{len(self.settled)} of {rows} rows were settled"
            await asyncio.sleep(10.0)

    async def paid(self):
        """How often each request was answered and billed, by its content."""
        await self.sim.jobs.settle()
        return Counter(row.content for row in self.sim.ledger.rows if row.status == 200)


def lost_after(method, path, times=1):
    """A wrap: the first answers to such calls are lost on their way back."""
    left = [times]

    async def wrap(call, send):
        reply = await send(call)
        if call.method == method and call.path.partition("?")[0].endswith(path) and left[0] > 0:
            left[0] -= 1
            raise ConnectionLost("the answer was lost", maybe_billed=True)
        return reply

    return wrap


def never_sent(path, times):
    """A wrap: the first such calls do not get through."""
    left = [times]

    async def wrap(call, send):
        if call.path.endswith(path) and left[0] > 0:
            left[0] -= 1
            raise ConnectionLost("the connection broke", maybe_billed=True)
        return await send(call)

    return wrap
