"""The batch lane: a window of 24 hours in virtual time, and what taking a row costs.

python bench/bench_batch.py
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter

import headway
from common import emit, own_state
from headway.jobs.journal import Journal
from headway.jobs.lane_batch import BatchLane, BatchLaneSettings
from headway.jobs.lanes import Item
from headway.prompts.task import Task
from headway.sim import SimSettings, Simulator
from headway.sim.batch_settings import BatchSettings, parse_batch_fault
from headway.testing import virtual_run
from headway.wire import batch_format_for

ROWS = 3_000
PUT_ROWS = 300_000
MODELS = {"responses": "gpt-5.4-mini", "messages": "claude-haiku-4-5"}


def item(task: Task, row: int) -> Item:
    """One of many rows that differ."""
    data = {"text": f"question {row} of a customer about a card that has not arrived yet"}
    return Item(row=row, key=f"{task.row_key(data)}#0", data=data)


def task_for(api: str) -> Task:
    """A short task."""
    return Task(model=MODELS[api], api=api, prompt="Say in a word what this is about: {text}", max_output_tokens=256)


async def day(api: str) -> None:
    """3 % of the rows expire, so that every batch runs into the end of its window."""
    loop = asyncio.get_running_loop()
    faults = (parse_batch_fault("row_expired:0.03"),)
    sim = Simulator(SimSettings(seed=1, batches=BatchSettings(faults=faults)))
    calls: Counter[str] = Counter()

    async def handler(call):
        calls[call.method] += 1
        return await sim.handler(call)

    settled: dict[int, object] = {}
    task, journal = task_for(api), Journal.temporary()
    engine = headway.Engine(handler=handler, log="off", log_level="off", api_key="sk-bench", seed=1, wall_s=loop.wall_s)
    lane = BatchLane(
        engine,
        task,
        batch_format_for(task.path),
        settle=lambda one, result: settled.update({one.row: result}),
        journal=journal,
        wall_s=loop.wall_s,
    )
    started_s = time.perf_counter()
    for row in range(ROWS):
        await lane.put(item(task, row))
    lane.flush()
    while len(settled) < ROWS and loop.time() < 400_000:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(10.0)
    took_s = time.perf_counter() - started_s
    await sim.jobs.settle()
    paid = Counter(row.content for row in sim.ledger.rows if row.status == 200)
    answered = [result for result in settled.values() if result is not None and not result.error]
    billed = sum(row.dollars for row in sim.ledger.rows)
    booked = sum(result.dollars for result in answered)
    reached = took_s < 10 and len(answered) == ROWS == len(paid) and max(paid.values()) == 1
    emit(
        f"24 h batch, 3 % expiry, {ROWS:,} rows, {api}",
        "< 10 s of wall time, all rows reconciled, none paid twice",
        round(took_s, 2),
        reached=reached and abs(billed - booked) < 1e-9,
        virtual_h=round(loop.time() / 3_600, 1),
        rows_answered=len(answered),
        rows_paid_twice=sum(times > 1 for times in paid.values()),
        calls=dict(calls),
        dollars_booked=round(booked, 6),
        dollars_billed=round(billed, 6),
    )
    await lane.aclose()
    await engine.aclose()
    journal.close()


class Deaf:
    """An engine that never answers: what is measured is the lane alone."""

    async def request(self, *args, **kwargs):
        await asyncio.Event().wait()

    async def cached(self, path, body, *, key_body=None):
        return None


async def put() -> None:
    """Rows into parcels on the disk; memory before and after."""
    task, journal = task_for("responses"), Journal.temporary()
    lane = BatchLane(
        Deaf(),
        task,
        batch_format_for(task.path),
        settle=lambda one, result: None,
        journal=journal,
        settings=BatchLaneSettings(waiting_max=1_000),
    )
    for row in range(1_000):
        await lane.put(item(task, row))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worst_s, spent_s = 0.0, 0.0
    for row in range(1_000, PUT_ROWS):
        one = item(task, row)
        started_s = time.perf_counter()
        await lane.put(one)
        took_s = time.perf_counter() - started_s
        spent_s += took_s
        worst_s = max(worst_s, took_s)
    per_s = (PUT_ROWS - 1_000) / spent_s
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    factor = 1 if sys.platform == "darwin" else 1024
    emit(
        "rows put into parcels a second",
        "> 10,000",
        round(per_s),
        reached=per_s > 10_000,
        worst_ms=round(worst_s * 1e3, 1),
    )
    bytes_a_row = more * factor / (PUT_ROWS - 1_000)
    emit("memory for a row that waits in a parcel, bytes", "<= 100", round(bytes_a_row), reached=bytes_a_row <= 100)
    await lane.aclose()
    journal.close()


if __name__ == "__main__":
    own_state()
    for api in MODELS:
        virtual_run(lambda api=api: day(api))
    asyncio.run(put())
