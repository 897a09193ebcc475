"""Jobs over their lanes, engine and simulator on virtual time, held against the provider's own books."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from headway.engine import Engine
from headway.errors import ConfigError, ConnectFailed
from headway.jobs.runner import JobSettings, run_job
from headway.policy.lanes import PROBE_ROWS, LaneSettings
from headway.prompts import Task
from headway.sim import BatchSettings, SimSettings, Simulator
from headway.testing import virtual_run
from headway.types import Reply

HOUR = 3600.0


class World:
    """A job's input and output, and a provider that outlives the runs."""

    def __init__(self, tmp_path, rows=200, **sim):
        (tmp_path / "in.csv").write_text("text\n" + "".join(f"where is my parcel {n}\n" for n in range(rows)))
        self.rows = rows
        self.settings = JobSettings(
            input=str(tmp_path / "in.csv"),
            task=Task(model="gpt-5.4-mini", prompt="{text}", labels=["shipping", "billing"]),
            out=tmp_path / "out.jsonl",
        )
        self.sim = sim
        self.simulator = None

    def run(self, lane="auto", deadline_s=float("inf"), *, budget_usd=None, handler=None, stop_after_s=None, **more):
        """One run: what it ended with, and how long it took on its own clock."""

        async def main():
            loop = asyncio.get_running_loop()
            if self.simulator is None:
                self.simulator = Simulator(SimSettings(seed=3, **self.sim))
            lanes = LaneSettings(lane=lane, deadline_s=deadline_s)
            job = JobSettings(**{name: getattr(self.settings, name) for name in self.settings.__struct_fields__})
            job = type(job)(**({name: getattr(job, name) for name in job.__struct_fields__} | {"lanes": lanes} | more))
            async with Engine(
                handler=handler or self.simulator.handler, log="off", seed=1, budget_usd=budget_usd, api_key="sim"
            ) as engine:
                started_s = loop.time()
                work = asyncio.create_task(run_job(job, engine))
                if stop_after_s is not None:
                    await asyncio.sleep(stop_after_s)
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)
                    return None, 0.0
                return await work, loop.time() - started_s

        return virtual_run(main)

    @property
    def output(self):
        return [json.loads(line) for line in self.settings.out.read_text().splitlines()]

    @property
    def lanes(self):
        return Counter(line["lane"] for line in self.output)

    @property
    def paid(self):
        return Counter(row.content for row in self.simulator.ledger.rows if row.output_tokens)

    @property
    def spent(self):
        return sum(row.dollars or 0.0 for row in self.simulator.ledger.rows)

    def whole(self):
        """Every row is in the output once and was paid for once."""
        assert [line["row"] for line in self.output] == list(range(1, self.rows + 1))
        assert [line["error"] for line in self.output if line["error"]] == []
        assert len(self.paid) == self.rows
        assert set(self.paid.values()) == {1}
        assert sum(line["dollars"] for line in self.output) == pytest.approx(self.spent)


@pytest.fixture
def world(tmp_path):
    return lambda rows=200, **sim: World(tmp_path, rows, **sim)


def test_with_hours_to_spare_all_but_the_probes_are_batched(world):
    one = world(batches=BatchSettings(duration_s=420.0))
    finished, took_s = one.run("auto", 6 * HOUR)
    assert not finished.stopped
    one.whole()
    assert one.lanes == {"online": PROBE_ROWS, "batch": 200 - PROBE_ROWS}
    assert took_s < HOUR


def test_rows_still_out_when_the_deadline_nears_are_done_online(world):
    """A batch that would take five hours is cancelled in time; what it had answered is kept and paid once."""
    one = world(batches=BatchSettings(duration_s=5 * HOUR))
    finished, took_s = one.run("batch", 1 * HOUR)
    assert not finished.stopped
    one.whole()
    assert took_s <= HOUR
    assert one.lanes["batch"] >= 10
    assert one.lanes["online"] >= 100


def test_a_short_deadline_takes_no_batch(world):
    one = world()
    one.run("auto", 300.0)
    one.whole()
    assert one.lanes["batch"] == 0


