"""The three-step pipeline that courses on this subject show, claimed against measured; and fields read while they come.

One after the other, side by side, and merged into one call, on virtual time against the simulator, whose latencies are
set to the ranges that the same courses quote. Medians over 20 seeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from statistics import median
from typing import Any, TypeAlias

import headway
from common import emit
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

COMMAND = "bench/bench_pipeline.py --table"
MODEL = "gpt-4o"
SEEDS = 20
Way: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
TICKET = (
    "My parcel was due on Monday. It is Thursday now, the tracking page has not moved since the depot in Leeds, and the"
    " phone line hangs up after twenty minutes. I paid for express. Please send it again or give me my money back."
)


@headway.step
async def answer(prompt: str) -> str:
    """One call."""
    return await headway.ask(prompt, model=MODEL)


@headway.pipeline(log=False)
async def side_by_side(prompts: list[str]) -> list[str]:
    """All called before any is awaited."""
    return await answer.map(prompts)


async def in_sequence(prompts: list[str]) -> list[str]:
    """As it is written when nobody thinks of it."""
    return [await headway.ask(prompt, model=MODEL) for prompt in prompts]


def seconds(way: Way) -> float:
    """The median over simulators of 20 seeds."""

    async def main(seed: int) -> float:
        loop = asyncio.get_running_loop()
        simulator = Simulator(SimSettings(seed=seed, rpm=None, tpm=None))
        async with headway.Engine(handler=simulator.handler, api_key="sim", log="off", seed=seed) as engine:
            with headway.using(engine):
                start_s = loop.time()
                await way()
                return loop.time() - start_s

    return median(virtual_run(lambda s=seed: main(s)) for seed in range(SEEDS))


def words(count: int) -> str:
    """A prompt whose answer has that many."""
    return f"Write {count} words about this ticket: {TICKET}"


ALL = {
    "type": "object",
    "properties": {
        "label": {"enum": ["billing", "shipping", "technical_support"]},
        "summary": {"type": "string", "description": "Two sentences."},
        "keywords": {"type": "array", "items": {"type": "string"}, "minItems": 5, "maxItems": 5},
    },
    "required": ["label", "summary", "keywords"],
    "additionalProperties": False,
}
THREE = (
    "Classify the ticket. Labels: billing, shipping, technical_support. Answer with the label only.",
    "Summarise the ticket in two sentences.",
    "Give 5 keywords as '- ' bullets and nothing else.",
)


@headway.step
async def asked(system: str) -> str:
    """One of the three about the ticket."""
    return await headway.ask(TICKET, system=system, model=MODEL)


@headway.pipeline(log=False)
async def three() -> list[str]:
    """Side by side."""
    return await asked.map(THREE)


async def three_in_sequence() -> list[str]:
    """One after the other."""
    return [await headway.ask(TICKET, system=system, model=MODEL) for system in THREE]


async def three_merged() -> str:
    """In one answer."""
    system = "Give the ticket's label, a summary of two sentences and five keywords."
    return await headway.ask(TICKET, system=system, model=MODEL, schema=ALL)


def equal(count: int) -> tuple[Way, Way, Way]:
    """Three answers of so many words each."""
    prompts = [f"{words(count)}\n\n({number})" for number in range(3)]  # equal ones would be joined
    return (
        (lambda: in_sequence(prompts)),
        (lambda: _run(side_by_side, prompts)),
        (lambda: in_sequence([words(3 * count)])),
    )


CASES: tuple[tuple[str, tuple[Way, Way, Way]], ...] = (
    ("2,700 -> 900 ms", equal(60)),
    ("9 s -> 3-4 s", equal(270)),
    ("classify + summarise + keywords", (three_in_sequence, lambda: _run(three), three_merged)),
)


def material(*, table: bool) -> None:
    """Each claim with what was measured, as figures or as the rows of a table."""
    if table:
        print("| claimed | one after the other | side by side | merged into one call |\n|---|---|---|---|")
    for claimed, ways in CASES:
        took = dict(zip(("in sequence", "side by side", "merged"), map(seconds, ways), strict=True))
        gain = took["in sequence"] / took["side by side"]
        if table:
            print(f"| {claimed} | " + " | ".join(f"{value:.2f} s" for value in took.values()) + " |")
            continue
        found = {name: round(value, 3) for name, value in took.items()} | {"gain": round(gain, 2)}
        emit(f"the material's three steps: {claimed}", "as claimed", found,
             reached=None if "->" not in claimed else gain >= 2.25, command=COMMAND)  # fmt: skip
    fields(table=table)


async def _run(pipeline: Any, *args: Any) -> Any:
    return await pipeline(*args)


# -- fields ------------------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "facts": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4},
        "body": {"type": "string", "minLength": 1_500},
    },
    "required": ["title", "facts", "body"],
    "additionalProperties": False,
}


@headway.step
async def draft(topic: str) -> AsyncIterator[str]:
    """A structured answer, the long part of it last."""
    async for piece in headway.ask(topic, system="Write an article.", model=MODEL, schema=SCHEMA):
        yield piece


@headway.step
async def cover(title: str) -> str:
    """Needs the title only."""
    return await headway.ask(words(120) + title, model=MODEL)


@headway.step
async def check(fact: str, number: int) -> str:
    """Needs one fact."""
    return await headway.ask(f"Write 40 words on whether this is so ({number}): {fact}", model=MODEL)


@headway.pipeline(log=False)
async def early(topic: str) -> Any:
    """The cover and the checks begin while the body is being written."""
    article = draft(topic)
    picture, number = cover(article.field("title")), 0
    checks = []
    async for fact in article.items("facts"):
        checks.append(check(fact, number))
        number += 1
    return [article, picture, checks]


@headway.step
async def parsed(text: str) -> dict[str, Any]:
    """The whole answer."""
    return headway.Json().read(text)


@headway.pipeline(log=False)
async def late(topic: str) -> Any:
    """They begin when it is whole."""
    article = draft(topic)
    whole = await parsed(article)
    return [article, cover(whole["title"]), [check(fact, number) for number, fact in enumerate(whole["facts"])]]


def fields(*, table: bool) -> None:
    """The same article, its fields awaited as they come or all at once."""
    took = {name: seconds(lambda p=way: _run(p, "tides")) for name, way in (("fields", early), ("whole", late))}
    if table:
        print(
            "\n| the next steps begin | end to end |\n|---|---|\n"
            f"| when the answer is whole | {took['whole']:.2f} s |\n| when their field is | {took['fields']:.2f} s |"
        )
        return
    found = {name: round(value, 3) for name, value in took.items()}
    gain = round(took["whole"] / took["fields"], 2)
    emit("fields of a structured answer, each as it comes, against the whole of it", "sooner", found | {"gain": gain},
         reached=gain > 1)  # fmt: skip
