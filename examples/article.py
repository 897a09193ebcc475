"""An article that is written from an outline and from facts, and read while it is being written.

Outline and facts are asked for side by side; writing begins when both are there. The picture begins as soon as the
title is complete, amid the outline's answer.

Run it as it stands: with OPENAI_API_KEY set it asks OpenAI, else the simulator in this process. OPENAI_BASE_URL points
it elsewhere, e.g. to `headway sim`.

    python examples/article.py "the tides"
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import headway

MODEL = "gpt-5.4-mini"
OUTLINE = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "sections": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
    },
    "required": ["title", "sections"],
    "additionalProperties": False,
}


@headway.step
async def outline(topic: str) -> AsyncIterator[str]:
    """A title and sections, as JSON that comes in pieces."""
    async for piece in headway.ask(topic, system="Outline an article.", model=MODEL, schema=OUTLINE):
        yield piece


@headway.step
async def facts(topic: str) -> list[str]:
    """What is known."""
    text = await headway.ask(topic, system="Give 4 facts as '- ' bullets and nothing else.", model=MODEL)
    return [line.removeprefix("- ") for line in text.splitlines()]


@headway.step(optional=True, timeout_s=20)
async def picture(title: str) -> str:
    """What is to be drawn for it; the article does without where it fails."""
    return await headway.ask(title, system="Describe in one sentence a picture for this title.", model=MODEL)


@headway.step
async def write(outline: str, facts: list[str]) -> AsyncIterator[str]:
    """The article, piece by piece."""
    known = f"Outline: {outline}\nFacts:\n" + "\n".join(facts)
    async for piece in headway.ask(known, system="Write an article of 120 words.", model=MODEL):
        yield piece


@headway.pipeline
async def article(topic: str) -> headway.Handle[str]:
    """What needs what is told by which handle is given to which step."""
    o, f = outline(topic), facts(topic)  # both start now
    picture(o.field("title"))  # starts when the title is complete
    return write(o, f)  # starts when both are there


def engine() -> headway.Engine:
    """With a key, the provider's; else the simulator in this process."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("HEADWAY_API_KEY"):
        return headway.Engine()
    from headway.sim import SimSettings, Simulator

    return headway.Engine(handler=Simulator(SimSettings(seed=1)).handler, api_key="sk-sim")


async def main(topic: str) -> None:
    """Read it while it comes, then see where the time went."""
    async with engine() as opened:
        async with article.run(topic, engine=opened) as run:
            async for chunk in run.stream():
                print(chunk, end="", flush=True)
        print(f"\n\n{run.report()}")


if __name__ == "__main__":
    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "the tides"))
    except headway.HeadwayError as error:
        sys.exit(str(error))
