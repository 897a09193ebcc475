"""Handles and streams: replayable, bounded, for many readers; and what is done wrong with them is told at once."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Optional

import pytest

from headway.errors import ConfigError, HeadwayError
from headway.pipeline import Stream, current_run, pipeline, step
from headway.testing import virtual_run
from tests.pipeline.plumbing import both, failing, later, now_s, ran, told

if TYPE_CHECKING:
    from headway.pipeline import Stream as Elsewhere


def test_a_handle_is_read_by_many_and_again():
    """From its first chunk on, early and late readers, live or whole."""

    async def main():
        handle = told(["a", "b", "c"])

        async def read(after_s):
            await asyncio.sleep(after_s)
            return [(now_s(), chunk) async for chunk in handle]

        async with asyncio.TaskGroup() as group:
            early, late = group.create_task(read(0)), group.create_task(read(1.7))
        assert early.result() == [(1.0, "a"), (1.5, "b"), (2.0, "c")]
        assert late.result() == [(1.7, "a"), (1.7, "b"), (2.0, "c")]
        assert [chunk async for chunk in handle] == ["a", "b", "c"]
        return await handle, await handle

    assert ran(main)[0] == ("abc", "abc")


def test_what_does_not_stream_has_one_chunk():
    """For ``async for`` and for parameters that are read live; a list of anything but text is awaited as a list."""

    @step
    async def chunks(text: Stream[str]) -> list[str]:
        return [chunk async for chunk in text]

    @step
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def main():
        assert [chunk async for chunk in later([1, 2])] == [[1, 2]]
        assert [chunk async for chunk in numbers()] == [1, 2]
        assert await numbers() == [1, 2]
        return [chunks(later("x")), chunks("plain"), chunks(["p", "q"]), chunks(numbers())]

    assert ran(main)[0] == [["x"], ["plain"], ["p", "q"], [1, 2]]


def test_a_chain_of_streams_is_live_from_end_to_end():
    """The first chunk at the end comes with the first chunk at the beginning."""

    @step
    async def pass_on(text: Stream[str]) -> AsyncIterator[str]:
        async for chunk in text:
            await asyncio.sleep(0.1)
            yield chunk

    made = pipeline(lambda: pass_on(pass_on(told("abc"))), log=False)

    async def main():
        async with made.run() as run:
            return [(round(now_s(), 3), chunk) async for chunk in run.stream()]

    assert virtual_run(main) == [(1.2, "a"), (1.7, "b"), (2.2, "c")]


def test_a_stream_parameter_is_told_by_its_annotation():
    """However it is written; a value where it is not asked for."""

    @step
    async def optional(text: Optional[Stream[str]] = None, *more: Stream[str], **named: Stream[str]):  # noqa: UP045
        return [type(one).__name__ for one in (text, *more, *named.values())]

    @step
    async def united(text: Stream[str] | None, other: Annotated[Stream, "doc"], whole: str):
        return [type(text).__name__, type(other).__name__, await other, whole]

    async def main():
        h = told("ab")
        return optional(), optional(h, h, x=h), united(h, h, h), united(None, "x", "y")

    assert ran(main)[0] == (
        ["NoneType"],
        ["Stream", "Stream", "Stream"],
        ["Stream", "Stream", "ab", "ab"],
        ["NoneType", "Stream", "x", "y"],
    )


def test_an_annotation_that_cannot_be_told_is_a_sentence():
    """Where it may be a stream; any other name need not be there at run time."""

    @step
    async def unknown(text: Elsewhere[Stream]): ...

    @step
    async def fine(text: NoSuchType):  # noqa: F821
        return text

    error, _, _ = failing(lambda: unknown("x"))
    assert isinstance(error, ConfigError)
    assert "step 'unknown': the annotation 'Elsewhere[Stream]' of 'text' cannot be told" in str(error)
    assert ran(lambda: fine("x"))[0] == "x"


def test_a_stream_is_handed_on_and_awaited():
    """A step may give its stream to steps of its own, and read it again."""

    @step
    async def outer(text: Stream[str]):
        inner = both(text, text)
        first = [chunk async for chunk in text]
        return [await inner, first, await text]

    assert ran(lambda: outer(told("ab")))[0] == [("ab", "ab"), ["a", "b"], "ab"]


def test_an_async_iterable_of_ones_own_is_given_as_it_is():
    """A stream parameter reads anything that can be read."""

    @step
    async def read(text: Stream[str]):
        return [chunk async for chunk in text]

    async def own():
        yield "x"

    assert ran(lambda: read(own()))[0] == ["x"]


def test_a_handle_keeps_a_bounded_number_of_bytes():
    """The sentence names the step and the setting."""

    @step(kept_bytes_max=1000)
    async def long() -> AsyncIterator[str]:
        for _ in range(100):
            yield "x" * 100

    error, _, _ = failing(lambda: long())
    assert isinstance(error, HeadwayError)
    assert "streamed more than the 1,000 bytes" in str(error)
    assert "kept_bytes_max" in str(error)


@pytest.mark.parametrize(
    "use",
    [
        str,
        bool,
        len,
        list,
        lambda h: f"{h}",
        lambda h: f"{h:>10}",
        lambda h: h + "x",
        lambda h: "x" + h,
        lambda h: "x %s" % h,  # noqa: UP031
        lambda h: h == "x",
        lambda h: h != "x",
        lambda h: h < "x",
        lambda h: h[0],
        lambda h: "x" in h,
        lambda h: "" if h else "x",
    ],
)
def test_a_handle_does_not_pass_for_its_value(use):
    """APPL's formatting of a future blocks, LCEL's prints an object: here it is a sentence that says what to do."""

    async def main():
        handle = later("x")
        with pytest.raises(TypeError, match=r"of the handle of step 'later#0' of pipeline 'test'.* await it first"):
            use(handle)
        return await handle

    assert ran(main)[0] == "x"


def test_a_handle_can_be_shown_compared_and_kept():
    """Debuggers call repr(); sets and dicts need a hash; two handles are equal where they are one."""

    async def main():
        one, other = later("x"), later("y")
        assert repr(one) == "<Handle of later#0, under way>"
        assert (one.name, one.index, one.done) == ("later", 0, False)
        assert one != other
        assert len({one, other, one}) == 2
        assert one in [other, one]
        await one
        assert repr(one) == "<Handle of later#0, done>"
        many = later.map("ab")
        assert repr(many) == "<Handles, 2 of them>"
        assert (many.name, many.index, many.done, bool(many)) == ("later", 2, False, True)
        with pytest.raises(TypeError, match=r"str\(\) of the handles of step 'later' asks for a value"):
            str(many)
        return many

    assert ran(main)[0] == ["a", "b"]


def test_a_step_outside_of_a_run_is_a_sentence():
    """It names the plain function."""
    with pytest.raises(ConfigError, match=r"step 'later' was called outside of a run.* later\.fn\(\.\.\.\)"):
        later("x")
    assert current_run() is None
    with pytest.raises(ConfigError, match="outside of a run"):
        later.map("ab")


def test_wrong_arguments_are_told_at_the_call():
    """As a TypeError with the step's name, before anything is started."""

    async def main():
        with pytest.raises(TypeError, match="step 'later': missing a required argument: 'value'"):
            later()
        with pytest.raises(TypeError, match="step 'later': too many positional arguments"):
            later(1, 2, 3)
        with pytest.raises(TypeError, match="step 'later': got an unexpected keyword argument 'delay'"):
            later(1, delay=2)
        with pytest.raises(TypeError, match="step 'later': map goes over items"):
            later.map(later([1]))
        with pytest.raises(ConfigError, match="map's concurrency must be 1 or more"):
            later.map([1], concurrency=0)
        return 1

    result, rows, _ = ran(main)
    assert result == 1
    assert set(rows) == {"", "later"}  # the handle that map was given
    with pytest.raises(TypeError, match="pipeline 'main': too many positional arguments"):
        pipeline(main).run(1)


