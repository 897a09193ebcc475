"""What a run is made of: steps that depend on each other, what befalls each, and how the program treats the run."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

__all__ = ["Drawn", "Leave", "StepPlan", "drawn"]

Kind = Literal["async", "stream", "plain", "ask", "tell", "json", "parent"]
Fate = Literal["well", "raises", "raises_late", "hangs", "swallows", "cancels", "yields_nothing"]
Use = Literal["keep", "await", "taste", "forget", "drop", "field", "items"]
Leave = Literal["", "cancelled", "chunks", "raises", "early"]

KINDS: tuple[Kind, ...] = ("async", "stream", "plain", "ask", "tell", "json", "parent")
FATES: tuple[Fate, ...] = ("raises", "raises_late", "hangs", "swallows", "cancels", "yields_nothing")


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a step. Times in seconds of virtual time."""

    number: int
    kind: Kind
    """ask, tell: calls of a model, whole and streamed; json: one that streams JSON; parent: it calls steps itself."""
    needs: tuple[int, ...]
    live: bool
    """Reads the first of them as a stream."""
    fate: Fate
    at_try: int
    """The try from which on all is well."""
    delay_s: float
    use: Use
    """What the program does with the handle: keep it for other steps, await it and catch nothing, read one chunk and
    leave, forget it, both of these (so that nobody can want it any more: no step needs it), or give its field or its
    elements to the steps that need it."""
    options: dict[str, Any]


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    seed: int
    steps: tuple[StepPlan, ...]
    fan: int
    """So many calls of one more step, over the first one's handle."""
    fan_limit: int | None
    end: Literal["last", "all", "value", "raises", "nothing"]
    """What the pipeline's function gives."""
    read: Literal["result", "stream", "rows", "await"]
    leave: Leave
    """How the program leaves: it is cancelled, it stops reading, its block raises, it never asks for the result."""
    leave_at_s: float
    deadline_s: float | None
    budget_usd: float | None
    degrade: tuple[float, float] | None
    """Below which shares smaller models are asked, and optional steps left out; None: nothing is declared."""
    faulty: float
    """The share of calls that the provider does not answer well."""


def drawn(seed: int) -> Drawn:
    """The run of a seed."""
    dice = Random(seed)
    steps: list[StepPlan] = []
    for number in range(dice.randint(1, 12)):
        steps.append(_step(dice, number, [one.number for one in steps if one.use != "drop"]))
    return Drawn(
        seed=seed,
        steps=tuple(steps),
        fan=dice.choice((0, 0, 0, 3, 12)),
        fan_limit=dice.choice((None, 1, 4)),
        end=dice.choice(("last", "last", "all", "value", "raises", "nothing")),
        read=dice.choice(("result", "stream", "stream", "rows", "await")),
        leave=dice.choice(("", "", "", "cancelled", "chunks", "raises", "early")),
        leave_at_s=dice.choice((0.0, dice.uniform(0, 4), dice.uniform(0, 40))),
        deadline_s=dice.choice((None, None, dice.uniform(0.1, 20))),
        budget_usd=dice.choice((None, None, None, 10 ** dice.uniform(-6, -3))),
        degrade=dice.choice((None, None, (0.5, 0.2), (1.0, 1.0))),
        faulty=dice.choice((0.0, 0.1, 0.5)),
    )


def _step(dice: Random, number: int, before: list[int]) -> StepPlan:
    kind: Kind = dice.choice(KINDS)
    options: dict[str, Any] = {}
    if dice.random() < 0.2:
        options["optional"] = True
    if dice.random() < 0.15:
        options["default"] = "instead"
    if dice.random() < 0.2:
        options["timeout_s"] = dice.uniform(0.05, 5)
    if dice.random() < 0.2:
        options["retries"] = dice.randint(1, 2)
    if dice.random() < 0.2:
        options["smaller"] = {"gpt-4o": "gpt-4o-mini"}
    if dice.random() < 0.2:
        options["concurrency"] = dice.randint(1, 3)
    needs = tuple(sorted(dice.sample(before, min(len(before), dice.choice((0, 1, 1, 2, 3))))))
    return StepPlan(
        number=number,
        kind=kind,
        needs=needs,
        live=bool(needs) and dice.random() < 0.4,
        fate=dice.choice(FATES) if dice.random() < 0.15 else "well",
        at_try=dice.choice((2, 9)),
        delay_s=dice.choice((0.0, dice.uniform(0, 3))),
        use=dice.choice(("keep", "keep", "keep", "await", "taste", "forget", "drop", "field", "items")),
        options=options,
    )
