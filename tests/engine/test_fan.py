"""Send one, then fan: a job's first row goes ahead where that pays, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import tempfile

import pytest

from headway import Engine, Task
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step, virtual_run

SYSTEM = " ".join(f"Rule {i}: questions on topic {i} get the label t{i}." for i in range(250))
QUIET = {"log": "off", "log_level": "off", "seed": 7, "api_key": "k"}


class Ask:
    """A task for the Messages endpoint."""

    path = "/v1/messages"
    repairs_max = 0
    bears_cutting = True

    def __init__(self, system: str = SYSTEM) -> None:
        self.system = system

    def body(self, row) -> bytes:
        turns = [{"role": "user", "content": row["text"]}]
        fields = {"model": "claude-sonnet-5", "max_tokens": 20, "system": row.get("system", self.system)}
        return json.dumps(fields | {"messages": turns}).encode()

    def key_body(self, row) -> None:
        return None

    def accept(self, text: str) -> str:
        return text

    def repair(self, row, text, problem) -> bytes:
        return self.body(row)


def rows(count: int) -> list[dict]:
    return [{"text": f"Question {n}?"} for n in range(count)]


def job(task, count: int = 60, *, mode: str = "auto", source=None, **settings):
    """The rows through an engine and the simulator: results, and the provider's totals."""
    simulator = Simulator(SimSettings(seed=1))

    async def main():
        async with Engine(handler=simulator.handler, prompt_cache=mode, **QUIET | settings) as engine:
            found = [one async for one in engine.map(source or rows(count), task, concurrency=50)]
        return found, simulator.ledger.totals

    return virtual_run(main)


def test_one_row_writes_and_all_others_read():
    """A tenth of the input dollars: one write, N - 1 reads, every row answered."""
    found, totals = job(Ask())
    assert [one.error for one in found] == [""] * 60
    assert found[0].usage.cache_write_tokens > 2_000
    assert all(one.usage.cached_tokens == found[0].usage.cache_write_tokens for one in found[1:])
    _, plain = job(Ask(), mode="off")
    assert totals.dollars < 0.2 * plain.dollars


def test_a_short_prefix_changes_nothing():
    """No row waits, no breakpoint is set: the same dollars at the same time."""
    found, totals = job(Ask("Be brief."))
    same, plain = job(Ask("Be brief."), mode="off")
    assert totals == plain
    assert [one.latency_s for one in found] == [one.latency_s for one in same]


def test_a_row_with_a_head_of_its_own_is_not_marked():
    """It would write what nobody reads."""
    source = rows(30)
    source[7]["system"] = "Another. " + SYSTEM
    found, _ = job(Ask(), source=source)
    assert found[7].usage.cached_tokens == found[7].usage.cache_write_tokens == 0


def order(task, count: int, script=None, **settings) -> list[float]:
    """When each request reached the provider, in seconds."""
    provider, at_s = FakeProvider(script or [Step(delay_s=3.0)]), []

    async def watched(call):
        at_s.append(asyncio.get_running_loop().time())
        return await provider(call)

    async def main():
        async with Engine(handler=watched, prompt_cache="auto", **QUIET | settings) as engine:
            start_s = asyncio.get_running_loop().time()
            async for _ in engine.map(rows(count), task, concurrency=50):
                pass
            return [at - start_s for at in at_s]

    return virtual_run(main)


PROMPT = SYSTEM + "\n\nQuestion: {text}"


def test_a_prompt_shared_in_the_users_turn_counts_too():
    """`headway run --prompt`: the common beginning of two requests is what the provider sees."""
    at_s = order(Task(model="gpt-5.4-mini", prompt=PROMPT), 20)
    assert at_s[0] == 0.0
    assert min(at_s[1:]) == 3.0


def test_three_rows_are_not_worth_the_wait():
    """Fewer dollars than the wait is worth."""
    assert max(order(Task(model="gpt-4.1-nano", prompt=PROMPT), 3)) < 3.0


def test_an_unknown_price_makes_nobody_wait():
    """What cannot be weighed is left alone."""
    assert max(order(Task(model="nobody-knows-it", prompt=PROMPT), 20)) < 3.0


def test_a_first_answer_that_never_comes_holds_the_others_for_a_minute():
    """Then they go all the same."""
    at_s = order(Task(model="gpt-5.4-mini", prompt=PROMPT), 20, [Step(delay_s=500.0), Step()])
    assert min(at_s[1:]) == 60.0


def test_a_failed_first_row_lets_the_others_go():
    """Its tries were made; the rest is not held up for it."""
    at_s = order(Task(model="gpt-5.4-mini", prompt=PROMPT), 20, [400, Step(delay_s=1.0)])
    assert max(at_s) < 3.0
    assert len(at_s) == 20


def test_rows_answered_from_the_cache_have_written_nothing():
    """The first row that asks the provider goes ahead, however many hits come before it."""
    provider = FakeProvider([Step(delay_s=3.0)])
    at_s = []

    async def watched(call):
        at_s.append(asyncio.get_running_loop().time())
        return await provider(call)

    async def main():
        task = Task(model="gpt-5.4-mini", prompt=PROMPT)
        async with Engine(handler=watched, prompt_cache="auto", cache="memory", **QUIET) as engine:
            async for _ in engine.map(rows(5), task, concurrency=1):
                pass
            at_s.clear()
            start_s = asyncio.get_running_loop().time()
            found = [one async for one in engine.map(rows(20), task, concurrency=50)]
            assert [one.cache for one in found[:5]] == ["memory"] * 5
            return [round(at - start_s, 6) for at in at_s]

    seen = virtual_run(main)
    assert (len(seen), seen[0]) == (15, 0.0)
    assert min(seen[1:]) == 3.0


def test_a_marked_row_has_the_cache_key_of_an_unmarked_one():
    """Answers kept without the setting are found with it, and the other way round."""
    simulator = Simulator(SimSettings(seed=1, latency_scale=0))

    async def run(mode: str, home: str) -> list[str]:
        settings = QUIET | {"cache": "disk", "cache_path": home, "prompt_cache": mode}
        async with Engine(handler=simulator.handler, **settings) as engine:
            return [one.cache async for one in engine.map(rows(30), Ask())]

    async def main(home: str):
        return await run("auto", home), await run("off", home)

    with tempfile.TemporaryDirectory() as folder:
        first, second = virtual_run(lambda: main(folder + "/cache.sqlite"))
    assert set(first) == {"miss"}
    assert set(second) == {"sqlite"}


@pytest.mark.parametrize("taken", [1, 3])
def test_leaving_early_leaves_nothing_behind(taken):
    """A job that is closed while rows wait for the first one ends at once."""

    async def main():
        provider = FakeProvider([Step(delay_s=3.0)])
        async with Engine(handler=provider, prompt_cache="auto", **QUIET) as engine:
            results = engine.map(rows(20), Task(model="gpt-5.4-mini", prompt=PROMPT), concurrency=50)
            for _ in range(taken):
                await anext(results)
            await results.aclose()
            return len(asyncio.all_tasks())

    assert virtual_run(main) == 1


def test_a_task_that_fails_on_a_row_fails_that_row_only():
    """Also when the row is the first or the second, of which the common beginning would be taken."""
    source = [{"no": "text"}, *rows(20)]
    found, _ = job(Task(model="gpt-5.4-mini", prompt=PROMPT), source=source)
    assert [bool(one.error) for one in found] == [True] + [False] * 20
