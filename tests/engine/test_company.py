"""An engine that takes the place of another one goes on where that one stands, as far as it is set as before."""

from __future__ import annotations

import asyncio
from typing import Any

from headway import Engine
from headway.engine.company import Company
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, virtual_run
from headway.types import Trace

PATH = "/v1/responses"


def body(text: str) -> dict[str, Any]:
    return {"model": "gpt-5.4-mini", "input": text, "max_output_tokens": 16}


def engine(handler: Any, before: Engine | None = None, **settings: Any) -> Engine:
    made = Engine(handler=handler, **{"log": "off", "log_level": "off", "api_key": "sk-sim"} | settings)
    made.company = Company(before=before)
    return made


class Seen:
    def __init__(self) -> None:
        self.calls = 0

    def finished(self, trace: Trace) -> None:
        self.calls += trace.kind == "call"

    def stepped(self, rows: Any) -> None:
        pass


def test_learned_limits_figures_and_kept_answers_go_on():
    """The old one answers what it was asked meanwhile, and both charge one account."""
    simulator = Simulator(SimSettings(seed=1, rpm=300, capacity_s=1, latency_scale=0.1))

    async def main():
        old = engine(simulator.handler, cache="memory")
        seen = Seen()
        old.observe(seen)
        await asyncio.gather(*[old.send(PATH, body(f"{n}")) for n in range(12)])
        slow = asyncio.create_task(old.send(PATH, body("slow")))
        await asyncio.sleep(0)
        new = engine(simulator.handler, old, cache="memory", timeout_s=30.0)
        learned = new._open()._pace.lanes
        assert [lane.limits for lane in learned.values()] == [lane.limits for lane in old._open()._pace.lanes.values()]
        assert new.snapshot()["allowed_rpm"] == 300
        assert (await new.send(PATH, body("3"))).header("cache-status").startswith("headway; hit")
        assert (await slow).status == 200
        await old.aclose()
        refused = simulator.ledger.totals.throttled
        replies = await asyncio.gather(*[new.send(PATH, body(f"new {n}")) for n in range(20)])
        assert {reply.status for reply in replies} == {200}
        assert simulator.ledger.totals.throttled == refused
        assert seen.calls == new.snapshot()["attempts"] + 1 - refused  # one was answered by the cache
        await new.aclose()

    virtual_run(main)


def test_what_is_set_otherwise_begins_anew():
    """Limits that were configured, a cache that was switched on."""
    simulator = Simulator(SimSettings(seed=1, latency_scale=0.1))

    async def main():
        async with engine(simulator.handler, requests_per_min=60.0) as old:
            await old.send(PATH, body("1"))
            async with engine(simulator.handler, old, requests_per_min=120.0, cache="memory") as new:
                assert not new._open()._pace.lanes
                await new.send(PATH, body("1"))
                assert new.snapshot()["cache"]["hits"] == 0

    virtual_run(main)


def test_a_budget_that_is_raised_counts_what_was_spent():
    """And one that waits behind the old cap gets in under the new one."""

    async def main():
        old = engine(FakeProvider([200] * 9), budget_tokens=2000)
        await old.send(PATH, body("one"))
        spent = old.budget.cap.tokens_spent
        assert spent > 0
        new = engine(FakeProvider([200] * 9), old, budget_tokens=4000)
        new.new_trace()
        assert (new.budget.cap.tokens_spent, new.budget.cap.tokens_max) == (spent, 4000)
        await new.send(PATH, body("two"))
        assert old.budget.cap.tokens_spent > spent
        await old.aclose()
        await new.aclose()

    virtual_run(main)


def test_breakers_of_upstreams_that_are_described_as_before_stay():
    """A new address begins with a good name."""

    def described(url: str) -> list[dict[str, Any]]:
        base = {"stands_in_for": "https://api.openai.com", "models": {"gpt-5.4-mini": "gpt-5.4-mini"}}
        return [
            {"name": "one", "base_url": "https://one.example/v1"} | base,
            {"name": "two", "base_url": url} | base,
        ]

    async def main():
        async with engine(FakeProvider([200] * 9), upstreams=described("https://two.example/v1")) as old:
            for n in range(6):
                await old.send(PATH, body(f"{n}"))
            before = old._open()._router.choice.lanes
            changed = described("https://three.example/v1")
            async with engine(FakeProvider([200] * 9), old, upstreams=changed) as new:
                after = new._open()._router.choice.lanes
                assert {key[0] for key in before} >= {"one", "two"}
                assert {key[0] for key in after} == {key[0] for key in before} - {"two"}
                assert all(after[key] is before[key] for key in after)

    virtual_run(main)


def test_a_cap_that_is_taken_out_and_put_back_counts_what_was_spent_under_it():
    """Otherwise two reloads would be a new budget."""

    async def main():
        first = engine(FakeProvider([200] * 9), budget_tokens=2000)
        await first.send(PATH, body("one"))
        spent = first.budget.cap.tokens_spent
        without = engine(FakeProvider([200] * 9), first)
        without.new_trace()
        assert without.budget is None
        other = engine(FakeProvider([200] * 9), without, timeout_s=30.0)
        other.new_trace()
        again = engine(FakeProvider([200] * 9), other, budget_tokens=3000)
        again.new_trace()
        assert (again.budget.cap.tokens_spent, again.budget.cap.tokens_max) == (spent, 3000)
        assert spent > 0
        for one in (first, without, other, again):
            await one.aclose()

    virtual_run(main)
