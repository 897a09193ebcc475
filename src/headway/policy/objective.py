"""Speed, quality, cost: name two, the third yields. And latency classes, which a caller may name in a model's place.

A class says how fast an answer should be; a minimum quality overrides it. What an objective wants is a factor on each
upstream's score (`policy.balance`): price counts as its ratio to the cheapest, quality doubles the score for each
point below the best, and time counts unless it yields. Source: MISSION row M21 (the triangle, the classes and the
0-10 scale are the material's); that a point of quality is worth twice the time or the price is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "CLASSES",
    "FLEX_WAIT_S",
    "Alias",
    "alias_of",
    "candidates",
    "counts_time",
    "factors",
    "read_objective",
    "yields",
]

LatencyClass: TypeAlias = Literal["ultra_fast", "fast", "balanced", "quality"]

CLASSES: tuple[LatencyClass, ...] = ("ultra_fast", "fast", "balanced", "quality")
"""Fastest first."""
_DIMENSIONS = ("speed", "quality", "cost")
FLEX_WAIT_S = 900.0
"""A caller that can wait this long can use the flex tier. Source: FACTS section 2 (its 15-minute time-out)."""


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a model's place: a class ("" where content rules are to choose one), and a minimum quality."""

    tier: str
    quality_min: float = 0.0


def alias_of(model: str) -> Alias | None:
    """Read "fast", "quality", "auto", or one with a minimum quality behind it ("fast:7"); None for any other model."""
    name, colon, least = model.partition(":")
    if name != "auto" and name not in CLASSES:
        return None
    tier = "" if name == "auto" else name
    if not colon:
        return Alias(tier=tier)
    try:
        quality_min = float(least)
    except ValueError:
        return None
    return Alias(tier=tier, quality_min=quality_min) if 0.0 <= quality_min <= 10.0 else None


def read_objective(text: str) -> frozenset[str] | None:
    """Read "speed+cost" into a set; the empty one for ""; None where it is not two different dimensions."""
    if not text:
        return frozenset()
    named = [part.strip() for part in text.split("+")]
    good = len(named) == 2 and named[0] != named[1] and all(part in _DIMENSIONS for part in named)
    return frozenset(named) if good else None


def yields(objective: frozenset[str]) -> str:
    """The dimension that is given up for the two named; "" where none are."""
    return next((name for name in _DIMENSIONS if name not in objective), "") if objective else ""


def counts_time(objective: frozenset[str]) -> bool:
    """Whether an answer's time matters to the choice."""
    return yields(objective) != "speed"


def candidates(tiers: Sequence[str], qualities: Sequence[float], alias: Alias) -> list[int]:
    """Which of the upstreams may answer: good enough, and of the class that is nearest to the one asked for.

    Args:
        tiers: The class of each; one without a class answers only where no class is asked for.
        qualities: Of each, 0-10.
        alias: What was asked for. Where no upstream of the class is good enough, slower classes come first.

    Returns:
        Indices; empty where none is good enough.
    """
    good = [index for index, quality in enumerate(qualities) if quality >= alias.quality_min]
    if not alias.tier:
        return good
    wanted = CLASSES.index(alias.tier)
    for tier in (*CLASSES[wanted:], *reversed(CLASSES[:wanted])):
        found = [index for index in good if tiers[index] == tier]
        if found:
            return found
    return []


def factors(objective: frozenset[str], qualities: Sequence[float], dollars: Sequence[float | None]) -> list[float]:
    """What each upstream's score is multiplied by; all 1.0 without an objective.

    Args:
        objective: From `read_objective`.
        qualities: Of each, 0-10.
        dollars: What the call would cost at each; a price that is unknown leaves price out of it.
    """
    weights = [1.0] * len(qualities)
    if "quality" in objective:
        best = max(qualities)
        weights = [2.0 ** (best - quality) for quality in qualities]
    if "cost" in objective:
        known = [price for price in dollars if price is not None]
        least = min(known, default=0.0)
        if len(known) == len(weights) and least > 0.0:
            weights = [weight * price / least for weight, price in zip(weights, known, strict=True)]
        elif len(known) == len(weights):
            weights = [weight * (1.0 if price == 0.0 else 1e6) for weight, price in zip(weights, known, strict=True)]
    return weights