def test_flex_costs_half_and_rows_it_has_no_room_for_go_online(world):
    dear = world()
    dear.run("online")
    full = [line["dollars"] for line in dear.output]
    one = world(flex_unavailable=0.3)
    finished, _ = one.run("flex", fresh=True)
    assert not finished.stopped
    one.whole()
    assert one.lanes["flex"] > 100
    assert finished.moved == one.lanes["online"]
    for line, online in zip(one.output, full, strict=True):
        assert line["dollars"] == pytest.approx(online * (0.5 if line["lane"] == "flex" else 1.0))
    none = world(20, flex_unavailable=1.0)
    finished, _ = none.run("flex", fresh=True)
    none.whole()
    assert (finished.moved, none.lanes) == (20, {"online": 20})


def test_the_budget_holds_in_the_batch_lane_and_the_job_goes_on_with_a_greater_one(world):
    """Never a cent over the cap; the rows that did not fit stay owed; nothing is paid twice."""
    one = world(batches=BatchSettings(duration_s=60.0))
    finished, _ = one.run("batch", budget_usd=0.001)
    assert "budget" in finished.stopped
    assert one.spent <= 0.001
    assert 10 < finished.tally.done < 190
    finished, _ = one.run("batch", budget_usd=1.0)
    assert not finished.stopped
    one.whole()


def test_a_budget_is_the_jobs_and_earlier_runs_count(world):
    one = world()
    finished, _ = one.run("online", budget_usd=0.003)
    assert finished.stopped
    spent = one.spent
    assert spent <= 0.003
    finished, _ = one.run("online", budget_usd=0.003)
    assert finished.stopped
    assert one.spent <= 0.003


def test_a_run_that_was_stopped_goes_on_with_its_batches_whatever_the_lane(world):
    """Rows at the provider belong to the batch that holds them: a later run waits for them, and pays nothing twice."""
    one = world(batches=BatchSettings(duration_s=600.0))
    one.run("batch", stop_after_s=60.0)
    journal = one.settings.out.with_name("out.jsonl.journal").read_text()
    assert '"submitted"' in journal
    assert '"ended"' not in journal
    finished, _ = one.run("online")
    assert not finished.stopped
    one.whole()
    assert one.lanes == {"batch": 200}


@pytest.mark.parametrize("more", [{"fresh": True}, {"out": None}], ids=["fresh", "no output"])
def test_batches_that_nobody_will_have_are_cancelled(world, more):
    """A job that is started over, or that keeps nothing, leaves none running: what they had answered is all it cost."""
    one = world(60, batches=BatchSettings(duration_s=600.0))
    one.run("batch", stop_after_s=100.0, **({} if "fresh" in more else more))
    finished, _ = one.run("batch", **more)
    assert finished.tally.done == 60
    assert len(one.paid) == 60
    assert sum(one.paid.values()) < 90


def test_a_provider_without_batches_stops_the_batch_lane_and_not_auto(world):
    one = world(30)
    simulator = Simulator(SimSettings(seed=3))
    one.simulator = simulator

    async def without(call):
        if "/files" in call.path or "/batches" in call.path:
            return Reply(404, (("content-type", "application/json"),), b'{"error":{"message":"no such path"}}')
        return await simulator.handler(call)

    finished, _ = one.run("batch", handler=without)
    assert "--lane online" in finished.stopped
    assert not one.settings.out.exists()
    one.run("auto", 6 * HOUR, handler=without)
    one.whole()
    assert one.lanes == {"online": 30}


def test_a_lane_that_the_api_does_not_have_is_an_error_before_anything_is_sent(world):
    one = world(3)
    task = Task(model="claude-haiku-4-5", api="messages", prompt="{text}", labels=["a"])
    with pytest.raises(ConfigError, match="flex is not offered for the messages API"):
        one.run("flex", task=task)


def test_an_address_where_nobody_is_stops_the_batch_lane_with_a_sentence(world):
    """Waiting in silence for a server that never was helps nobody; one that was there is waited for."""
    one = world(5)

    async def nobody(call):
        raise ConnectFailed("cannot connect to http://127.0.0.1:9; check base_url")

    finished, took_s = one.run("batch", handler=nobody)
    assert "cannot connect" in finished.stopped
    assert took_s < 120
