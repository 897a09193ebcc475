"""`headway.cached`: a function's results are kept, equal calls share one run, and odd ones are refused with a sentence."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import UNSET

import headway
from headway.testing import FakeProvider, virtual_run

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass
class Point:
    x: Any
    y: Any

    def sum(self) -> Any:
        return self.x + self.y


class Pair(msgspec.Struct):
    one: Any = None
    other: Any = None


class Colour(Enum):
    RED = "red"
    GREEN = "green"


def test_a_plain_function_runs_once():
    """However its arguments are spelled; the counts say so; `bypass` and `cache_clear` do what they say."""
    seen = []

    @headway.cached(ttl=60)
    def area(width: int, height: int = 2) -> int:
        """Width times height."""
        seen.append(width)
        return width * height

    assert [area(3), area(3, 2), area(width=3), area(height=2, width=3)] == [6, 6, 6, 6]
    assert area.cache_info() == (3, 1, 0)
    assert area.__name__ == "area"
    assert area.__doc__ == "Width times height."
    assert area.bypass(3) == 6
    area.cache_clear()
    assert area(3) == 6
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", 1), (1, 1.0), (1, True), ("1", Decimal("1")), ([1], (1,)), ({1}, [1]), (b"a", "a"), (None, "None"),
        (Point(1, 2), {"x": 1, "y": 2}), ([Decimal("1")], ["1"]), ({"a": Decimal("1")}, {"a": "1"}),
        # inside what msgspec would have made plain data of, types and all
        (Point("1", 2), Point(Decimal("1"), 2)), (Point(b"abc", 2), Point("YWJj", 2)), (Point((1,), 2), Point([1], 2)),
        (Point(date(2020, 1, 1), 2), Point("2020-01-01", 2)), (Pair("1"), Pair(Decimal("1"))), (Pair(UNSET), Pair()),
        ({"1"}, {Decimal("1")}), (OrderedDict(a="1"), OrderedDict(a=Decimal("1"))), (Point({1}, 2), Point([1], 2)),
        (Colour.RED, Colour.GREEN), (Colour.RED, "red"),
    ],
)  # fmt: skip
def test_what_differs_in_type_is_another_call(one, other):
    """A wrong hit is worse than a miss."""

    @headway.cached(ttl=60)
    def kind(value: Any) -> str:
        return repr(value)

    assert kind(one) == repr(one)
    assert kind(other) == repr(other)


def test_the_order_of_a_dict_or_set_makes_no_difference():
    """They are equal, so they are one call."""

    @headway.cached(ttl=60)
    def count(value: Any) -> int:
        return len(value)

    count({"a": 1, "b": 2})
    count({"b": 2, "a": 1})
    count({"x", "y", "z"})
    count({"z", "y", "x"})
    assert count.cache_info() == (2, 2, 0)


def test_what_cannot_be_kept_is_refused():
    """The sentence names the argument, or the result's type; nothing is run for an argument."""
    ran = []

    @headway.cached(ttl=60)
    def odd(value: Any) -> Any:
        ran.append(1)
        return (1, 2)

    with pytest.raises(TypeError, match=r"argument 'value' of .*odd is a object, which cannot be part of a cache key"):
        odd(object())
    assert not ran
    with pytest.raises(TypeError, match="a tuple, would come back as a list; annotate"):
        odd(1)


def test_annotated_results_come_back_as_they_were():
    """A dataclass is a dataclass again."""

    @headway.cached(ttl=60)
    def point(x: int) -> Point:
        return Point(x, x)

    assert point(1) == point(1) == Point(1, 1)
    assert point.cache_info().hits == 1


def test_only_the_result_needs_its_annotation_at_run_time():
    """An argument's type that only type checkers import is not looked for; a result's is, before anything is run."""
    ran = []

    @headway.cached(ttl=60)
    def text(x: Fraction) -> str:
        return str(x)

    @headway.cached(ttl=60)
    def fraction(x: int) -> Fraction:
        ran.append(x)
        return x

    assert text(1) == "1"
    with pytest.raises(TypeError, match="import the type that it is annotated with"):
        fraction(1)
    assert not ran


def test_failures_are_not_kept():
    """The next call runs again."""
    outcomes = [ValueError("no"), 1]

    @headway.cached(ttl=60)
    def flaky() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(ValueError, match="no"):
        flaky()
    assert flaky() == 1


