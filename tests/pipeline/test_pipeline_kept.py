"""`@step(cache_s=)`: kept in memory, with `cache_version` in the engine's caches; equal calls at a time run once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headway
from headway.errors import ConfigError
from headway.testing import FakeProvider, virtual_run

RAN: list[str] = []  # of functions on the module's level: those can be told from others by their code


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


@headway.step(cache_s=60, cache_version="1")
async def look_up(word: str) -> dict[str, int]:
    RAN.append(word)
    await asyncio.sleep(1.0)
    return {word: len(word)}


@headway.step(cache_s=60, cache_version="1")
async def spell(word: str) -> AsyncIterator[str]:
    RAN.append(word)
    for letter in word:
        await asyncio.sleep(1.0)
        yield letter


@headway.pipeline(log=False)
async def words():
    return look_up("tide"), spell("ebb")


def played(pipeline, *args, times: int = 1, loose: bool = False, **settings):
    """What runs with an engine of its own gave: their results (or errors, where `loose`), rows by name, and seconds."""

    async def main():
        clock = asyncio.get_running_loop().time
        async with headway.Engine(handler=FakeProvider(), log="off", **settings) as engine:
            begun_s = clock()

            async def one():
                async with pipeline.run(*args, engine=engine) as run:
                    result = await run.result()
                return result, {f"{row.step}#{row.index}": row for row in run.rows()}

            found = await asyncio.gather(*(one() for _ in range(times)), return_exceptions=loose)
            return found, clock() - begun_s

    return virtual_run(main)


def test_results_survive_a_restart_and_are_shared(tmp_path: Path):
    """In the file of the engine's cache: another engine on it serves them, streams with their chunks."""
    settings = {"cache": "disk", "cache_path": str(tmp_path / "cache.sqlite")}
    [(first, rows)], took_s = played(words, **settings)
    assert (first, took_s, RAN) == (({"tide": 4}, "ebb"), 3.0, ["tide", "ebb"])
    assert rows["look_up#0"].outcome == "ok"
    [(again, rows)], took_s = played(words, **settings)
    assert (again, took_s, len(RAN)) == (first, 0.0, 2)
    assert {rows["look_up#0"].outcome, rows["spell#1"].outcome} == {"cached"}
    played(words, cache="disk", cache_path=str(tmp_path / "other.sqlite"))
    assert len(RAN) == 4


def test_an_engine_without_a_cache_leaves_them_in_memory():
    """Whatever their version: the process keeps them then, over engines and loops."""
    played(words, cache="off")
    before = len(RAN)
    played(words, cache="off")
    assert len(RAN) == before
    played(words, cache="memory")
    assert len(RAN) == before + 2  # an engine's memory is its own


def test_functions_that_hang_on_values_around_them_are_kept_in_memory(tmp_path: Path):
    """Two that look alike are two: what they close over is in no key, so no file gets them."""

    def made(suffix: str):
        @headway.step(cache_s=60)
        async def add(word: str) -> str:
            RAN.append(word)
            return word + suffix

        return add

    steps = [made("a"), made("b")]

    @headway.pipeline(log=False)
    async def both():
        return [step("x") for step in steps]

    settings = {"cache": "disk", "cache_path": str(tmp_path / "cache.sqlite")}
    assert played(both, **settings)[0][0][0] == ["xa", "xb"]
    assert played(both, **settings)[0][0][0] == ["xa", "xb"]
    assert len(RAN) == 2


@headway.pipeline(log=False)
async def thrice():
    return [look_up("neap") for _ in range(3)], spell("ox"), spell("ox")


def test_equal_calls_at_the_same_time_run_once():
    """Within a run and across runs: the others wait, and say "cached"; streams give their chunks at the end."""
    found, took_s = played(thrice, times=4, cache="memory")
    assert took_s == 2.0
    assert RAN == ["neap", "ox"]
    assert {str(result) for result, _ in found} == {"([{'neap': 4}, {'neap': 4}, {'neap': 4}], 'ox', 'ox')"}
    outcomes = [row.outcome for _, rows in found for row in rows.values() if row.step]
    assert (outcomes.count("ok"), outcomes.count("cached")) == (2, 18)


