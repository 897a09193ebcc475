"""What the batch lane spends: under the budget whatever is asked again, and told wherever the row ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from headway.jobs.lanes import Took
from headway.jobs.parcel_events import Bad
from headway.policy.budget import SpendCap
from headway.prompts import Task
from headway.sim import BatchSettings
from headway.sim.batch_settings import parse_batch_fault
from headway.testing import virtual_run
from headway.types import Result
from tests.jobs.batch_world import World as BatchWorld
from tests.jobs.test_job_lanes import World

MODEL = "gpt-5.4-mini"
MINUTES = BatchSettings(duration_s=300.0)


class Never(Task):
    """No answer is good enough."""

    def accept(self, text):
        raise ValueError("no")


class Late(Task):
    """The first hundred answers are not good enough."""

    def accept(self, text):
        self.heard = getattr(self, "heard", 0) + 1
        if self.heard <= 100:
            raise ValueError("no")
        return text


def asked(kind=Task, prompt="{text}", **more):
    return kind(model=MODEL, prompt=prompt, max_output_tokens=16, **more)


@pytest.fixture
def world(tmp_path):
    return lambda rows=200, **sim: World(tmp_path, rows, **{"batches": MINUTES} | sim)


def ledger_rows(one):
    return [row for row in one.simulator.ledger.rows if row.output_tokens]


def test_repairs_in_batches_stay_under_the_budget(world):
    """Each question that a row asks is set aside for before it is sent; a greater budget goes on from there."""
    one = world()
    finished, _ = one.run("batch", task=asked(Never, repairs_max=2), budget_usd=0.005)
    assert "does not fit under the budget" in finished.stopped
    assert 0.003 < one.spent <= 0.005
    assert 10 < finished.tally.done < 200


def test_answers_that_may_have_been_paid_and_lost_count_against_the_budget(world):
    """Nobody knows what they cost: their worst case is taken for spent."""
    one = world(60, batches=BatchSettings(duration_s=60.0, faults=(parse_batch_fault("output_404:1x1"),)))
    finished, _ = one.run("batch", task=asked(), budget_usd=0.0035)
    assert one.spent <= 0.0035
    assert finished.tally.done < 60
    noted = [json.loads(line) for line in (one.settings.out.parent / "out.jsonl.journal").read_text().splitlines()]
    spent = [line["spent"] for line in noted if "spent" in line]
    assert spent[-1] >= one.spent


@pytest.mark.parametrize("repairs_max", [1, 3, 5])
def test_every_repair_is_had_in_batches(world, repairs_max):
    """However many: none of them counts as a batch without use, and what all took is told."""
    one = world(20)
    one.run("batch", task=asked(Never, repairs_max=repairs_max))
    assert len(ledger_rows(one)) == 20 * (repairs_max + 1)
    assert one.lanes == {"batch": 20}
    assert {line["repairs"] for line in one.output} == {repairs_max}
    assert sum(line["dollars"] for line in one.output) == pytest.approx(one.spent)


@pytest.mark.parametrize("stop_after_s", [400.0, 500.0, 650.0])
def test_what_bad_answers_took_is_told_after_a_kill(world, stop_after_s):
    """Between the answer and its repair, or while the repair is out: the next run adds it to the row's."""
    one, task = world(100), asked(Late)
    one.run("batch", task=task, stop_after_s=stop_after_s)
    one.run("batch", task=task)
    assert len(ledger_rows(one)) == 200
    assert {line["error"] for line in one.output} == {None}
    assert {(line["repairs"], line["attempts"]) for line in one.output} == {(1, 2)}
    assert sum(line["dollars"] for line in one.output) == pytest.approx(one.spent)


def test_what_bad_answers_took_goes_with_a_row_that_is_called_back():
    """Whoever settles it adds that to the row's result."""

    async def main():
        there = BatchWorld(batches={"duration_s": 1_000.0}, task=asked(Late))
        lane = there.lane()
        await there.put(lane, range(100))
        lane.flush()
        while there.calls["POST /v1/batches"] < 2:  # noqa: ASYNC110 - the provider's doing, on virtual time
            await asyncio.sleep(10.0)
        await asyncio.sleep(100.0)
        await lane.recall()
        assert len(there.returned) > 10
        assert {(item.took.attempts, item.took.repairs) for item in there.returned} == {(1, 0)}
        told = [item.took.dollars for item in there.returned] + [result.dollars for result in there.results]
        await there.paid()
        assert sum(told) == pytest.approx(sum(row.dollars or 0.0 for row in there.sim.ledger.rows))
        await there.end()

    virtual_run(main)
    result = Result(index=0, row={}, dollars=2.0, attempts=1)
    added = Took(1.0, 3, 2).added(result)
    assert (added.dollars, added.attempts, added.repairs) == (3.0, 4, 2)
    assert Took(None, 1).added(result).dollars is None


def test_batches_of_an_earlier_run_are_under_the_budget_before_their_rows_come(world):
    """With an edited prompt nobody asks for them: what they may cost is left free, first as long as they run."""
    one = world()
    one.run("batch", task=asked(), budget_usd=0.010, stop_after_s=60.0)
    finished, took_s = one.run("online", task=asked(prompt="Say: {text}"), budget_usd=0.010)
    assert "batches of earlier runs" in finished.stopped
    assert took_s > 300.0
    assert finished.tally.done < 30
    finished, _ = one.run("batch", task=asked(), budget_usd=0.010)
    assert not finished.stopped
    assert one.spent <= 0.010


def test_rows_that_share_an_answer_set_nothing_aside_for_themselves(world):
    """Else a repair would wait for money that those hold who wait for it."""
    one = world(100)
    lines = [f"where is my parcel {row % 10}" for row in range(100)]
    (one.settings.out.parent / "in.csv").write_text("text\n" + "\n".join(lines) + "\n")
    finished, _ = one.run("batch", task=asked(Never, repairs_max=1), budget_usd=0.0015)
    assert not finished.stopped
    assert len(ledger_rows(one)) == 20


def test_money_that_is_owed_keeps_others_out_and_only_what_is_stuck_for_good():
    """`reserve` counts both; `possible` what is not known to become less."""
    cap = SpendCap(dollars_max=1.0)
    cap.dollars_owed = 0.6
    assert not cap.reserve(0.5, 0)
    assert cap.possible(0.5, 0)
    assert cap.dollars_left == pytest.approx(0.4)
    cap.dollars_stuck = 0.6
    assert not cap.possible(0.5, 0)
    assert cap.reserve(0.4, 0)


def test_bad_answers_are_noted_by_key(world):
    """The event as a later run reads it."""
    one = world(5)
    one.run("batch", task=asked(Never))
    lines = (one.settings.out.parent / "out.jsonl.journal").read_bytes().splitlines()
    (event,) = [json.loads(line)["event"] for line in lines if b'"batch":"bad"' in line]
    assert len(event["rows"]) == 5
    assert all(dollars > 0 and attempts == 1 for dollars, attempts, _ in event["rows"].values())
    assert Bad(part=0, rows={}).part == event["part"]
