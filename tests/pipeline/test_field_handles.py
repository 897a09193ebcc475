"""Fields of a step's answer as handles: the next step starts when its field is complete, not when the answer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

import headway
from headway import Stream
from headway.errors import BadReply, ConfigError, HeadwayError
from headway.testing import FakeProvider, Step, virtual_run

PIECES = ('{"title": "Ti', 'des", "facts": [{"text": "a"', '}, {"text": "b"}', "], ", '"body": "long', '"}')


@headway.step
async def draft() -> AsyncIterator[str]:
    """A piece a second."""
    for piece in PIECES:
        await asyncio.sleep(1)
        yield piece


@headway.step
async def slow(value: Any) -> str:
    """Three seconds."""
    await asyncio.sleep(3)
    return f"of {value}"


def ran(main: Any, *args: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A pipeline's result, and its rows by the step's name."""

    async def run() -> tuple[Any, dict[str, Any]]:
        async with headway.pipeline(log=False)(main).run(*args, **options) as run:
            result = await run.result()
        return result, {f"{row.step}": row for row in run.rows()}

    return virtual_run(run)


def test_a_step_starts_when_its_field_is_complete():
    """While the rest is written; the row says what it waited for, and since when that was there."""

    async def main() -> Any:
        whole = draft()
        return [slow(whole.field("title", str)), whole]

    (made, text), rows = ran(main)
    assert made == "of Tides"
    assert text == "".join(PIECES)
    assert [(edge.kind, edge.index, edge.at_s) for edge in rows["slow"].edges] == [("field", 0, 2.0)]
    assert (rows["slow"].ready_s, rows["slow"].end_s, rows["draft"].end_s) == (2.0, 5.0, 6.0)


def test_elements_are_there_one_by_one():
    """Each gets its own step as soon as it is complete; read live by a step, and awaited as a list, they are the same."""

    @headway.step
    async def live(facts: Stream[dict[str, str]]) -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        return [(loop.time(), fact["text"]) async for fact in facts]

    async def main() -> Any:
        whole, loop = draft(), asyncio.get_running_loop()
        seen = live(whole.items("facts"))
        made = [(loop.time(), slow(fact["text"])) async for fact in whole.items("facts")]
        return [made, seen, await whole.items("facts")]

    (made, seen, facts), rows = ran(main)
    assert made == [(3.0, "of a"), (3.0, "of b")]
    assert seen == [(3.0, "a"), (3.0, "b")]
    assert facts == [{"text": "a"}, {"text": "b"}]
    assert [(edge.kind, edge.at_s) for edge in rows["live"].edges] == [("stream", 3.0)]


class Fact(msgspec.Struct):
    text: str


def test_fields_have_types():
    """A struct, a list of structs, elements as structs; another type is a sentence for whoever waits."""

    async def main() -> Any:
        whole = draft()
        first = await whole.field("facts.0", Fact)
        facts = await whole.field("facts", list[Fact])
        each = [fact async for fact in whole.items("facts", Fact)]
        with pytest.raises(BadReply, match=r"field 'title' of step 'draft#0' of pipeline .* is of another type"):
            await whole.field("title", int)
        return [first, facts, each]

    (first, facts, each), _ = ran(main)
    assert first == Fact("a")
    assert facts == each == [Fact("a"), Fact("b")]


def test_a_field_that_never_comes_fails_who_waits_for_it_once():
    """The run's one error names the field and the step; with a default there is none."""

    async def main() -> Any:
        return slow(draft().field("author"))

    with pytest.raises(BadReply, match=r"^field 'author' of step 'draft#0' .* has 'title', 'facts', 'body'"):
        ran(main)

    async def with_default() -> Any:
        return slow(draft().field("author", default="nobody"))

    made, rows = ran(with_default)
    assert made == "of nobody"
    assert rows["slow"].ready_s == 6.0


def test_a_field_whose_step_fails_has_its_error():
    """Not one of its own; a field that was complete before has its value."""

    @headway.step
    async def breaks() -> AsyncIterator[str]:
        yield '{"a": 1, '
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def main() -> Any:
        whole = breaks()
        assert await whole.field("a") == 1
        return await whole.field("b")

    with pytest.raises(ValueError, match="broken"):
        ran(main)


def test_fields_of_a_step_that_does_not_stream():
    """Of JSON as text, of mappings and of objects, when it has ended; a field of a field, too."""

    @headway.step
    async def text() -> str:
        return 'As asked: {"a": {"b": [1, 2]}}'

    @headway.step
    async def mapping() -> dict[str, Any]:
        return {"a": {"b": [1, 2]}, "fact": Fact("x")}

    @headway.step(optional=True)
    async def missing() -> str:
        raise ValueError

    async def main() -> Any:
        one, other = text(), mapping()
        return [
            await one.field("a.b.1"),
            await one.field("a").field("b"),
            await other.field("a.b.1"),
            await other.field("fact.text"),
            [each async for each in other.items("a.b")],
            await missing().field("a"),
        ]

    assert ran(main)[0] == [2, [1, 2], 2, "x", [1, 2], None]


def test_what_is_no_list_has_no_elements():
    """Neither of a stream nor of a value."""

    @headway.step
    async def mapping() -> dict[str, Any]:
        return {"a": 1}

    async def main() -> Any:
        for handle, name in ((draft(), "title"), (mapping(), "a")):
            with pytest.raises(BadReply, match=f"field '{name}' of step .* is no list"):
                await handle.items(name)

    ran(main)


def test_leaving_the_elements_cancels_the_call_behind_them():
    """Nobody else reads the answer, so the request upstream ends."""
    provider = FakeProvider([Step(text='{"facts": [1, 2, 3, 4, 5, 6]}', chunk_delay_s=1.0)])

    @headway.step
    async def listed() -> AsyncIterator[str]:
        async for piece in headway.ask("list", model="gpt-5.4-mini"):
            yield piece

    async def main() -> Any:
        async for number in listed().items("facts"):
            return number
        return None

    async def run() -> tuple[Any, Any, float]:
        async with headway.Engine(handler=provider, api_key="sk", log="off") as engine:
            async with headway.pipeline(log=False)(main).run(engine=engine) as run:
                number = await run.result()
            return number, run.rows()[1].outcome, asyncio.get_running_loop().time()

    number, outcome, _ = virtual_run(run)
    assert (number, outcome) == (1, "cancelled")
    assert (provider.open, provider.aborted) == (0, 1)


def test_misuse_is_a_sentence():
    """No name, an empty part, and a run that is over."""
    kept: list[Any] = []

    async def main() -> Any:
        whole = draft()
        kept.append(whole)
        with pytest.raises(TypeError, match=r"field 'a' of the handles of step 'slow'"):
            slow.map([1, 2]).field("a")
        with pytest.raises(ConfigError, match="a field needs a name"):
            whole.field("")
        with pytest.raises(ConfigError, match="a part of the path is empty"):
            whole.field("a..b")
        return whole

    ran(main)
    with pytest.raises(HeadwayError, match="after its run had ended"):
        kept[0].field("title")
