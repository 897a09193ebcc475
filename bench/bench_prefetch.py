"""Prefetching follow-ups in virtual time: what is waited for them, and what it costs, with and without.

A session is six questions about a customer's own order, with a pause of some 10 s to read each answer (log-normal). Of
18 kinds of questions some have a usual next one, which comes nine times in ten; after the others anything comes. As
many have one as it takes for 40, 60 or 80 % of the follow-ups to be the usual one. In a second reading of "60 %", all
kinds have one, and it comes three times in five. What follows what is learned from the call log of 100 sessions without
prefetching; likelihoods are then held against what came. Questions name the order and the turn, so that no answer is in
the cache but those that were prefetched. Dollars are the provider's own account.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import headway
from common import emit, own_state, spread
from headway.pipeline.speculation import Follows, SpeculationSettings, Speculator, speculation
from headway.sim import SimSettings, Simulator, run_virtual
from headway.store.call_reader import CallLogReader

KINDS, TURNS, THINK_S = 18, 6, 10.0
SESSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
SEEDS = range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)
TAUGHT = 100
MANUAL = "You answer questions of customers about their orders, in some 120 words, kindly and to the point. " * 12


@dataclass
class Habits:
    """What follows what: a usual next kind for some, with that likelihood."""

    usual: dict[int, int]
    likelihood: float

    def next(self, kind: int, dice: Random) -> int:
        if kind in self.usual and dice.random() < self.likelihood:
            return self.usual[kind]
        return dice.choice([other for other in range(KINDS) if other != self.usual.get(kind)])

    def share(self) -> float:
        """How many of a session's follow-ups are the usual one, on average."""
        at, found = [1.0 / KINDS] * KINDS, 0.0
        for _ in range(TURNS - 1):
            then = [0.0] * KINDS
            for kind, weight in enumerate(at):
                usual = self.usual.get(kind)
                rest = weight if usual is None else weight * (1.0 - self.likelihood)
                others = [other for other in range(KINDS) if other != usual]
                for other in others:
                    then[other] += rest / len(others)
                if usual is not None:
                    then[usual] += weight - rest
                    found += weight - rest
            at = then
        return found / (TURNS - 1)


@dataclass
class Measured:
    """Follow-ups of one world."""

    waits_s: list[float] = field(default_factory=list)
    usual: int = 0
    said: list[tuple[float, bool]] = field(default_factory=list)
    dollars: float = 0.0
    stats: dict[str, Any] = field(default_factory=dict)


def habits(share: float, likelihood: float, seed: int) -> Habits:
    """Kinds with a usual next one, drawn until the usual one is that share of a session's follow-ups."""
    dice = Random(seed)
    while True:
        kinds, then = dice.sample(range(KINDS), KINDS), dice.sample(range(KINDS), KINDS)
        some = min(KINDS, round(KINDS * share / likelihood) + dice.randrange(-4, 3))
        drawn = Habits(dict(zip(kinds[:some], then, strict=False)), likelihood)
        if abs(drawn.share() - share) < 0.01:
            return drawn


def steps_of() -> list[Any]:
    """A step for each kind of question."""

    def made(kind: int) -> Any:
        @headway.step(name=f"kind{kind:02}", pure=True)
        async def answer(order: str) -> str:
            prompt = f"{MANUAL}\nOrder {order}, question of kind {kind}: write 120 words."
            return await headway.ask(prompt, model="gpt-5.4-mini")

        return answer

    return [made(kind) for kind in range(KINDS)]


async def world(
    given: Habits, seed: int, log: str, sessions: int, speculate: Callable[[list[Any]], Speculator] | None
) -> Measured:
    """Sessions, four at a time."""
    simulator, measured, steps = Simulator(SimSettings(seed=seed)), Measured(), steps_of()
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(4)

    @headway.pipeline
    async def turn(kind: int, order: str) -> str:
        return steps[kind](order)

    async def session(number: int, speculator: Speculator | None) -> None:
        dice, name = Random(seed * 100_003 + number), f"{seed}-{sessions}-{number}"
        kind = dice.randrange(KINDS)
        async with gate:
            for n in range(TURNS):
                began_s = loop.time()
                async with turn.run(kind, f"{name}.{n}", session=name) as run:
                    await run.result()
                if n:
                    measured.waits_s.append(loop.time() - began_s)
                following = given.next(kind, dice)
                if n + 1 < TURNS:
                    measured.usual += given.usual.get(kind) == following
                if speculator is not None:
                    likely = speculator.next(steps[kind])[:1]
                    speculator.after(steps[kind], session=name, context=f"{name}.{n + 1}")
                    came = n + 1 < TURNS and bool(likely) and likely[0].step == steps[following].name
                    measured.said.extend((one.likelihood, came) for one in likely)
                await asyncio.sleep(THINK_S * dice.lognormvariate(0.0, 0.6))
                kind = following

    async with headway.Engine(
        handler=simulator.handler, api_key="sk-sim", log=log, seed=seed, cache="memory"
    ) as engine:
        with headway.using(engine):
            speculation(engine, SpeculationSettings())
            speculator = speculate(steps) if speculate is not None else None
            await asyncio.gather(*(session(number, speculator) for number in range(sessions)))
            measured.stats = speculation(engine).stats()
    measured.dollars = simulator.ledger.totals.dollars
    return measured