def test_a_handle_of_another_run_is_a_sentence():
    """And so is one that outlived its run, or that another loop awaits."""
    left = []

    @pipeline(name="first", log=False)
    async def first():
        left.append(later("x"))
        return left[0]

    async def main():
        assert await first() == "x"
        for use in (lambda: left[0].__await__().send(None), lambda: left[0].__aiter__()):
            with pytest.raises(ConfigError, match=r"the handle of step 'later#0' of pipeline 'first'.* had ended"):
                use()
        with pytest.raises(
            ConfigError, match=r"step 'later' of pipeline 'test'.* was given a handle of step 'later#0'"
        ):
            later(left[0])
        with pytest.raises(ConfigError, match="a handle belongs to one run"):
            later([left[0]])
        return 1

    assert ran(main)[0] == 1
    error, _, _ = failing(lambda: left[0])
    assert isinstance(error, ConfigError)


def test_a_handle_awaited_on_another_loop_is_a_sentence():
    """It would never wake up there."""
    problems = []

    @pipeline(log=False)
    async def main():
        handle = kept("x")

        def elsewhere():
            async def wait():
                await handle

            try:
                asyncio.run(wait())
            except ConfigError as error:
                problems.append(str(error))

        await asyncio.to_thread(elsewhere)
        return handle

    @step
    async def kept(value):
        return value

    assert asyncio.run(main()) == "x"
    assert "was awaited on another event loop than its run's" in problems[0]


