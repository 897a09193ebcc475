"""An assistant that answers the next question before it is asked: follow-ups on buttons, and prefetch.

It learns which question follows which, and while you read an answer it fetches the next one, where that is likely
enough to be worth the money. Two customers talk to it here, one after the other, with a pause after each answer.

Run it as it stands: with OPENAI_API_KEY set it asks OpenAI, else the simulator in this process. OPENAI_BASE_URL points
it elsewhere, e.g. to `headway sim`.

    python examples/assistant.py
"""

import asyncio
import os
from functools import partial

import headway

QUESTIONS = {
    "overview": "What is the {product}, in a few sentences?",
    "price": "What does the {product} cost, and what comes with it?",
    "delivery": "How long does the {product} take to arrive, and what does delivery cost?",
    "returns": "Can I send the {product} back, and who pays for that?",
}
USUALLY = ["overview", "price", "delivery", "returns"]
"""How most customers go on; what the call log of last week would tell (`headway.Follows.learn`)."""
MANUAL = "You answer customers of a lamp shop, kindly, to the point, in some 80 words. " * 20
READING_S = float(os.environ.get("READING_S", "4"))


@headway.step(pure=True)  # it only asks, so it may run before anybody wants it
async def answer(question: str) -> str:
    """Ask the model."""
    return await headway.ask(question, system=MANUAL, model="gpt-5.4-mini", output_tokens_max=300)


@headway.pipeline
async def turn(question: str) -> headway.Handle[str]:
    """One question and its answer."""
    return answer(question)


def asked(text: str, product: str) -> str:
    """The question about a product."""
    return text.format(product=product)


def assistant() -> headway.Speculator:
    """What is known beforehand: which questions there are, and that most customers go through them in order."""
    speculate = headway.Speculator()
    for kind, text in QUESTIONS.items():
        speculate.on(answer, partial(asked, text), label=kind)
    for customer in range(20):
        for kind in USUALLY:
            speculate.follows.observe("answer", label=kind, session=f"last week, {customer}")
    return speculate


async def talk(speculate: headway.Speculator, product: str, kinds: list[str]) -> None:
    """One customer's questions, and how long each was waited for."""
    loop = asyncio.get_running_loop()
    for kind in kinds:
        asked_s = loop.time()
        async with turn.run(QUESTIONS[kind].format(product=product), session=product) as run:
            text = await run.result()
        waited_s = loop.time() - asked_s
        guesses = speculate.after(answer, label=kind, session=product, context=product)
        ahead = ", ".join(f"{guess.state} ({guess.likelihood:.0%})" for guess in guesses if guess) or "nothing"
        print(f"{product:11} {kind:9} {waited_s:6.2f} s  {len(text.split()):3} words   prefetch: {ahead}")
        await asyncio.sleep(READING_S)


def engine() -> headway.Engine:
    """With a key, the provider's; else the simulator in this process."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("HEADWAY_API_KEY"):
        return headway.Engine(cache=True)
    from headway.sim import SimSettings, Simulator

    handler = Simulator(SimSettings(seed=1)).handler
    return headway.Engine(cache="memory", log="off", handler=handler, api_key="sk-sim")


async def main() -> None:
    """Two customers: one goes on as most do, one does not."""
    async with engine() as opened:
        with headway.using(opened):
            speculate = assistant()
            await talk(speculate, "brass lamp", ["overview", "price", "delivery", "returns"])
            await talk(speculate, "paper lamp", ["overview", "returns", "price"])
            made = headway.speculation().stats()
    unused_usd = made["wasted_usd"] + made["ready_usd"]
    print(
        f"\n{made['launched']} fetched ahead, {made['hits'] + made['joined']} asked for: {made['saved_s']:.1f} s saved,"
    )
    print(f"${unused_usd:.6f} for what nobody asked for, beside ${made['real_usd']:.6f} for the rest")


if __name__ == "__main__":
    asyncio.run(main())
