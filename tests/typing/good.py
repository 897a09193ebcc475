"""What type checkers accept, and what they make of it; read by them, run by nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

import headway
from headway import Handle, Handles, Pipeline, Run, Step, Stream, pipeline, step


@step
async def outline(topic: str) -> str:
    return topic


@step(retries=2, timeout_s=20)
async def facts(topic: str, count: int = 3) -> list[str]:
    return [topic] * count


@step
async def write(outline: str, facts: list[str]) -> AsyncIterator[str]:
    yield outline
    yield facts[0]


@step
async def numbers(count: int) -> AsyncIterator[int]:
    yield count


@step
async def shout(text: Stream[str]) -> AsyncIterator[str]:
    async for chunk in text:
        yield chunk.upper()


@step
def words(text: str) -> int:
    return len(text.split())


@step
async def either(text: str | list[str]) -> str:
    return str(text)


@step(optional=True)
def nothing() -> None: ...


@headway.step
async def keyed(text: str, *, style: str) -> str:
    return text + style


@step
async def seven(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> int:
    return a + b + c + d + e + f + g


@pipeline
async def article(topic: str) -> Handle[str]:
    o, f = outline(topic), facts(topic)
    assert_type(o, Handle[str])
    assert_type(f, Handle[list[str]])
    text = write(o, f)
    assert_type(text, Handle[str])
    assert_type(await text, str)
    async for chunk in text:
        assert_type(chunk, str)
    assert_type(write(o, ["plain"]), Handle[str])
    assert_type(write(o, facts=f), Handle[str])
    assert_type(write(outline="x", facts=f), Handle[str])
    assert_type(facts("x", 4), Handle[list[str]])
    assert_type(numbers(3), Handle[list[int]])
    assert_type(await numbers(3), list[int])
    assert_type(words(text), Handle[int])
    assert_type(nothing(), Handle[None])
    assert_type(either(o), Handle[str])
    assert_type(either(f), Handle[str])
    assert_type(either(Handles([o, text])), Handle[str])
    wider: Handle[str | None] = o
    any_step: Step[object] = outline
    assert wider, any_step
    assert_type(keyed(o, style="plain"), Handle[str])
    assert_type(seven(1, 2, 3, 4, 5, 6, g=7), Handle[int])
    assert_type(seven(1, 2, 3, 4, 5, 6, words(o)), Handle[int])
    assert_type(words.map(["a", o]), Handles[int])
    assert_type(await words.map([o]), list[int])
    assert_type(facts.map([o, "b"], 3, concurrency=5), Handles[list[str]])
    assert_type(write(o, outline.map(["a"])), Handle[str])
    assert_type(write(o, Handles([o, text])), Handle[str])
    return shout(text)


@headway.pipeline(deadline_s=30)
async def both(topic: str, count: int = 1) -> tuple[Handle[str], Handle[list[str]]]:
    return outline(topic), facts(topic, count)


@pipeline
async def plain(topic: str) -> int:
    return await words(outline(topic))


@pipeline
def graph(topic: str) -> Handle[int]:
    return words(outline(topic))


@pipeline
async def live(topic: str) -> AsyncIterator[str]:
    yield topic


@pipeline
async def table(topic: str) -> dict[str, Handle[str]]:
    return {topic: outline(topic)}


@pipeline
async def many(topics: list[str]) -> Handles[str]:
    return outline.map(topics)


async def main() -> None:
    assert_type(await article("tides"), str)
    assert_type(article.run_sync("tides"), str)
    assert_type(await both("tides", count=2), tuple[str, list[str]])
    assert_type(await plain("tides"), int)
    assert_type(await graph("tides"), int)
    assert_type(await live("tides"), str)
    assert_type(await many(["tides"]), list[str])
    assert_type(await table("tides"), dict[str, str])
    made: Pipeline[..., str] = article
    assert made
    async with article.run("tides", deadline_s=3, session="s") as run:
        assert_type(run, Run[str])
        assert_type(await run.result(), str)
        async for chunk in run.stream():
            assert_type(chunk, Any)
