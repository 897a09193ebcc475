"""What steps are given and what they return: answers to come, handles in odd places, coroutines."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, namedtuple
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest

import headway
from headway.errors import HeadwayError
from headway.pipeline import Handles, pipeline, step
from headway.testing import FakeProvider, virtual_run
from tests.pipeline.plumbing import failing, later, ran, told


@dataclass
class Card:
    """A dataclass."""

    inside: object


class Row(msgspec.Struct):
    """A struct."""

    inside: object


Pair = namedtuple("Pair", "inside")


def asked(function):
    """What runs of it with a provider that says "Hello" gave, and its chunks."""
    made = pipeline(function, name="test", log=False)

    async def main():
        async with (
            headway.Engine(handler=FakeProvider(), api_key="k", log="off") as engine,
            made.run(engine=engine) as run,
        ):
            chunks = [chunk async for chunk in run.stream()]
            return await run.result(), chunks

    return virtual_run(main)


def test_an_answer_to_come_may_be_returned():
    """By a step and by the pipeline: it came out as an object that nobody had awaited."""

    @step
    async def returned() -> str:
        return headway.ask("Hi", model="gpt-5.4-mini")

    async def by_a_step():
        return returned()

    async def by_the_pipeline():
        return headway.ask("Hi", model="gpt-5.4-mini")

    plain = asked(by_a_step)[0]
    assert isinstance(plain, str)
    assert plain
    assert asked(by_the_pipeline)[0] == plain


def test_an_answer_to_come_may_be_yielded():
    """Its pieces are the step's own, as they come; so are those of a handle, beside plain ones."""

    @step
    async def yielded() -> AsyncIterator[str]:
        yield "> "
        yield headway.ask("Hi", model="gpt-5.4-mini")

    async def handed_on():
        yield yielded()
        yield "!"

    async def plain():
        return await headway.ask("Hi", model="gpt-5.4-mini")

    text = asked(plain)[0]
    for function, begin, end in ((lambda: yielded(), "> ", ""), (handed_on, "> ", "!")):
        result, chunks = asked(function)
        assert result == "".join(chunks) == begin + text + end
        assert chunks[0] == begin


def test_what_is_to_be_awaited_is_awaited_or_refused():
    """A coroutine that is returned has its value; one that is yielded is a sentence, not a chunk."""

    async def value():
        return 3

    @step
    async def returned():
        return value()

    @step
    async def yielded():
        yield value()

    async def good():
        return returned()

    async def bad():
        return yielded()

    assert ran(good)[0] == 3
    error, _, _ = failing(bad)
    assert isinstance(error, HeadwayError)
    assert "'yielded#0' of pipeline 'test'" in str(error)
    assert "yielded something to be awaited" in str(error)


def test_a_step_may_return_handles_in_lists_and_dicts():
    """As a pipeline may: values come out."""

    @step
    async def several():
        return [later(1), {"two": later(2)}, (later.map([3, 4]),)]

    async def once():
        return several()

    result, _, took_s = ran(once)
    assert (result, took_s) == ([1, {"two": 2}, ([3, 4],)], 1.0)


def test_a_failed_handle_that_was_returned_is_the_step_s_failure():
    """The error itself."""

    @step
    async def fails():
        raise KeyError("x")

    @step
    async def several():
        return [later(1), fails()]

    async def once():
        return several()

    error, _, _ = failing(once)
    assert isinstance(error, KeyError)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda h: {h},
        lambda h: frozenset({h}),
        Card,
        Row,
        Pair,
        lambda h: OrderedDict(a=h),
        lambda h: [[[[[h]]]]],
        lambda h: [Card(h)],
    ],
)
def test_a_handle_where_nobody_looks_is_refused(wrapped):
    """The step would get a handle for a value, and not even wait for it; so would who gets what a step returned."""

    async def given():
        return later(wrapped(later(1)))

    @step
    async def returned():
        return wrapped(later(1))

    async def gives():
        return returned()

    for function, who in ((given, "step 'later' was given <Handle of later#0"), (gives, "returned <Handle of later#1")):
        error, _, _ = failing(function)
        assert isinstance(error, TypeError)
        assert who in str(error)
        assert "hand it over" in str(error)


def test_what_holds_no_handle_is_passed_as_it_is():
    """Sets, dataclasses and deep lists of values; the very objects."""
    things = [{1}, Card(2), Row(3), Pair(4), [[[[[[5]]]]]], Card]

    async def once():
        return [later(thing) for thing in things]

    assert all(one is other for one, other in zip(ran(once)[0], things, strict=True))


def test_a_pipeline_called_as_an_argument_is_a_sentence():
    """It is a coroutine, which the step would get for a value; in a list, too."""

    @pipeline(log=False)
    async def inner():
        return 1

    for wrapped in (lambda one: one, lambda one: [one]):

        async def once(wrapped=wrapped):
            return later(wrapped(inner()))

        error, _, _ = failing(once)
        assert isinstance(error, TypeError)
        assert "step 'later' was given the coroutine of a pipeline for a value; await it first" in str(error)


def test_map_goes_over_the_handles_of_another():
    """As its docstring says; each starts when its own item is there."""

    async def twice():
        return later.map(later.map([1, 2]))

    async def joined():
        return later.map(Handles([later(1), later(2, 3.0)]), 1.0)

    assert ran(twice)[::2] == ([1, 2], 2.0)
    result, rows, _ = ran(joined)
    assert result == [1, 2]
    assert [row.end_s for row in rows["later"]] == [1.0, 3.0, 2.0, 4.0]


def test_map_over_what_has_no_items_yet_says_how():
    """A handle, or a stream of items: with the line to write instead."""

    async def over_a_handle():
        return later.map(told(["a"]))

    error, _, _ = failing(over_a_handle)
    assert isinstance(error, TypeError)
    assert "[step(item) async for item in ...]" in str(error)

    @step
    async def listed() -> AsyncIterator[str]:
        for piece in ('{"questions": ["a"', ', "b"]}'):
            await asyncio.sleep(1.0)
            yield piece

    async def as_told():
        return [later(item) async for item in listed().items("questions")]

    result, rows, _ = ran(as_told)
    assert result == ["a", "b"]
    assert [row.called_s for row in rows["later"]] == [1.0, 2.0]


def test_an_answer_to_come_is_fetched_ahead():
    """A pure step that returns or yields one: prefetched, it has asked by the time it is called."""

    @step(pure=True)
    async def returned() -> str:
        return headway.ask("Hi", model="gpt-5.4-mini")

    @step(pure=True)
    async def yielded() -> AsyncIterator[str]:
        yield headway.ask("Ho", model="gpt-5.4-mini")

    @pipeline(log=False)
    async def twice():
        return returned(), yielded()

    async def main():
        settings = {"handler": FakeProvider(), "api_key": "k", "log": "off", "cache": "memory"}
        async with headway.Engine(**settings) as engine:
            with headway.using(engine):
                assert headway.prefetch(returned, likelihood=0.9)
                assert headway.prefetch(yielded, likelihood=0.9)
                await asyncio.sleep(5.0)
            async with twice.run(engine=engine) as run:
                await run.result()
        return [row.hits for row in run.rows() if row.step]

    assert virtual_run(main) == [1, 1]
