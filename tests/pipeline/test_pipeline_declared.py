"""What is declared about a step: checked at once, with a sentence; kept apart from run to run; found through wrappers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from headway.errors import BudgetExceeded, Closed, ConfigError, DeadlineExceeded
from headway.pipeline import Stream, pipeline, step
from headway.policy.backoff import Backoff
from tests.pipeline.plumbing import failing, later, ran, told

if TYPE_CHECKING:
    from asyncio import StreamReader

    import openai
    from openai import AsyncStream

Live = Stream[str]
NO_WAIT = Backoff(base_s=0.0)


async def plain() -> int:
    return 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_s": "20"}, "timeout_s must be above 0, not '20'"),
        ({"timeout_s": True}, "timeout_s must be above 0, not True"),
        ({"timeout_s": float("inf")}, "timeout_s must be above 0, not inf"),
        ({"timeout_s": float("nan")}, "timeout_s must be above 0, not nan"),
        ({"cache_s": 0}, "cache_s must be above 0, not 0"),
        ({"retries": 1.5}, "retries must be 0 or more, not 1.5"),
        ({"retries": True}, "retries must be 0 or more, not True"),
        ({"retry_on": 3}, r"retry_on takes classes of exceptions, not \(3,\)"),
        ({"retry_on": [KeyError, "x"]}, "retry_on takes classes of exceptions"),
        ({"concurrency": 2.5}, "concurrency must be 1 or more, not 2.5"),
        ({"kept_bytes_max": 0.5}, "kept_bytes_max must be 1 or more, not 0.5"),
        ({"optional": "yes"}, "optional must be True or False, not 'yes'"),
        ({"smaller": {"big": 3}}, "smaller takes names of models"),
        ({"default": {"lock": asyncio.sleep}, "retries": 0, "pure": 1}, "pure must be True or False, not 1"),
    ],
)
def test_options_of_another_type_are_a_sentence_at_decoration(options, words):
    """And not a bare TypeError, or nothing at all until the step runs."""
    with pytest.raises(ConfigError, match=f"step 'plain': {words}"):
        step(**options)(plain)


def test_bounds_of_a_pipeline_are_checked_at_decoration():
    """An endless budget failed when the run was opened."""
    for options in ({"budget_usd": float("inf")}, {"deadline_s": "3"}, {"deadline_s": True}):
        with pytest.raises(ConfigError, match=f"pipeline 'plain': {next(iter(options))} must be above 0"):
            pipeline(**options)(plain)


def test_a_default_that_can_be_changed_is_a_new_one_each_time():
    """A list given as a default grew from run to run."""

    @step(default=[])
    async def fails() -> list[int]:
        raise KeyError("x")

    @step
    async def changed(found: list[int]) -> list[int]:
        found.append(1)
        return found

    async def twice():
        return changed(fails()), changed(fails())

    for _ in range(2):
        assert ran(twice)[0] == ([1], [1])
    assert fails.options.default == []


def test_a_default_that_runs_would_share_is_refused():
    """It can be changed, and cannot be copied."""

    class Connection:
        __hash__ = None

        def __deepcopy__(self, memo: object) -> Connection:
            raise TypeError("not this one")

    with pytest.raises(ConfigError, match="step 'plain': its default, a Connection, can be changed but not copied"):
        step(default=Connection())(plain)
    mark = object()
    assert step(default=mark)(plain).options.stand_in is mark


def test_what_another_try_meets_again_is_not_tried_again():
    """Money, time, a closed engine, a wrong setting: whatever `retry_on` says."""
    for kind in (BudgetExceeded, DeadlineExceeded, Closed, ConfigError):

        @step(retries=3, backoff=NO_WAIT, retry_on=(Exception, kind))
        async def fails(kind: Any = kind) -> None:
            raise kind("no")

        async def once(fails: Any = fails):
            return fails()

        error, rows, _ = failing(once)
        assert isinstance(error, kind)
        assert rows[1].tries == 1


@pytest.mark.parametrize("kinds", [TimeoutError, (KeyError, DeadlineExceeded), Exception])
def test_a_step_s_own_timeout_is_tried_again(kinds):
    """`retry_on=TimeoutError` is what one writes for it."""

    @step(retries=2, retry_on=kinds, backoff=NO_WAIT, timeout_s=1.0)
    async def slow(at: list[int]) -> int:
        at.append(1)
        await asyncio.sleep(0.5 if len(at) == 3 else 9.0)
        return len(at)

    async def once():
        return slow([])

    result, rows, _ = ran(once)
    assert (result, rows["slow"][0].tries) == (3, 3)


def test_a_timeout_that_is_not_named_is_not_tried_again():
    """Only what `retry_on` says."""

    @step(retries=2, retry_on=KeyError, timeout_s=1.0)
    async def slow() -> None:
        await asyncio.sleep(9.0)

    async def once():
        return slow()

    error, rows, _ = failing(once)
    assert isinstance(error, DeadlineExceeded)
    assert rows[1].tries == 1


def test_who_needs_a_step_without_a_value_runs_with_its_default():
    """None where it has none."""

    @step(optional=True)
    async def fails() -> str:
        raise KeyError("x")

    @step
    async def seen(value: object) -> object:
        return "with", value

    async def once():
        return seen(fails())

    result, rows, _ = ran(once)
    assert result == ("with", None)
    assert (rows["fails"][0].outcome, rows["seen"][0].outcome) == ("default", "ok")


# -- annotations -------------------------------------------------------------------------------------------------------


async def _named(reader: StreamReader | None = None, other: AsyncStream[str] | None = None, x: str = "") -> str:
    return type(x).__name__


async def _alias(x: Live) -> str:
    return type(x).__name__


async def _second(first: int, x: Stream[str]) -> str:
    return type(x).__name__


async def _keyword(x: Annotated[Stream[str] | None, 1], *, first: int) -> str:
    return type(x).__name__


class Called:
    """An object that can be called."""

    async def __call__(self, x: Stream[str]) -> str:
        return type(x).__name__


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (_alias, "Stream"),
        (functools.partial(_second, 1), "Stream"),
        (functools.partial(_keyword, first=1), "Stream"),
        (functools.partial(Called(), "x"), None),
        (Called(), "Stream"),
        (functools.partial(_named, None, None), "str"),
    ],
)
def test_streams_are_found_whatever_the_function_is_wrapped_in(function, kind):
    """An alias, a partial function, an object; and names for type checkers alone are in nobody's way."""
    made = step(function, name="made")
    if kind is None:
        assert made.spec.function.is_stream("x")
        return

    async def once():
        return made(told(["a", "b"]))

    assert ran(once)[0] == kind


