"""The batch lane over real connections: uploads as forms, results as they come, the journal on a disk."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

import headway
from headway.jobs.attach import rows_open
from headway.jobs.journal import Header, Journal
from headway.jobs.lane_batch import BatchLane, BatchLaneSettings
from headway.jobs.lanes import Item
from headway.prompts.task import Task
from headway.sim import SimSettings, serving
from headway.sim.batch_settings import BatchSettings
from headway.wire import batch_format_for

ROWS = 400


@pytest.fixture(scope="module")
def url():
    """A simulator whose batches are done at once."""
    with serving(SimSettings(latency_scale=0.0, batches=BatchSettings(scale=0.0))) as base_url:
        yield base_url


@pytest.mark.parametrize(("api", "model"), [("responses", "gpt-4o-mini"), ("messages", "claude-haiku-4-5")])
def test_a_job_over_http(url, tmp_path, api, model):
    """Every row once, at the price that the provider booked; nothing is left open in the journal."""
    task = Task(model=model, api=api, prompt=f"Say a word about {{text}} of {api}.", max_output_tokens=64)
    settled = {}

    async def main():
        journal = Journal.open(tmp_path / "out.journal", Header())
        async with headway.Engine(base_url=url, api_key="sk-test", log="off", log_level="off") as engine:
            lane = BatchLane(
                engine, task, batch_format_for(task.path), settle=lambda one, result: settled.update({one.row: result}),
                journal=journal, folder=tmp_path, settings=BatchLaneSettings(rows_max=150),
            )  # fmt: skip
            for row in range(ROWS):
                data = {"text": f"thing {row}"}
                await lane.put(Item(row=row, key=f"{task.row_key(data)}#0", data=data))
            lane.flush()
            while len(settled) < ROWS and not lane.closed.done():  # noqa: ASYNC110 - it is told in a callback
                await asyncio.sleep(0.02)
            await lane.aclose()
            lane.closed.result()
        journal.close()

    asyncio.run(main())
    assert all(f"thing {row}" in result.text and result.dollars > 0 for row, result in settled.items())
    with urllib.request.urlopen(f"{url[:-3]}/sim/ledger") as reply:
        rows = [row for row in json.loads(reply.read())["rows"] if row["model"].startswith(model)]
    assert len({row["content"] for row in rows}) == len(rows) == ROWS
    assert sum(row["dollars"] for row in rows) == pytest.approx(sum(result.dollars for result in settled.values()))
    journal = Journal.open(tmp_path / "out.journal", Header())
    assert rows_open(journal.events) == 0
    assert len(journal.events) >= 9
    journal.close()
