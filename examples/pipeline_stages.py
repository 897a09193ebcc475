"""An article from a brief, in eight stages: from a plain sequential program to one that streams and is a step ahead.

Each stage prints when its first word and its last one were there, and, from the second on, its waterfall. What each of
them changes, and why, is told in docs/pipelines-tutorial.md.

Run it as it stands: with OPENAI_API_KEY set it asks OpenAI, else the simulator in this process. OPENAI_BASE_URL points
it elsewhere, e.g. to `headway sim`.

    python examples/pipeline_stages.py               # all of them
    python examples/pipeline_stages.py 2 3           # those
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import headway

MODEL = "gpt-5.4-mini"
BRIEF = (
    "Why are there two high tides a day and not one? What does the sun do to them? Where on earth are they highest?"
    " The plan is to begin on a beach at low water with a child who asks where the sea has gone, to follow the water"
    " out to the moon and back to the beach, to say what a bulge is without once saying gravity gradient, to give the"
    " sun its smaller share and show how spring and neap tides come of it, to end in the Bay of Fundy with sixteen"
    " metres of it, and to leave the child, and whoever reads this over her shoulder, with one thing that they can go"
    " and see for themselves on the same evening without any instrument but a stick in the sand."
)
OUTLINE = {
    "type": "object",
    "properties": {
        "questions": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
        "plan": {"type": "string"},
    },
    "required": ["questions", "plan"],
    "additionalProperties": False,
}
READING_S = float(os.environ.get("READING_S", "4"))


# -- the steps: functions as they were, with one line above each -------------------------------------------------------


@headway.step
async def outline(brief: str) -> str:
    """What comes after what."""
    return await headway.ask(f"Write 120 words: an outline for this brief. {brief}", model=MODEL, output_tokens_max=600)


@headway.step
async def facts(brief: str) -> str:
    """What is known."""
    return await headway.ask(f"Write 90 words: facts for this brief. {brief}", model=MODEL, output_tokens_max=600)


@headway.step
async def write(outline: str, facts: str) -> str:
    """The article."""
    return await headway.ask(f"Write 150 words: the article. {outline} {facts}", model=MODEL, output_tokens_max=600)


@headway.step(name="write")
async def write_live(outline: str, facts: str | list[str]) -> AsyncIterator[str]:
    """The same, piece by piece: `async for` and `yield` instead of `return await`."""
    prompt = f"Write 150 words: the article. {outline} {facts}"
    async for piece in headway.ask(prompt, model=MODEL, output_tokens_max=600):
        yield piece


@headway.step
async def planned(brief: str) -> AsyncIterator[str]:
    """An outline as JSON: three questions, then the plan."""
    prompt = f"Outline an article for this brief: {brief}"
    async for piece in headway.ask(prompt, model=MODEL, schema=OUTLINE, output_tokens_max=600):
        yield piece


@headway.step
async def answer(question: str) -> str:
    """The facts, question by question."""
    prompt = f"Write 50 words: facts that answer this. {question}"
    return await headway.ask(prompt, model=MODEL, output_tokens_max=600)


@headway.step(optional=True, timeout_s=3)
async def picture(brief: str) -> str:
    """Nice to have; a large model, which is slow."""
    prompt = f"Write 200 words: a picture for this brief. {brief}"
    return await headway.ask(prompt, model="gpt-5.4", output_tokens_max=600)


@headway.step(pure=True)  # it only asks, so it may run before anybody wants it
async def teaser(article: str) -> str:
    """The follow-up that most readers click."""
    return await headway.ask(f"Write 40 words: a teaser. {article}", model=MODEL, output_tokens_max=600)


# -- the stages --------------------------------------------------------------------------------------------------------


async def plain(brief: str) -> str:
    """0: no pipeline; `.fn` is the function without the line above it."""
    o = await outline.fn(brief)
    f = await facts.fn(brief)
    text: str = await write.fn(o, f)
    return text


@headway.pipeline
async def awaiting(brief: str) -> str:
    """1: the same as steps. Each `await` still holds up what follows, but now it can be seen."""
    o = await outline(brief)
    f = await facts(brief)
    return await write(o, f)


@headway.pipeline
async def parallel(brief: str) -> headway.Handle[str]:
    """2: without `await`. What needs what is told by which handle goes where."""
    o, f = outline(brief), facts(brief)  # both start now
    return write(o, f)  # starts when both are there


@headway.pipeline
async def streaming(brief: str) -> headway.Handle[str]:
    """3: the last step yields."""
    return write_live(outline(brief), facts(brief))


@headway.pipeline
async def whole(brief: str) -> headway.Handle[str]:
    """4: facts that answer the outline's questions, and so wait for it."""
    o = planned(brief)
    questions = json.loads(await o)["questions"]
    return write_live(o, answer.map(questions))


