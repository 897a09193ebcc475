"""What type checkers refuse: every line marked so must be an error, and no other one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from headway import Handle, pipeline, step


@step
async def outline(topic: str) -> str:
    return topic


@step
async def facts(topic: str) -> list[str]:
    return [topic]


@step
async def write(outline: str, facts: list[str]) -> AsyncIterator[str]:
    yield outline
    yield facts[0]


@step(timeout=3)  # error
async def timed(topic: str) -> str:
    return topic


@pipeline
async def article(topic: str) -> Handle[str]:
    o, f = outline(topic), facts(topic)
    write(f, o)  # error
    write(o, o)  # error
    write(o, [3])  # error
    write(o, f, "more")  # error
    outline(3)  # error
    outline.map([3])  # error
    length: int = await o  # error
    text: str = o  # error
    assert length, text
    o.upper()  # error
    assert o * 2  # error
    return facts(topic)  # error


def narrowed(wide: Handle[str | None]) -> Handle[str]:
    return wide  # error


async def main() -> None:
    await article(3)  # error
    await article("tides", 3)  # error
    number: int = await article("tides")  # error
    assert number