async def _other(x: openai.Stream[str]) -> None: ...


def test_a_stream_that_is_not_there_at_run_time_is_a_sentence():
    """It may be ours; silently, the step would not be live."""

    async def once():
        return step(_other)("x")

    error, _, _ = failing(once)
    assert isinstance(error, ConfigError)
    assert "the annotation 'openai.Stream[str]' of 'x' cannot be told" in str(error)


# -- methods -----------------------------------------------------------------------------------------------------------


class Writer:
    """Steps and pipelines as methods."""

    def __init__(self, style: str) -> None:
        self.style = style

    @step(concurrency=1)
    async def write(self, text: str) -> str:
        await asyncio.sleep(1.0)
        return f"{self.style} {text}"

    @step
    async def pieces(self, text: str) -> AsyncIterator[str]:
        yield self.style
        yield text

    @classmethod
    @step
    async def name(cls, text: str) -> str:
        return f"{cls.__name__} {text}"

    @step
    @staticmethod
    async def plain(text: str) -> str:
        return text

    @pipeline(log=False)
    async def all(self, texts: list[str]) -> tuple[Any, Any, Any, Any]:
        return self.write.map(texts), self.pieces("x"), self.name("y"), self.plain("z")


def test_methods_are_steps_and_pipelines():
    """`self.write.map` knows its object, `writer.all.run(...)` its own; a step's limit is one, whoever's method it is."""
    result, _, took_s = ran(Writer("dry").all, ["a", "b"])
    assert result == (["dry a", "dry b"], "dryx", "Writer y", "z")
    assert took_s == 2.0
    one, other = Writer("dry"), Writer("wet")

    async def both():
        return one.write("a"), other.write("a")

    result, _, took_s = ran(both)
    assert (result, took_s) == (("dry a", "wet a"), 2.0)
    assert asyncio.run(one.all(["c"]))[0] == ["dry c"]
    assert one.write.name == "write"
    assert ran(lambda: later(1))[0] == 1
