"""A new process over the batches of an earlier one."""

from __future__ import annotations

import asyncio

import pytest

from headway.jobs.attach import rows_open
from headway.testing import virtual_run
from headway.types import Reply
from tests.jobs.batch_world import World, lost_after

APIS = ["responses", "messages"]
QUICK = {"duration_s": 600.0}


async def first(world, rows, **settings):
    """A process that hands everything in and goes away."""
    lane = world.lane(**settings)
    await world.put(lane, range(rows))
    lane.flush()
    await asyncio.sleep(60)
    await world.end()
    world.lanes.clear()
    assert not world.settled
    assert rows_open(world.journal.events) == rows


@pytest.mark.parametrize("api", APIS)
def test_batches_are_gone_on_with_whatever_order_the_rows_come_in(api):
    """More rows than before: those at the provider join their batch, the others are sent."""

    async def main():
        world = World(api=api, batches=QUICK)
        await first(world, 30, rows_max=10)
        lane = world.lane(rows_max=10)
        assert [lane.owes(world.item(row).key) for row in (0, 29, 30)] == [True, True, False]
        await world.put(lane, reversed(range(35)))
        assert not lane.owes(world.item(0).key)
        lane.flush()
        await world.until(35, lane=lane)
        paid = await world.paid()
        assert len(paid) == 35
        assert set(paid.values()) == {1}
        assert {(one.dollars > 0, one.lane) for one in world.results} == {(True, "batch")}
        await world.end()
        assert rows_open(world.journal.events) == 0

    virtual_run(main)


def test_rows_that_nobody_brings_any_more_harm_nobody():
    """The input shrank: the others are settled, and the batch stays open in the journal for the row that may come."""

    async def main():
        world = World(batches=QUICK)
        await first(world, 10)
        lane = world.lane()
        await world.put(lane, range(4))
        lane.flush()
        await world.until(4, lane=lane)
        await asyncio.sleep(100)
        assert set((await world.paid()).values()) == {1}
        await world.put(lane, [7])  # one that comes late after all: its answer is there
        lane.flush()
        await world.until(5, lane=lane)
        assert world.calls["POST /v1/batches"] == 1
        await world.end()
        assert rows_open(world.journal.events) == 10

    virtual_run(main)


def test_answers_that_a_slow_source_asks_for_late_are_not_lost():
    """The batch has long ended when the rows come, one by one and with pauses."""

    async def main():
        world = World(batches=QUICK)
        await first(world, 20)
        await asyncio.sleep(5_000)
        lane = world.lane()
        for row in range(20):
            await world.put(lane, [row])
            await asyncio.sleep(3.0)
        await world.until(20, lane=lane)
        assert set((await world.paid()).values()) == {1}
        downloads = sum(world.calls[one] for one in world.calls if one.endswith("/content"))
        assert downloads <= 5
        await world.end()

    virtual_run(main)


@pytest.mark.parametrize("api", APIS)
def test_a_create_that_was_lost_with_its_process_is_found(api):
    """Nobody wrote the id down: the list has it; a stranger's batch is not taken for it."""

    async def main():
        world = World(api=api, batches=QUICK)
        stranger = World(api=api, batches=QUICK)
        stranger.sim = world.sim
        stranger.journal.run = "ffff0000"
        await first(stranger, 3)
        killed = asyncio.Event()

        async def wrap(call, send):
            reply = await send(call)
            if call.method == "POST" and call.path.endswith("batches"):
                killed.set()
                await asyncio.Event().wait()
            return reply

        world.wrap = wrap
        lane = world.lane()
        await world.put(lane, range(8))
        lane.flush()
        await killed.wait()
        await world.end()
        world.lanes.clear()
        world.wrap = None
        lane = world.lane()
        await world.put(lane, range(8))
        lane.flush()
        await world.until(8, lane=lane)
        paid = await world.paid()
        assert set(paid.values()) <= {1, 2}  # three rows are the stranger's as well
        assert sum(paid.values()) == 11
        await world.end()

    virtual_run(main)


def test_a_file_that_no_batch_was_made_of_is_deleted():
    """The process died between upload and creation: the rows are owed again, the file goes."""

    async def main():
        world = World(batches=QUICK)
        hung = asyncio.Event()

        async def wrap(call, send):
            if call.method == "POST" and call.path.endswith("/batches"):
                hung.set()
                await asyncio.Event().wait()
            return await send(call)

        world.wrap = wrap
        lane = world.lane()
        await world.put(lane, range(4))
        lane.flush()
        await hung.wait()
        await world.end()
        world.lanes.clear()
        world.wrap = None
        await asyncio.sleep(300)
        lane = world.lane()
        await world.put(lane, range(4))
        lane.flush()
        await world.until(4, lane=lane)
        await asyncio.sleep(10)
        assert set((await world.paid()).values()) == {1}
        assert sum(world.calls[one] for one in world.calls if one.startswith("DELETE")) == 2
        await world.end()

    virtual_run(main)


