"""Steps: when they start, what they get, and what was declared about them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator

import pytest

from headway.errors import BudgetExceeded, ConfigError, DeadlineExceeded, HeadwayError
from headway.pipeline import Handles, Stream, current_run, pipeline, step
from headway.policy.backoff import Backoff
from tests.pipeline.plumbing import both, failing, later, now_s, ran, told


def test_independent_steps_run_side_by_side():
    """Three steps of 0.9 s take 0.9 s; the one that needs them starts then."""

    async def three():
        a, b, c = later("a", 0.9), later("b", 0.9), later("c", 0.9)
        return both([a, b], {"c": (c,)})

    result, rows, took_s = ran(three)
    assert result == (["a", "b"], {"c": ("c",)})
    assert took_s == 0.9
    assert rows["both"][0].ready_s == rows["both"][0].started_s == 0.9
    assert [(edge.index, edge.kind, edge.at_s) for edge in rows["both"][0].edges] == [
        (0, "value", 0.9),
        (1, "value", 0.9),
        (2, "value", 0.9),
    ]


def test_a_slow_sibling_holds_up_nobody():
    """Steps start when what they need is there, never by level: LangGraph's slow branch blocks the others."""

    async def branches():
        slow = later("slow", 10.0)
        return both(slow, later(later(later("quick"))))

    _, rows, took_s = ran(branches)
    assert took_s == 10.0
    assert [row.end_s for row in rows["later"]] == [10.0, 1.0, 2.0, 3.0]


def test_arguments_without_handles_are_the_same_objects():
    """A list is copied only where a handle in it has to be replaced."""
    given = [1, [2], {"a": 3}]

    @step
    async def same(value):
        return value is given

    async def main():
        return same(given)

    assert ran(main)[0] is True


def test_handles_are_found_in_nested_arguments_and_by_name():
    """Lists, tuples and dicts, by position and by name."""

    async def main():
        return both([{"a": (later(1),)}], other={"b": [later(2)]})

    assert ran(main)[0] == ([{"a": (1,)}], {"b": [2]})


def test_plain_python_makes_the_graph():
    """Loops, branches on awaited values, steps that call steps."""

    @step
    async def tree(depth):
        if depth == 0:
            return 1
        left, right = tree(depth - 1), tree(depth - 1)
        return await left + await right

    async def main():
        total = 0
        for depth in range(3):
            total += await tree(depth)
            if total > 5:
                return await later(total)
        return 0

    assert ran(main)[0] == 7


def test_a_call_after_an_await_has_a_control_edge():
    """What the program awaited last is why it called the next step."""

    async def main():
        first = later("x", 2.0)
        other = later("y", 1.0)
        await other
        await first
        return later("z")

    _, rows, took_s = ran(main)
    assert took_s == 3.0
    assert [(edge.index, edge.kind, edge.at_s) for edge in rows["later"][2].edges] == [(0, "control", 2.0)]
    assert [(edge.index, edge.kind) for edge in rows[""][0].edges] == [(2, "value")]


def test_a_plain_function_runs_in_a_thread_with_the_callers_context():
    """On a real loop; context variables come along."""
    who = contextvars.ContextVar("who", default="nobody")

    @step
    def plain():
        return threading.current_thread() is threading.main_thread(), who.get(), current_run() is not None

    @pipeline(log=False)
    async def main():
        who.set("me")
        return plain()

    assert asyncio.run(main()) == (False, "me", True)


def test_plain_functions_may_fail_in_any_way():
    """StopIteration, which no future takes, too."""

    @step
    def broken():
        return next(iter(()))

    @pipeline(log=False)
    async def main():
        return broken()

    with pytest.raises(RuntimeError, match="broken#0 raised StopIteration"):
        asyncio.run(main())


def test_a_default_stands_in_for_a_failure():
    """The run goes on; the row says so, with the error's class and not its text."""

    @step(default="none")
    async def weak():
        raise ValueError("secret prompt")

    @step(optional=True)
    async def weaker():
        raise ValueError

    async def main():
        return both(weak(), weaker())

    result, rows, _ = ran(main)
    assert result == ("none", None)
    assert (rows["weak"][0].outcome, rows["weak"][0].error) == ("default", "ValueError")
    assert rows["weaker"][0].outcome == "default"
    assert "secret" not in repr(rows)