def test_a_failure_is_that_of_all_who_wait_in_its_run_and_no_other_s():
    """Once a run, and not once a call."""

    @headway.step(cache_s=60, default="none")
    async def fails(word: str) -> str:
        RAN.append(word)
        await asyncio.sleep(1.0)
        raise KeyError(word)

    @headway.pipeline(log=False)
    async def many():
        return [fails("x") for _ in range(5)]

    found, took_s = played(many, times=3, cache="memory")
    assert [result for result, _ in found] == [["none"] * 5] * 3
    assert len(RAN) == 3
    assert took_s == 3.0  # one run after the other


def test_whoever_waits_for_one_that_is_cancelled_begins_anew():
    """A run that fails takes its call with it; the other run has its result a little later."""

    @headway.pipeline(log=False)
    async def short(fails: bool):
        if fails:
            look_up("spring")
            await asyncio.sleep(0.5)
            raise RuntimeError("not today")
        await asyncio.sleep(0.25)
        return look_up("spring")

    async def main():
        clock = asyncio.get_running_loop().time
        async with headway.Engine(handler=FakeProvider(), log="off", cache="memory") as engine:
            with headway.using(engine):
                failed, told = await asyncio.gather(short(True), short(False), return_exceptions=True)
            assert isinstance(failed, RuntimeError)
            assert told == {"spring": 6}
            assert clock() == pytest.approx(1.5)
        assert RAN == ["spring", "spring"]

    virtual_run(main)


def test_a_step_that_calls_itself_alike_is_a_cycle():
    """It would wait for itself: a sentence instead."""

    @headway.step(cache_s=60)
    async def mirror(word: str) -> str:
        return await mirror(word)

    @headway.pipeline(log=False)
    async def vain():
        return mirror("x")

    [error], _ = played(vain, loose=True, cache="memory")
    assert isinstance(error, ConfigError)
    assert "waits for itself" in str(error)


def test_it_is_cancelled_while_it_waits():
    """Its own time is up: it leaves the one that it waits for alone."""

    @headway.step(cache_s=60)
    async def slow(word: str) -> str:
        RAN.append(word)
        await asyncio.sleep(2.0)
        return word

    hurried = headway.step(slow.fn, name="hurried", cache_s=60, timeout_s=0.5, default="late")
    hurried.spec.kept = slow.spec.kept

    @headway.pipeline(log=False)
    async def pair():
        return slow("x"), hurried("x")

    [(result, rows)], took_s = played(pair, cache="memory")
    assert (result, took_s, RAN) == (("x", "late"), 2.0, ["x"])
    assert rows["hurried#1"].end_s == 0.5


def deployed(folder: Path, text: str, decorated: str):
    """A module of another deployment: the step's own code is the same, what it reads and calls is not."""
    source = f"""
import headway

PROMPT = {text!r}

def helper(x):
    return {text!r} + x

{decorated}
async def said(x: str) -> str:
    return PROMPT + helper(x)

@headway.pipeline(log=False)
async def run_it():
    return said("x")
"""
    module = ModuleType("deployed")
    exec(compile(source, str(folder / "deployed.py"), "exec"), module.__dict__)
    return module.run_it


@pytest.mark.parametrize(
    ("first", "then", "again"),
    [
        ("@headway.step(cache_s=600)", "@headway.step(cache_s=600)", "v2v2x"),
        ('@headway.step(cache_s=600, cache_version="1")', '@headway.step(cache_s=600, cache_version="1")', "v1v1x"),
        ('@headway.step(cache_s=600, cache_version="1")', '@headway.step(cache_s=600, cache_version="2")', "v2v2x"),
    ],
)
def test_no_answer_outlives_the_prompt_it_was_made_with(tmp_path: Path, first, then, again):
    """Another deployment on the same file: only a version that stayed the same says that nothing has changed."""
    settings = {"cache": "disk", "cache_path": str(tmp_path / "cache.sqlite")}
    assert played(deployed(tmp_path, "v1", first), **settings)[0][0][0] == "v1v1x"
    assert played(deployed(tmp_path, "v2", then), **settings)[0][0][0] == again