@headway.pipeline
async def fields(brief: str) -> headway.Handle[str]:
    """5: each starts when its question is complete, while the plan is still being written."""
    o = planned(brief)
    found = [answer(question) async for question in o.items("questions", str)]
    return write_live(o, headway.Handles(found))


@headway.pipeline(deadline_s=10, budget_usd=0.05)
async def bounded(brief: str) -> AsyncIterator[str]:
    """6: with a bound of time and of money, and a step that the article can do without."""
    p, o = picture(brief), planned(brief)
    found = [answer(question) async for question in o.items("questions", str)]
    async for piece in write_live(o, headway.Handles(found)):
        yield piece
    if (drawn := await p) is not None:
        yield f"\n\nPicture: {drawn}"


@headway.pipeline
async def follow_up(article: str) -> headway.Handle[str]:
    """7: what is asked next, as a rule."""
    return teaser(article)


STAGES = [None, awaiting, parallel, streaming, whole, fields, bounded]


# -- running them ------------------------------------------------------------------------------------------------------


def engine(*, cache: bool = False) -> headway.Engine:
    """With a key, the provider's; else the simulator in this process."""
    kept = "memory" if cache else False
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("HEADWAY_API_KEY"):
        return headway.Engine(cache=kept)
    from headway.sim import SimSettings, Simulator

    return headway.Engine(cache=kept, handler=Simulator(SimSettings(seed=1)).handler, api_key="sk-sim")


async def show(stage: int) -> None:
    """Run one of the first seven; print when its words came, and its waterfall."""
    loop = asyncio.get_running_loop()
    async with engine() as opened:
        with headway.using(opened):
            pipeline, began_s, first_s = STAGES[stage], loop.time(), 0.0
            if pipeline is None:
                await plain(BRIEF)
                print(f"{stage}: all of it after {loop.time() - began_s:.2f} s\n")
                return
            async with pipeline.run(BRIEF) as run:
                async for _ in run.stream():
                    first_s = first_s or loop.time() - began_s
            took_s = loop.time() - began_s
            print(f"{stage}: first word after {first_s:.2f} s, all of it after {took_s:.2f} s\n\n{run.report()}\n")


async def ahead() -> None:
    """The last stage: the follow-up, asked for after some reading, and asked for after it was fetched ahead."""
    loop = asyncio.get_running_loop()
    async with engine(cache=True) as opened:
        with headway.using(opened):
            for guess in (False, True):
                async with streaming.run(BRIEF + "!" * guess) as run:
                    text = await run.result()
                if guess:
                    headway.prefetch(teaser, text, likelihood=0.7)
                await asyncio.sleep(READING_S)
                async with follow_up.run(text) as run:
                    began_s = loop.time()
                    await run.result()
                    took_s = loop.time() - began_s
                print(f"7: the follow-up after {took_s:.2f} s, {'fetched ahead' if guess else 'asked when wanted'}")
            made = headway.speculation().stats()
            print(f"\n{run.report()}\n\n{made['hits']} of {made['launched']} asked for, {made['saved_s']:.2f} s saved")


async def main(stages: list[int]) -> None:
    """Those stages."""
    for stage in stages:
        await (show(stage) if stage < len(STAGES) else ahead())


if __name__ == "__main__":
    try:
        asyncio.run(main([int(number) for number in sys.argv[1:]] or list(range(len(STAGES) + 1))))
    except headway.HeadwayError as error:
        sys.exit(str(error))