def test_a_timeout_is_an_error_unless_there_is_a_default():
    """The sentence names the step and its time; what it called is cancelled with it."""

    @step(timeout_s=2.0)
    async def slow():
        return await later("never", 100.0)

    error, rows, took_s = failing(lambda: slow())
    assert isinstance(error, DeadlineExceeded)
    assert "step 'slow#0' of pipeline 'test'" in str(error)
    assert "2 s" in str(error)
    assert took_s == 2.0
    assert [row.outcome for row in rows] == ["failed", "timeout", "cancelled"]

    @step(timeout_s=2.0, default="late")
    async def tolerant():
        return await later("never", 100.0)

    result, rows_of, took_s = ran(lambda: tolerant())
    assert (result, took_s) == ("late", 2.0)
    assert (rows_of["tolerant"][0].outcome, rows_of["later"][0].outcome) == ("default", "cancelled")


def test_retries_run_the_function_again():
    """As often as declared, for the errors declared, after a wait."""
    tries = []

    @step(retries=2, retry_on=KeyError, backoff=Backoff(base_s=1.0, max_s=1.0))
    async def shaky(kind):
        tries.append(now_s())
        if len(tries) < 3:
            raise kind
        return "ok"

    result, rows, took_s = ran(lambda: shaky(KeyError))
    assert (result, rows["shaky"][0].tries, rows["shaky"][0].outcome) == ("ok", 3, "ok")
    assert tries[0] == 0.0 < tries[1] < tries[2] == took_s <= 2.0
    tries.clear()
    error, failed, _ = failing(lambda: shaky(ValueError))
    assert isinstance(error, ValueError)
    assert failed[1].tries == 1


def test_a_retry_begins_without_what_the_failed_try_had_called():
    """Its calls are cancelled before the next try."""
    tries = []

    @step(retries=1, backoff=Backoff(base_s=0.0))
    async def shaky():
        tries.append(1)
        child = later("x", 5.0)
        if len(tries) == 1:
            await asyncio.sleep(1)
            raise ValueError
        return await child

    result, rows, took_s = ran(lambda: shaky())
    assert (result, took_s) == ("x", 6.0)
    assert [row.outcome for row in rows["later"]] == ["cancelled", "ok"]


def test_a_stream_is_tried_again_only_before_its_first_chunk():
    """What a reader may have seen is not taken back."""
    tries = []

    @step(retries=3, backoff=Backoff(base_s=0.0))
    async def shaky(chunks: int) -> AsyncIterator[str]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        for _ in range(chunks):
            yield "a"
        if len(tries) == 2:
            raise KeyError

    error, _, _ = failing(lambda: shaky(1))
    assert isinstance(error, KeyError)
    assert len(tries) == 2


def test_results_are_kept_by_arguments():
    """Across runs, streams with their chunks; the outcome says so."""
    calls = []

    @step(cache_s=60)
    async def told_once(words: list[str]) -> AsyncIterator[str]:
        calls.append(1)
        for word in words:
            await asyncio.sleep(1)
            yield word

    @step(cache_s=60)
    async def found(key: str, size: int = 1) -> dict[str, int]:
        calls.append(1)
        await asyncio.sleep(1)
        return {key: size}

    async def main():
        return both(told_once(["a", "b"]), found("k"))

    assert ran(main)[0] == ("ab", {"k": 1})
    result, rows, took_s = ran(main)
    assert (result, took_s, len(calls)) == (("ab", {"k": 1}), 0.0, 2)
    assert (rows["found"][0].outcome, rows["told_once"][0].outcome) == ("cached", "cached")
    assert ran(lambda: found("k", 2))[0] == {"k": 2}


def test_map_calls_for_every_item():
    """In order, as completed, by index, bounded, with handles for items, and as an argument."""

    async def main():
        items = [later(3.0, 0.5), 1.0, 2.0]
        handles = waited.map(items, concurrency=2)
        as_they_come = [value async for value in handles.as_completed()]
        in_order = [value async for value in handles]
        assert len(handles) == 3
        assert await handles[1] == 1.0
        assert isinstance(handles[:2], Handles)
        return both(handles, [as_they_come, in_order, await handles, await Handles([])])

    @step
    async def waited(delay_s):
        await asyncio.sleep(delay_s)
        return delay_s

    result, rows, took_s = ran(main)
    assert result == ([3.0, 1.0, 2.0], [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0], []])
    assert took_s == 4.0  # 1 and 2 have both places until 1 is through; 3 starts at 1.0
    assert [row.started_s for row in rows["waited"]] == [1.0, 0.0, 0.0]