def test_a_version_is_for_plain_functions():
    """A closure's values, and an object's, are in no key: two that differ would be one in a shared cache."""
    with pytest.raises(ConfigError, match="step 'f': cache_version is for a plain function that hangs on nothing but"):
        word = "x"

        @headway.step(cache_s=60, cache_version="1")
        async def f() -> str:
            return word

    for options, words in [
        ({"cache_version": "1"}, "cache_version needs cache_s="),
        ({"cache_s": 60, "cache_version": 1}, "cache_version must be a text such as '1', not 1"),
    ]:
        with pytest.raises(ConfigError, match=words):
            headway.step(look_up.fn, name="f", **options)


def test_a_call_that_was_left_behind_keeps_nobody_waiting():
    """It swallows its cancellation for ever; equal calls, in its run, beside it and after it, run anew."""
    given_up: list[int] = []

    @headway.step(cache_s=60, timeout_s=1.0, default="late")
    async def stuck(word: str) -> str:
        RAN.append(word)
        while len(RAN) == 1 and not given_up:
            try:
                await asyncio.sleep(1000.0)
            except asyncio.CancelledError:
                pass
        return word

    @headway.pipeline(log=False)
    async def one():
        return stuck("x")

    async def main():
        clock = asyncio.get_running_loop().time
        first = asyncio.create_task(one())
        await asyncio.sleep(6.5)
        beside = asyncio.create_task(one())  # waits until the first is given up, 7 s after its start
        assert (await first, await beside, clock()) == ("late", "x", 7.0)
        assert (await one(), clock()) == ("x", 7.0)
        given_up.append(1)
        assert not stuck.spec.kept._under_way
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    with pytest.warns(RuntimeWarning, match="did not end within 6 s"):
        virtual_run(main)
    assert RAN == ["x", "x"]


def test_every_hit_has_a_copy_of_its_own():
    """What one run does to its list, no other one sees: neither those that waited nor those that come later."""

    @headway.step(cache_s=60)
    async def numbers(count: int) -> list[int]:
        await asyncio.sleep(1.0)
        return list(range(count))

    @headway.step
    async def spoilt(found: list[int]) -> list[int]:
        found.append(99)
        return found

    @headway.pipeline(log=False)
    async def two():
        return spoilt(numbers(2)), spoilt(numbers(2))

    @headway.pipeline(log=False)
    async def one():
        return numbers(2)

    for _ in range(2):
        assert [result for result, _ in played(two, times=2)[0]] == [([0, 1, 99], [0, 1, 99])] * 2
    assert played(one)[0][0][0] == [0, 1]


CALLS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from("xyz"), st.sampled_from(["ok", "fails", "leaves", "late"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(CALLS, st.booleans())
def test_whatever_befalls_them_each_has_its_own_end(calls, fails):
    """Runs that begin, fail and are left at random: one at a time runs a word, results are right, nothing is left."""
    running: set[str] = set()

    @headway.step(cache_s=60)
    async def work(word: str) -> str:
        assert word not in running
        running.add(word)
        try:
            await asyncio.sleep(1.0)
            if fails and word == "x":
                raise KeyError(word)
            return word * 2
        finally:
            running.remove(word)

    @headway.pipeline(log=False)
    async def one(word: str, fate: str):
        handles = [work(word), work(word)]
        if fate in ("fails", "leaves"):
            await asyncio.sleep(0.55)
            raise RuntimeError(fate)
        return handles

    async def begun(at: int, word: str, fate: str):
        await asyncio.sleep(at / 10)
        async with one.run(word, fate, deadline_s=0.75 if fate == "late" else 30.0) as run:
            return await run.result()

    async def main():
        ends = await asyncio.gather(*(begun(*call) for call in calls), return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return ends

    for (_, word, fate), end in zip(calls, virtual_run(main), strict=True):
        if isinstance(end, list):
            assert end == [word * 2] * 2
        elif isinstance(end, headway.DeadlineExceeded):
            assert fate == "late"
        elif isinstance(end, KeyError):
            assert (fails, word) == (True, "x")
        else:
            assert str(end) == fate
    assert not running
    assert not work.spec.kept._under_way
