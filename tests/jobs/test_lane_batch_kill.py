"""Kills at every call of a job, and a new process each time: each row once, and nothing paid twice."""

from __future__ import annotations

import asyncio

import pytest

from headway.testing import virtual_run
from tests.jobs.batch_world import World

ROWS = 12


class Killer:
    """At the n-th call the process stops: before the call has gone out, or before its answer has come."""

    def __init__(self, at, *, after):
        self.at, self.after, self.calls = at, after, 0
        self.killed = asyncio.Event()

    async def __call__(self, call, send):
        self.calls += 1
        if self.calls == self.at and not self.after:
            await self.stop()
        reply = await send(call)
        if self.calls == self.at and self.after:
            await self.stop()
        return reply

    async def stop(self):
        self.killed.set()
        await asyncio.Event().wait()


async def run(world, killer=None, **settings):
    """One process: to its end, or until it is killed."""
    world.wrap = killer
    lane = world.lane(rows_max=5, **settings)
    owed = [row for row in range(ROWS) if row not in world.settled]
    work = asyncio.ensure_future(feed(world, lane, owed))
    if killer is None:
        await work
    else:
        stopped = asyncio.ensure_future(killer.killed.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        stopped.cancel()
    await world.end()
    world.lanes.clear()


async def feed(world, lane, owed):
    await world.put(lane, owed)
    lane.flush()
    await world.until(ROWS, lane=lane)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("api", ["responses", "messages"])
def test_a_kill_at_any_call_pays_nothing_twice(api, after):
    """Uploads, creations whose answer is lost, polls, downloads: whatever it was, the next process goes on."""

    async def scenario(at):
        world = World(api=api, batches={"duration_s": 12.0, "scale": 0.1}, seed=at)
        killer = Killer(at, after=after)
        await run(world, killer)
        killed = killer.killed.is_set()
        await run(world)
        paid = await world.paid()
        assert sorted(world.settled) == list(range(ROWS))
        assert not world.returned
        assert len(paid) == ROWS
        assert set(paid.values()) == {1}
        return killed

    at = 1
    while virtual_run(lambda at=at: scenario(at)):
        at += 1
    assert at > 9


@pytest.mark.parametrize("api", ["responses", "messages"])
def test_a_kill_at_any_note_pays_nothing_twice(api):
    """The journal's own moments: an event that was written as the last thing, or not any more."""

    async def scenario(at, *, written):
        world = World(api=api, batches={"duration_s": 12.0, "scale": 0.1}, seed=at)
        stopped = asyncio.Event()
        note = world.journal.note
        count = 0

        def noted(event, *, durable=True):
            nonlocal count
            count += 1
            if count != at or written:
                note(event, durable=durable)
            if count == at:
                stopped.set()
                raise Killed

        world.journal.note = noted
        lane = world.lane(rows_max=5)
        try:
            await feed(world, lane, range(ROWS))
        except Killed:
            assert stopped.is_set()
        await world.end()
        world.lanes.clear()
        world.journal.note = note
        await run(world)
        paid = await world.paid()
        assert sorted(world.settled) == list(range(ROWS))
        assert set(paid.values()) == {1}
        return stopped.is_set()

    for written in (True, False):
        at = 1
        while virtual_run(lambda at=at, written=written: scenario(at, written=written)):
            at += 1
        assert at > 9


class Killed(Exception):
    """The end of a process."""
