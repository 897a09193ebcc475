"""Tasks with several outputs as jobs: online, flex and batch lanes, and what stands in the output."""

from __future__ import annotations

import asyncio
import json

import pytest

from headway import run_async
from headway.config import Settings
from headway.jobs.plan import make_plan
from headway.jobs.runner import JobSettings
from headway.prompts.labels import Labels
from headway.prompts.merge import MergedTask
from headway.prompts.output import Sentence
from headway.prompts.outputs import Ask
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Usage
from headway.wire.prices import Prices
from tests.jobs.batch_world import MODELS, World

ASKS = {
    "queue": Ask("Which queue?", Labels(labels=("billing", "shipping"))),
    "summary": Ask("Summarise it.", Sentence()),
    "refund": Ask("Is money asked back?", Labels(labels=("yes", "no"))),
}
ROWS = [{"text": f"Ticket: I was charged twice for order {n}. Please refund me."} for n in range(6)]


def task(api="responses", **more) -> MergedTask:
    return MergedTask(model=MODELS[api], prompt="{text}", outputs=ASKS, api=api, **more)


@pytest.mark.parametrize("api", ["responses", "messages"])
def test_a_batch_is_asked_merged_whatever_the_mode(api):
    """One request a row; what is left (in "messages", where no schema holds the model) is asked alone by a batch."""

    async def main():
        world = World(api=api, batches={"duration_s": 60.0}, task=task(api, mode="separate"))
        lane = world.lane()
        try:
            await world.put(lane, range(10))
            lane.flush()
            await world.until(10, lane=lane)
            return world.results, await world.paid()
        finally:
            await world.end()

    results, paid = virtual_run(main)
    assert all(result.outcome == "ok" and list(result.value) == list(ASKS) for result in results)
    assert sum(paid.values()) == 10 + sum(result.repairs for result in results)
    assert all(result.repairs <= 1 for result in results)
    if api == "messages":
        assert any(result.repairs for result in results)


def test_a_process_that_ends_while_a_part_is_asked_again_loses_no_row():
    """The next one cannot tell which part a batch of it asked about: it pays for that, and asks the row as a whole."""

    async def main():
        world = World(api="messages", batches={"duration_s": 60.0}, task=task("messages"))
        try:
            lane = world.lane()
            await world.put(lane, range(10))
            lane.flush()
            while world.calls["POST /v1/messages/batches"] < 2:  # noqa: ASYNC110 - the provider's doing, on virtual time
                await asyncio.sleep(1.0)
            await asyncio.sleep(5.0)
            settled = len(world.settled)
            await lane.aclose()
            again = world.lane()
            await world.put(again, range(10))
            again.flush()
            await world.until(10, lane=again)
            return settled, world.results, await world.paid(), world.sim.ledger.rows
        finally:
            await world.end()

    settled, results, paid, billed = virtual_run(main)
    assert settled == 0
    assert [(result.outcome, list(result.value)) for result in results] == [("ok", list(ASKS))] * 10
    assert sum(result.attempts for result in results) == sum(paid.values()) == 40
    assert sum(result.dollars for result in results) == pytest.approx(sum(row.dollars or 0.0 for row in billed))


@pytest.mark.parametrize("mode", ["auto", "separate"])
def test_a_job_gives_a_record_for_each_row(tmp_path, monkeypatch, mode):
    """The dict is the row's output, the costs are those of all its calls, and the journal knows the row again."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    simulator = Simulator(SimSettings(seed=1))
    out = tmp_path / "out.jsonl"

    async def main():
        await run_async(ROWS, task(mode=mode), out=out, cache="off", api_key="sk", handler=simulator.handler)
        calls = simulator.ledger.totals.attempts
        await run_async(ROWS, task(mode=mode), out=out, cache="off", api_key="sk", handler=simulator.handler)
        return calls, simulator.ledger.totals.attempts

    calls, after = virtual_run(main)
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [list(record["output"]) for record in records] == [list(ASKS)] * 6
    assert calls == after == (6 if mode == "auto" else 18)
    assert [record["attempts"] for record in records] == [calls // 6] * 6
    assert sum(record["dollars"] for record in records) == pytest.approx(simulator.ledger.totals.dollars)


def test_a_plan_says_when_rows_are_asked_in_several_requests(tmp_path):
    """What is planned is one request a row; where that is not what a run sends, the plan says so."""
    data = tmp_path / "in.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def said(mode):
        job = JobSettings(input=str(data), task=task(mode=mode))
        plan = asyncio.run(make_plan(job, Settings(log="off"), cache=None))
        return [one for one in plan.warnings if "takes 3 separate ones" in one]

    assert [len(said(mode)) for mode in ("merged", "auto", "separate")] == [0, 0, 1]


def test_what_flex_answered_in_part_is_on_the_rows_account(tmp_path, monkeypatch):
    """One of two separate questions finds no room: both are asked at the default tier, and the first is not forgotten."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    outputs = {"queue": ASKS["queue"], "summary": ASKS["summary"]}
    asking = MergedTask(model="gpt-5.4-mini", prompt="{text}", outputs=outputs, mode="separate")

    class Full(FakeProvider):
        async def __call__(self, call):
            summary = b"Summarise" in call.body
            full = summary and b'"service_tier":"flex"' in call.body
            text = "It is late." if summary else "billing"
            self._script = [Step(status=429) if full else Step(text=text, input_tokens=1000, output_tokens=10)]
            return await super().__call__(call)

    provider = Full()

    async def main():
        return list(await run_async(ROWS[:1], asking, lane="flex", cache=False, api_key="sk", handler=provider))

    (result,) = virtual_run(main)
    one = Prices().rates("gpt-5.4-mini").dollars(Usage(input_tokens=1000, output_tokens=10))
    assert result.value == {"queue": "billing", "summary": "It is late."}
    assert result.attempts == len(provider.seen)
    assert result.dollars == pytest.approx(2.5 * one)


def test_the_flex_tier_is_asked_for_parts_as_well(tmp_path, monkeypatch):
    """Every separate request carries the tier."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    provider = FakeProvider([Step(text="billing")])
    asking = MergedTask(
        model="gpt-5.4-mini", prompt="{text}", outputs={"a": ASKS["queue"], "b": ASKS["queue"]}, mode="separate"
    )
    virtual_run(lambda: run_async(ROWS[:1], asking, lane="flex", cache="off", api_key="sk", handler=provider))
    assert [json.loads(call.body)["service_tier"] for call in provider.seen] == ["flex", "flex"]