def test_a_step_called_in_a_thread_is_a_sentence():
    """A plain step cannot call steps; nor can a thread of the program's own."""

    @step
    def plain():
        return later("x")

    @pipeline(log=False)
    async def main():
        with pytest.raises(ConfigError, match="step 'later' was called in a thread"):
            await asyncio.to_thread(later, "x")
        return plain()

    with pytest.raises(ConfigError, match="was called in a thread or on another event loop"):
        asyncio.run(main())
    error, _, _ = failing(lambda: plain())
    assert "call it in the pipeline's function or in an `async def` step" in str(error)


def test_a_wait_for_itself_is_a_sentence():
    """Through one's own handle, through others, and through arguments; the steps are named in their order."""
    box = {}

    @step
    async def alone():
        return await box["alone"]

    @step
    async def first():
        await asyncio.sleep(1)
        return await box["last"]

    @step
    async def middle(value):
        return value

    @step
    async def last(value):
        return value

    async def itself():
        box["alone"] = alone()
        return box["alone"]

    async def others():
        box["last"] = last(middle(first()))
        return box["last"]

    error, _, _ = failing(itself)
    assert "alone#0 -> alone#0" in str(error)
    assert isinstance(error, ConfigError)
    error, _, took_s = failing(others)
    assert "first#0 -> last#2 -> middle#1 -> first#0" in str(error)
    assert took_s == 1.0


def test_a_wait_for_each_other_is_a_sentence():
    """Two steps that await each other's handles, and one that reads its own consumer."""
    box = {}

    @step
    async def one():
        await asyncio.sleep(1)
        return await box["other"]

    @step
    async def other():
        await asyncio.sleep(2)
        return await box["one"]

    @step
    async def source() -> AsyncIterator[str]:
        yield "a"
        async for chunk in box["sink"]:
            yield chunk

    @step
    async def sink(text: Stream[str]) -> AsyncIterator[str]:
        yield await text

    async def each():
        box["one"], box["other"] = one(), other()
        return box["one"]

    async def live():
        box["sink"] = sink(source())
        return box["sink"]

    assert "other#1 -> one#0 -> other#1" in str(failing(each)[0])
    assert "waits for itself" in str(failing(live)[0])


def test_a_step_in_line_behind_its_own_caller_is_a_sentence():
    """Recursion under a limit would wait for ever, at once or when what it needs is there."""

    @step(concurrency=2)
    async def nested(depth):
        return await nested(depth - 1) if depth else 0

    @step(concurrency=1)
    async def delayed(value):
        return await delayed(later(0)) if value else 0

    assert ran(lambda: nested(1))[0] == 0
    error, _, _ = failing(lambda: nested(2))
    assert "stand in line behind itself" in str(error)
    error, _, _ = failing(lambda: delayed(1))
    assert "delayed#2 -> delayed#0 -> delayed#2" in str(error)


def test_waiting_behind_others_is_no_cycle():
    """The place that comes free is another's."""

    @step(concurrency=2)
    async def nested(depth, delay_s):
        await asyncio.sleep(delay_s)
        return await nested(depth - 1, delay_s) if depth else delay_s

    assert ran(lambda: both(nested(1, 1.0), nested(0, 3.0)))[0] == (1.0, 3.0)


def test_a_copy_of_a_handle_is_the_handle():
    """Copies did not count as holders, but un-counted the original when they went: its step was cancelled."""

    @step
    async def first(text: Stream[str]) -> str:
        return await anext(aiter(text))

    async def once():
        handle = told("abcdef")
        assert copy.copy(handle) is handle
        assert copy.deepcopy([handle])[0] is handle
        many = later.map([1])
        assert copy.copy(many) is many
        assert await first(handle) == "a"
        await asyncio.sleep(0.1)
        return await handle

    assert ran(once)[0] == "abcdef"


def test_what_a_handle_is_not_is_a_sentence():
    """Methods of its value, sums, numbers, pickles, asyncio.wait: each says to await it."""

    async def once():
        handle, said = later(1), "of the handle of step 'later#0' of pipeline 'test'"
        for use in (
            lambda: handle * 2,
            lambda: 2 * handle,
            lambda: handle - 1,
            lambda: handle / 2,
            lambda: int(handle),
            lambda: [1, 2][handle],
        ):
            with pytest.raises(TypeError, match="await it first"):
                use()
        with pytest.raises(AttributeError, match=f"^.upper {said}.* asks for a value that is not there yet; await it"):
            handle.upper()
        with pytest.raises(AttributeError, match=r"is no task; asyncio.wait takes asyncio.ensure_future\(handle\)"):
            await asyncio.wait([handle])
        with pytest.raises(TypeError, match="belongs to its run; await it, and take its value"):
            pickle.dumps(handle)
        assert not hasattr(handle, "upper")
        done, _ = await asyncio.wait([asyncio.ensure_future(handle)])
        return done.pop().result()

    assert ran(once)[0] == 1