def test_rows_that_are_in_the_journal_are_not_waited_for():
    """The process died after the last row and before the part's end was written down."""

    async def main():
        world = World(batches=QUICK)
        await first(world, 3)
        for row in range(3):
            world.journal.rows[world.item(row).key] = True
        lane = world.lane()
        assert not lane.owes(world.item(0).key)
        assert rows_open(world.journal.events) == 0
        assert not lane.view().batches
        await world.end()

    virtual_run(main)


def test_equal_rows_share_the_answer_of_an_attached_batch():
    """With reuse, a row whose equal is at the provider waits for it, even when that one is not in the input now."""

    async def main():
        world = World(batches=QUICK)
        await first(world, 3)
        lane = world.lane(reuse=True)
        await lane.put(world.item(0, text="thing 2", equal=5))
        await lane.put(world.item(1, text="thing 2", equal=6))
        lane.flush()
        await world.until(2, lane=lane)
        assert set((await world.paid()).values()) == {1}
        assert len(await world.paid()) == 3
        assert sorted(one.cache for one in world.results) == ["joined", "off"]
        await world.end()

    virtual_run(main)


def test_rows_that_come_while_the_answers_are_read_are_not_sent_again():
    """Their lines may have been passed over already: the next reading has them."""

    async def main():
        async def wrap(call, send):
            reply = await send(call)
            if not call.path.endswith("/content"):
                return reply
            data = await reply.read()

            async def slow():
                for line in data.splitlines(keepends=True):
                    yield line
                    await asyncio.sleep(0.5)

            return Reply(200, reply.headers, chunks=slow())

        world = World(batches=QUICK, wrap=wrap)
        await first(world, 40)
        await asyncio.sleep(700)
        lane = world.lane()
        for row in range(40):
            await world.put(lane, [row])
            await asyncio.sleep(2.5)
        lane.flush()
        await world.until(40, lane=lane)
        assert set((await world.paid()).values()) == {1}
        assert world.calls["POST /v1/batches"] == 1
        await world.end()

    virtual_run(main)


def test_rows_wanted_back_while_it_is_not_told_which_batch_is_theirs():
    """The only one that it can be is cancelled, and what it has answered is kept."""

    async def main():
        world = World(api="messages", batches={"duration_s": 3_600.0}, wrap=lost_after("POST", "/batches"))
        lane = world.lane()
        await world.put(lane, range(20))
        lane.flush()
        await asyncio.sleep(600)
        await lane.recall()
        assert sum(world.calls[one] for one in world.calls if one.endswith("/cancel")) == 1
        await asyncio.sleep(7_200)
        assert sum((await world.paid()).values()) == len(world.results) > 0
        assert len(world.settled) == 20
        assert rows_open(world.journal.events) == 0
        await world.end()

    virtual_run(main)


def test_a_strangers_batch_is_not_cancelled_and_what_may_run_stays_in_the_journal():
    """Two that it could be: neither is touched; a later run still looks for the answers."""

    async def main():
        world = World(api="messages", batches={"duration_s": 3_600.0}, wrap=lost_after("POST", "/batches"))
        stranger = World(api="messages", batches=QUICK)
        stranger.sim = world.sim
        stranger.journal.run = "ffff0000"
        lane = world.lane()
        await world.put(lane, range(20))
        lane.flush()
        other = stranger.lane()
        await stranger.put(other, range(100, 120))
        other.flush()
        await asyncio.sleep(600)
        await lane.recall()
        assert not [one for one in (*world.calls, *stranger.calls) if one.endswith("/cancel")]
        assert len(world.returned) == 20
        assert rows_open(world.journal.events) == 20
        await world.end()
        await stranger.end()

    virtual_run(main)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("seed", range(12))
def test_storms(api, seed):
    """Faults of all kinds and kills in the middle: each row once, nothing paid twice, nothing left behind."""
    faults = [
        "row_500:0.05", "row_missing:0.05", "row_400:0.02", "counts:0.5", "content_502:0.3", "create_lost:0.3",
        "upload_lost:0.1", "call_500:0.1", "call_429:0.05", "failed:0.1", f"row_expired:{0.01 * (seed % 3)}",
    ]  # fmt: skip

    async def main():
        limits = {"queue_tokens_max": 300, "over_queue": "either"} if seed % 2 else {}
        world = World(api=api, faults=faults, seed=seed, batches={"duration_s": None, "scale": 0.1} | limits)
        rows = 60
        for process in range(4):
            lane = world.lane(rows_max=13)
            work = asyncio.ensure_future(world.put(lane, [row for row in range(rows) if row not in world.settled]))
            if process == 3:
                await work
                lane.flush()
                await world.until(rows, lane=lane)
            else:
                lane.flush()
                await asyncio.sleep((37 * (seed + 1) * (process + 1)) % 400)
            work.cancel()
            await world.end()
            world.lanes.clear()
        paid = await world.paid()
        assert set(paid.values()) <= {1}
        failed = [one for one in world.results if one.error]
        assert {one.status for one in failed} <= {400}
        assert len(paid) == rows - len(world.returned) - len(failed)

    virtual_run(main)
