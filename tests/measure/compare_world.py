"""A provider for comparisons: two models whose times, answers and failures are what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from headway import Call, Engine, Reply, Task
from headway.measure.compare.comparison import Comparison
from headway.measure.compare.run import CompareSettings, compare
from headway.measure.compare.variant import RunTable, Variant
from headway.sim.scripted import scripted_whole
from headway.testing import virtual_run
from headway.types import Usage

MODELS = {"a": "gpt-4.1-mini", "b": "gpt-4.1-nano", "judge": "gpt-4o"}
LABELS = ("yes", "no")


class Plays(msgspec.Struct, kw_only=True):
    """How one model is played. `answer` gets the row's text, `status` the number of the request to it."""

    latency_s: float = 1.0
    noise: float = 0.1
    answer: Callable[[str], str] = lambda text: text.rpartition(" ")[2]
    status: Callable[[int], int] = lambda number: 200
    output_tokens: int = 2


class World:
    """Both models; `in_flight` at most, and every request, in order: (model, prompt)."""

    def __init__(self, a: Plays | None = None, b: Plays | None = None, *, seed: int = 0, **models: Plays) -> None:
        named = {MODELS.get(name, name): plays for name, plays in models.items()}
        self.plays = {MODELS["a"]: a or Plays(), MODELS["b"]: b or Plays(), **named}
        self.seen: list[tuple[str, str]] = []
        self.in_flight = self.most = 0
        self._rng = Random(seed)
        self._counts = dict.fromkeys(self.plays, 0)
        self.billed, self.answers = dict.fromkeys(self.plays, 0), dict.fromkeys(self.plays, 0)

    async def __call__(self, call: Call) -> Reply:
        model = call.view.model
        prompt = msgspec.json.decode(call.body)["input"]
        plays = self.plays[model]
        self.seen.append((model, prompt))
        self._counts[model] += 1
        status, usage = plays.status(self._counts[model]), Usage(input_tokens=50, output_tokens=plays.output_tokens)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(plays.latency_s * self._rng.lognormvariate(0.0, plays.noise))
        finally:
            self.in_flight -= 1
        body = scripted_whole(call, status, plays.answer(str(prompt)), usage)
        self.billed[model] += usage.output_tokens if status == 200 else 0
        self.answers[model] += status == 200
        return Reply(status, (("content-type", "application/json"),), body, trace=call.trace)

    def billed_usd(self, prices: dict[str, tuple[float, float]]) -> float:
        """What the provider puts on the bill, at prices in dollars a million tokens, in and out."""
        return sum(
            (50 * self.answers[model] * price[0] + self.billed[model] * price[1]) / 1e6
            for model, price in prices.items()
        )

    @property
    def calls(self) -> dict[str, int]:
        """Requests by model."""
        return dict(self._counts)


def variant(side: str, **more: Any) -> Variant:
    """A task that asks one of the two models for "yes" or "no"."""
    task = {"model": MODELS[side], "prompt": "Row {n}: {text}", "labels": LABELS, "expected": "right"} | more.pop(
        "task", {}
    )
    return Variant(name=side, task=Task(**task), settings=more.pop("settings", {}), run=RunTable(**more))


def rows(count: int) -> list[dict[str, str]]:
    """Rows whose right answer is the text's last word."""
    return [{"n": str(i), "text": f"it is {LABELS[i % 2]}", "right": LABELS[i % 2]} for i in range(count)]


def engines(world: Any, **settings: Any) -> Callable[[Variant], Engine]:
    """An engine on the world for each variant."""

    def make(one: Variant) -> Engine:
        common = {"base_url": "http://world/v1", "api_key": "k", "log": "off", "log_level": "off", "seed": 1}
        return Engine(handler=world, **{**common, "attempts_max": 1, **settings, **one.settings})

    return make


def compared(
    world: Any, a: Variant, b: Variant, given: Sequence[Any], *, engine: dict[str, Any] | None = None, **how: Any
) -> Comparison:
    """A comparison on virtual time."""
    settings = CompareSettings(**{"concurrency": 4, **how})
    return virtual_run(lambda: compare(a, b, given, settings=settings, engines=engines(world, **(engine or {}))))