def test_a_step_may_return_a_handle():
    """It is awaited: nobody gets a handle of a handle."""

    @step
    async def handed():
        return later("x")

    async def main():
        return both(handed(), [handed()])

    assert ran(main)[0] == ("x", ["x"])


def test_a_method_can_be_a_step():
    """Bound like any function."""

    class Writer:
        def __init__(self, mark):
            self.mark = mark

        @step
        async def sign(self, text):
            return text + self.mark

    async def main():
        return Writer("!").sign(later("hi"))

    assert ran(main)[0] == "hi!"


def test_any_callable_can_be_a_step():
    """Partial functions, objects that are called, decorated functions: their kind is told through them."""

    class Doubling:
        async def __call__(self, value):
            return value * 2

    async def plus(value, more):
        return value + more

    @functools.wraps(plus)
    def wrapped(*args):
        return plus(*args)

    async def main():
        doubled = step(Doubling())(later(1))
        return step(functools.partial(plus, more=10))(doubled), step(wrapped)(1, 2)

    assert ran(main)[0] == (12, 3)


def test_a_failed_run_does_not_wait_for_threads():
    """They cannot be cancelled; what they give is thrown away."""
    over = threading.Event()

    @step
    def blocked():
        return over.wait(30)

    @step
    async def broken():
        raise ValueError("no")

    @pipeline(log=False)
    async def main():
        return both(blocked(), broken())

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())
    assert not over.is_set()
    over.set()


def test_what_is_declared_wrongly_is_a_sentence():
    """At decoration, with the step's name."""
    for options, words in [
        ({"timeout_s": 0}, "step 'f': timeout_s must be above 0, not 0"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"retry_on": "ValueError"}, "retry_on takes classes of exceptions"),
    ]:

        async def f(): ...

        with pytest.raises(ConfigError, match=words):
            step(**options)(f)

    def generator():
        yield 1

    with pytest.raises(ConfigError, match="'generator' is a plain generator; make it `async def`"):
        step(generator)
    with pytest.raises(ConfigError, match="step takes a function, not 3"):
        step(3)

    async def sessions(session): ...

    with pytest.raises(ConfigError, match="pipeline 'sessions': 'session' is an option of its run"):
        pipeline(sessions)
    with pytest.raises(ConfigError, match="pipeline 'f': deadline_s must be above 0, not -1"):
        pipeline(f).run(deadline_s=-1)


def test_an_awaitable_from_a_plain_function_is_a_sentence():
    """It would never be awaited."""

    @step
    def wrong():
        return asyncio.sleep(0)

    error, _, _ = failing(lambda: wrong())
    assert isinstance(error, HeadwayError)
    assert "make its function `async def`" in str(error)


def test_a_generator_that_yields_nothing_is_a_sentence_where_text_is_meant():
    """A list may be empty, an answer may not; a default stands in."""

    @step
    async def silent() -> AsyncIterator[str]:
        for word in ():
            yield word

    @step
    async def none() -> AsyncIterator[int]:
        for word in ():
            yield word

    @step(default="?")
    async def spoken(text: Stream[str]) -> str:
        return "".join([chunk async for chunk in text])

    error, _, _ = failing(lambda: silent())
    assert "step 'silent#0' of pipeline 'test'" in str(error)
    assert "yielded nothing" in str(error)
    assert ran(lambda: none())[0] == []
    tolerant = step(silent.fn, default="instead", name="silent")
    assert ran(lambda: both(tolerant(), spoken(tolerant())))[0] == ("instead", "instead")


def test_budget_errors_are_named_as_such():
    """In the failing step's row."""

    @step
    async def dear():
        raise BudgetExceeded("too dear")

    error, rows, _ = failing(lambda: dear())
    assert isinstance(error, BudgetExceeded)
    assert [row.outcome for row in rows] == ["budget", "budget"]


def test_first_chunks_are_written_down():
    """A stream edge counts at the first chunk, a value at the end."""

    @step
    async def live(text: Stream[str]) -> AsyncIterator[str]:
        async for chunk in text:
            yield chunk

    result, rows, took_s = ran(lambda: live(told("abc")))
    assert (result, took_s) == ("abc", 2.0)
    row = rows["live"][0]
    assert (row.ready_s, row.first_chunk_s, row.end_s) == (1.0, 1.0, 2.0)
    assert [(edge.index, edge.kind, edge.at_s) for edge in row.edges] == [(0, "stream", 1.0)]
    assert [(edge.kind, edge.at_s) for edge in rows[""][0].edges] == [("stream", 1.0)]
    assert rows[""][0].first_chunk_s == 1.0
