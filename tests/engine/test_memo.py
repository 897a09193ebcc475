"""`headway.cached`: a function's results are kept, equal calls share one run, and odd ones are refused with a sentence."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import headway
from headway.testing import FakeProvider


@dataclass
class Point:
    x: int
    y: int


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
            sums = headway.cached(ttl=60, namespace="sums", engine=engine)(add)
            assert [sums(1, 2), sums(1, 2)] == [3, 3]
    assert ran == [1]
    assert (tmp_path / "cache@sums.sqlite").exists()

    async def add_async(a: int, b: int) -> int:
        ran.append(a)
        return a + b

    async def main():
        async with headway.Engine(**settings) as engine:
            sums = headway.cached(ttl=60, namespace="sums", engine=engine)(add_async)
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