def test_threads_share_one_run():
    """Eight at once, one run, eight results."""
    started, go, results = threading.Event(), threading.Event(), []

    @headway.cached(ttl=60)
    def slow(x: int) -> int:
        started.set()
        go.wait(5)
        return x

    threads = [threading.Thread(target=lambda: results.append(slow(7))) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait(5)
    while slow.cache_info().joined < 7:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert results == [7] * 8
    assert slow.cache_info() == (0, 1, 7)


def test_tasks_share_one_run_that_outlives_those_who_leave():
    """The first caller is cancelled, the second gets the result; when all leave, the run ends."""
    ended = []

    @headway.cached(ttl=60)
    async def slow(x: int) -> int:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            ended.append(x)
            raise
        return x

    async def main():
        first, second = asyncio.create_task(slow(1)), asyncio.create_task(slow(1))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second == 1
        assert await slow(1) == 1
        alone = asyncio.create_task(slow(2))
        await asyncio.sleep(0.01)
        alone.cancel()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert slow.cache_info() == (1, 2, 1)
    assert ended == [2]


def test_results_are_kept_in_an_engines_named_cache(tmp_path):
    """On disk, for the next process; a plain function with a SyncEngine, an async one with an Engine."""
    settings = {"handler": FakeProvider(), "log": "off", "cache": "disk", "caches": {"sums": {"ttl_s": 60}}}
    settings |= {"cache_path": str(tmp_path / "cache.sqlite")}
    ran = []

    def add(a: int, b: int) -> int:
        ran.append(a)
        return a + b

    for _ in range(2):
        with headway.SyncEngine(**settings) as engine:
            sums = headway.cached(ttl=60, namespace="sums", engine=engine, name="add")(add)
            assert [sums(1, 2), sums(1, 2)] == [3, 3]
    assert ran == [1]
    assert (tmp_path / "cache@sums.sqlite").exists()

    async def add_async(a: int, b: int) -> int:
        ran.append(a)
        return a + b

    async def main():
        async with headway.Engine(**settings) as engine:
            sums = headway.cached(ttl=60, namespace="sums", engine=engine, name="add async")(add_async)
            out = [await sums(1, 2), await sums(1, 2)]
            sums.cache_clear()
            return [*out, await sums(1, 2)], sums.cache_info()

    assert asyncio.run(main()) == ([3, 3, 3], (1, 2, 0))


def test_wrong_uses_are_told():
    """A ttl that is none, an engine of the other kind, a namespace that is not there."""
    with pytest.raises(headway.ConfigError, match="ttl must be a number of seconds above 0"):
        headway.cached(ttl=0)
    with pytest.raises(headway.ConfigError, match="give it a SyncEngine"):
        headway.cached(ttl=1, engine=headway.Engine(handler=FakeProvider()))(len)
    with headway.SyncEngine(handler=FakeProvider(), log="off", cache="memory") as engine:

        @headway.cached(ttl=1, namespace="nowhere", engine=engine)
        def one() -> int:
            return 1

        with pytest.raises(headway.ConfigError, match=r"\[caches.nowhere\]"):
            one()


def test_an_engines_cache_tells_functions_of_one_name_apart(tmp_path):
    """Lambdas by their code, two scripts' `__main__` by their files; closures and methods are asked for a name."""
    with headway.SyncEngine(handler=FakeProvider(), log="off", cache="memory") as engine:
        keep = headway.cached(ttl=60, engine=engine)
        assert [keep(lambda x: x * 2)(5), keep(lambda x: x * 3)(5), keep(lambda x: x * 2)(5)] == [10, 15, 10]
        assert [keep(lambda x: x.upper())("a"), keep(lambda x: x.title())("a b")] == ["A", "A B"]

        def plus(n):
            return lambda x: x + n

        for bound in (plus(1), Point(1, 2).sum):
            with pytest.raises(headway.ConfigError, match="give it a name= of its own"):
                keep(bound)
        named = [headway.cached(ttl=60, engine=engine, name=f"plus {n}")(plus(n)) for n in (1, 100)]
        assert [add(10) for add in named] == [11, 110]
    script = """
import sys, headway
def made(name):
    return f"{sys.argv[2]} made {name}"
with headway.SyncEngine(cache="disk", cache_path=sys.argv[1], log="off", api_key="k") as engine:
    @headway.cached(ttl=3600, engine=engine)
    def load(name: str) -> str:
        return made(name)
    print(load("x"))
"""
    said = []
    for file, name in (("one.py", "one"), ("two.py", "two"), ("one.py", "three")):
        (tmp_path / file).write_text(script)
        command = [sys.executable, tmp_path / file, tmp_path / "c.sqlite", name]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    assert said == ["one made x", "two made x", "one made x"]


def test_nobody_joins_a_run_that_everybody_left():
    """It may take its time to end, or not have heard yet: who comes then gets an answer, not its CancelledError."""

    @headway.cached(ttl=60)
    async def slow(x: int) -> int:
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0.05)
        return x

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await slow(1)
        first = await slow(1)
        again = await slow(1)  # the old run's end took nothing of the new one's away
        return first, again

    assert virtual_run(main) == (1, 1)
    assert slow.cache_info() == (1, 2, 0)


def test_clearing_reaches_runs_under_way():
    """Their results go to those who wait, and are neither kept nor joined."""
    state = ["old"]

    @headway.cached(ttl=60)
    async def load() -> str:
        value = state[0]
        await asyncio.sleep(0.1)
        return value

    async def main():
        before = asyncio.create_task(load())
        await asyncio.sleep(0.05)
        state[0] = "new"
        load.cache_clear()
        return await asyncio.gather(load(), before), await load()

    assert virtual_run(main) == (["new", "old"], "new")


def test_clearing_reaches_runs_in_other_threads():
    """The same for a plain function, without and with an engine."""
    with headway.SyncEngine(handler=FakeProvider(), log="off", cache="memory") as engine:
        for where in (None, engine):
            state, started, go = ["old"], threading.Event(), threading.Event()

            @headway.cached(ttl=60, engine=where, name="load")
            def load() -> str:
                value = state[0]  # noqa: B023
                if value == "old":
                    started.set()  # noqa: B023
                    go.wait(5)  # noqa: B023
                return value

            before = threading.Thread(target=load)
            before.start()
            started.wait(5)
            state[0] = "new"
            load.cache_clear()
            assert load() == "new"
            go.set()
            before.join()
            assert load() == "new"


def test_an_interrupt_is_its_own_threads_alone():
    """Ctrl-C ends the run of the thread it hits; one that waited for it begins anew."""
    started, go, hit = threading.Event(), threading.Event(), []

    @headway.cached(ttl=60)
    def slow(x: int) -> int:
        if not started.is_set():
            started.set()
            go.wait(5)
            raise KeyboardInterrupt
        return x

    def first():
        try:
            slow(1)
        except KeyboardInterrupt:
            hit.append(1)

    results = []
    threads = [threading.Thread(target=first), threading.Thread(target=lambda: results.append(slow(1)))]
    threads[0].start()
    started.wait(5)
    threads[1].start()
    while not slow.cache_info().joined:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert (hit, results) == ([1], [1])
