"""Parts of what a run gives, and what becomes of readers who leave."""

from __future__ import annotations

import asyncio
import functools

import pytest

from headway.errors import ConfigError
from headway.pipeline import pipeline, step
from headway.testing import virtual_run
from tests.pipeline.plumbing import later, now_s, told


@step
async def broken(delay_s=1.0):
    await asyncio.sleep(delay_s)
    raise ValueError("no")


@pipeline(log=False)
async def article():
    return {"text": told("abc", 1.0, 1.0), "picture": later("png", 2.0), "notes": [later(1, 0.5), 2], "of": "tides"}


@pipeline(log=False)
async def pair():
    return told("ab"), later("slow", 9.0)


def test_one_part_streams_beside_the_others():
    """Live, from its first chunk; a side value is there as soon as it is, and the whole at the end."""

    async def main():
        came = []
        async with article.run() as run:
            async for piece in run.stream("text"):
                came.append((piece, now_s()))
                if piece == "b":
                    assert (await run.result("picture"), now_s()) == ("png", 2.0)
            assert await run.result("notes") == [1, 2]
            assert await run.result("of") == "tides"
            whole = await run.result()
        return came, whole

    came, whole = virtual_run(main)
    assert came == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert whole == {"text": "abc", "picture": "png", "notes": [1, 2], "of": "tides"}


def test_parts_of_tuples_lists_and_maps_have_places():
    """A plain value is one chunk; parts are there after the block, too."""

    async def main():
        async with pair.run() as run:
            assert [piece async for piece in run.stream(0)] == ["a", "b"]
            assert now_s() == 1.5
        assert (await run.result(-1), [piece async for piece in run.stream(0)]) == ("slow", ["a", "b"])

        async with pipeline(lambda: later.map([1, 2]), name="map", log=False).run() as run:
            assert await run.result(1) == 2
        async with article.run() as run:
            assert [piece async for piece in run.stream("notes")] == [[1, 2]]

    virtual_run(main)


@pytest.mark.parametrize(
    ("returns", "part", "said"),
    [
        (lambda: {"a": 1}, "b", "gave the keys 'a', so it has no part 'b'"),
        (lambda: (1, 2), 2, "gave a tuple of 2, so it has no part 2"),
        (lambda: [1], "a", "gave a list of 1, so it has no part 'a'"),
        (lambda: later("x"), "x", "gave a Handle, so it has no part 'x'"),
        (told.fn, 0, r"gave chunks \(`yield`\), so it has no part 0"),
    ],
)
def test_a_part_that_is_not_there_is_a_sentence(returns, part, said):
    """By result and by stream, with what there is."""
    made = pipeline(returns, name="made", log=False)

    async def main(ask):
        async with made.run(*(["abc"] if returns is told.fn else [])) as run:
            with pytest.raises(ConfigError, match=said):
                await ask(run)
            await run.result()

    virtual_run(lambda: main(lambda run: run.result(part)))
    virtual_run(lambda: main(lambda run: anext(run.stream(part))))


def test_a_part_raises_what_failed():
    """The run's own error, whichever part was asked for, before or after the function had returned."""

    async def returns():
        return {"bad": broken(), "late": later("x", 9.0)}

    async def fails():
        await broken()
        return {"late": 1}

    async def main(fn, ask):
        run = pipeline(fn, name="test", log=False).run()
        with pytest.raises(ValueError, match="no"):
            async with run:
                await ask(run)
        return now_s()

    for fn in (returns, fails):
        for ask in (lambda run: run.result("late"), lambda run: anext(run.stream("late"))):
            assert virtual_run(functools.partial(main, fn, ask)) == 1.0


@pytest.mark.parametrize("part", [None, "text"])
@pytest.mark.parametrize("keeps", [False, True])
def test_a_stream_that_was_left_half_read_cancels_what_is_left(part, keeps):
    """Kept in a variable it was still held at the block's end, and the run went on to its own."""

    @pipeline(log=False)
    async def made():
        later("aside", 100.0)
        text = told("abcdef", 1.0, 10.0)
        return {"text": text} if part else text

    async def read():
        async with made.run() as run:
            if keeps:
                stream = run.stream(part)
                async for _ in stream:
                    break
            else:
                async for _ in run.stream(part):
                    break
        assert [row.outcome for row in run.rows()] == ["cancelled"] * 3
        return now_s()

    assert virtual_run(read) == 1.0


def test_a_stream_that_another_task_reads_goes_on():
    """One that has ended has left; one that still reads is waited for, and a stream never begun is nobody's."""

    async def main():
        pieces = []

        async def read(run, count):
            stream = run.stream()
            kept.append(stream)
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == count:
                    return

        kept = []
        made = pipeline(lambda: told("abcd", 1.0, 1.0), name="test", log=False)
        async with made.run() as run:
            kept.append(run.stream())
            task = asyncio.create_task(read(run, 9))
            await asyncio.sleep(1.5)
        await task
        assert (pieces, now_s()) == (list("abcd"), 4.0)
        pieces.clear()
        kept.clear()
        async with made.run() as run:
            await asyncio.create_task(read(run, 1))
        assert run.rows()[0].outcome == "cancelled"
        return now_s()

    assert virtual_run(main) == 5.0