def learned(log: str) -> Callable[[list[Any]], Speculator]:
    """A speculator that has read the call log."""

    def make(steps: list[Any]) -> Speculator:
        with CallLogReader(log) as reader:
            speculator = Speculator(Follows.learn(reader, pipeline="turn"))
        for step in steps:
            speculator.on(step, lambda order: order)
        return speculator

    return make


def measure(share: float, likelihood: float) -> tuple[dict[str, Any], list[tuple[float, bool]]]:
    """Both ways, over all seeds."""
    rows: list[tuple[Measured, Measured]] = []
    for seed in SEEDS:
        given = habits(share, likelihood, seed)
        with tempfile.TemporaryDirectory() as home:
            log = str(Path(home) / "calls.sqlite")
            run_virtual(lambda: world(given, seed + 1_000, log, TAUGHT, None))  # noqa: B023 - run at once
            plain = run_virtual(lambda: world(given, seed, "off", SESSIONS, None))  # noqa: B023
            ahead = run_virtual(lambda: world(given, seed, "off", SESSIONS, learned(log)))  # noqa: B023
        rows.append((plain, ahead))
    followups = sum(len(plain.waits_s) for plain, _ in rows)
    stats = [ahead.stats for _, ahead in rows]
    return {
        "usual_share": round(sum(plain.usual for plain, _ in rows) / followups, 3),
        "median_s_without": spread([median(plain.waits_s) for plain, _ in rows]),
        "median_s_with": spread([median(ahead.waits_s) for _, ahead in rows]),
        "mean_s_without": round(sum(sum(plain.waits_s) for plain, _ in rows) / followups, 2),
        "mean_s_with": round(sum(sum(ahead.waits_s) for _, ahead in rows) / followups, 2),
        "cut": min(1.0 - median(ahead.waits_s) / median(plain.waits_s) for plain, ahead in rows),
        "extra": max(ahead.dollars / plain.dollars - 1.0 for plain, ahead in rows),
        "extra_dollars": spread([100 * (ahead.dollars / plain.dollars - 1.0) for plain, ahead in rows]),
        "launched": sum(one["launched"] for one in stats),
        "hit_rate": round(sum(one["hits"] + one["joined"] for one in stats) / sum(one["launched"] for one in stats), 3),
        "saved_ms_per_hit": round(
            1_000 * sum(one["saved_s"] for one in stats) / sum(one["hits"] + one["joined"] for one in stats)
        ),
        "seeds": len(rows),
        "followups": followups,
    }, [said for _, ahead in rows for said in ahead.said]


def shown(figure: str, asked: str, figures: dict[str, Any], *, judged: bool) -> None:
    cut, extra = figures.pop("cut"), figures.pop("extra")
    emit(
        figure, asked,
        f"cut {cut:.0%} at {extra:+.1%} dollars (worst seed of each)",
        reached=(cut >= 0.5 and extra <= 0.25) if judged else None,
        **figures,
    )  # fmt: skip


def main() -> None:
    own_state()
    told: list[tuple[float, bool]] = []
    for share in (60, 40, 80):
        figures, said = measure(share / 100, 0.9)
        told += said
        judged = share == 60
        asked = ">= 50 % at <= 25 % extra dollars" if judged else "shown"
        shown(f"{share} % predictable follow-ups: median wait", asked, figures, judged=judged)
    figures, said = measure(0.6, 0.6)
    told += said
    shown("each follow-up predictable at 60 %: median wait", "shown", figures, judged=False)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1.0)):
        within = [(likelihood, came) for likelihood, came in told if low <= likelihood < high]
        if within:
            said_share = sum(likelihood for likelihood, _ in within) / len(within)
            came_share = sum(came for _, came in within) / len(within)
            emit(
                f"likelihoods of {low:.0%} to {high:.0%}: said, and what came", "came >= said - 0.05",
                f"said {said_share:.2f}, came {came_share:.2f}", reached=came_share >= said_share - 0.05,
                guesses=len(within),
            )  # fmt: skip


if __name__ == "__main__":
    main()
