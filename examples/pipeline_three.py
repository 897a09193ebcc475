"""Three questions about one ticket: one after the other, side by side, and merged into one call.

Each way prints its waterfall. Side by side costs the time of the slowest and the money of all three; merged sends the
ticket once, and takes the time of one call that writes all three answers.

Run it as it stands: with OPENAI_API_KEY set it asks OpenAI, else the simulator in this process. OPENAI_BASE_URL points
it elsewhere, e.g. to `headway sim`.

    python examples/pipeline_three.py
"""

import asyncio
import json
import os

import headway

MODEL = "gpt-5.4-mini"
TICKET = (
    "My parcel was due on Monday. It is Thursday now, the tracking page has not moved since the depot in Leeds, and the"
    " phone line hangs up after twenty minutes. I paid for express. Please send it again or give me my money back."
)
LABELS = ["billing", "shipping", "technical_support"]
ALL = {
    "type": "object",
    "properties": {
        "label": {"enum": LABELS},
        "summary": {"type": "string", "description": "Two sentences."},
        "keywords": {"type": "array", "items": {"type": "string"}, "minItems": 5, "maxItems": 5},
    },
    "required": ["label", "summary", "keywords"],
    "additionalProperties": False,
}


@headway.step
async def classify(ticket: str) -> str:
    """Its label."""
    labels = f"Classify the ticket. Labels: {', '.join(LABELS)}. Answer with the label only."
    return await headway.ask(ticket, system=labels, model=MODEL)


@headway.step
async def summarise(ticket: str) -> str:
    """Two sentences."""
    return await headway.ask(ticket, system="Summarise the ticket in two sentences.", model=MODEL)


@headway.step
async def keywords(ticket: str) -> list[str]:
    """Five of them."""
    text = await headway.ask(ticket, system="Give 5 keywords as '- ' bullets and nothing else.", model=MODEL)
    return [line.removeprefix("- ") for line in text.splitlines()]


@headway.step
async def everything(ticket: str) -> dict[str, object]:
    """All three in one answer."""
    wanted = "Give the ticket's label, a summary of two sentences and five keywords."
    answer: dict[str, object] = json.loads(await headway.ask(ticket, system=wanted, model=MODEL, schema=ALL))
    return answer


@headway.pipeline
async def one_after_the_other(ticket: str) -> tuple[str, str, list[str]]:
    """As it is written when nobody thinks of it: each `await` holds up the next call."""
    label = await classify(ticket)
    summary = await summarise(ticket)
    words = await keywords(ticket)
    return label, summary, words


@headway.pipeline
async def side_by_side(ticket: str) -> tuple[headway.Handle[str], headway.Handle[str], headway.Handle[list[str]]]:
    """The same without `await`: calling a step starts it."""
    return classify(ticket), summarise(ticket), keywords(ticket)


@headway.pipeline
async def merged(ticket: str) -> headway.Handle[dict[str, object]]:
    """One call."""
    return everything(ticket)


def engine() -> headway.Engine:
    """With a key, the provider's; else the simulator in this process."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("HEADWAY_API_KEY"):
        return headway.Engine(cache=False)
    from headway.sim import SimSettings, Simulator

    return headway.Engine(cache=False, handler=Simulator(SimSettings(seed=1)).handler, api_key="sk-sim")


async def main() -> None:
    """All three ways, on one engine."""
    async with engine() as opened:
        for way in (one_after_the_other, side_by_side, merged):
            async with way.run(TICKET, engine=opened) as run:
                print(await run.result())
            print(f"\n{run.report()}\n")


if __name__ == "__main__":
    asyncio.run(main())
