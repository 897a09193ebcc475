"""What a plan promises: at most so much, whatever the answers are like."""

from __future__ import annotations

import json
from typing import Any

import pytest

import headway
from headway.pipeline.documents.plan import Plan, plan_of
from headway.testing import virtual_run
from tests.pipeline.mapreduce.reader import Reader, engine, numbered


class Talkative(Reader):
    """Every answer is as long as its bound."""

    async def __call__(self, call: Any) -> Any:
        room = json.loads(call.body)["max_output_tokens"]
        self._says = lambda _: "word" * room
        return await super().__call__(call)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        {"words": 100, "chunk_tokens_max": 1_000, "merge_tokens_max": 4_000},
        {"chunk_tokens_max": 1_000},
        {"words": 50, "chunk_tokens_max": 100_000},
    ],
)
def test_at_most_is_a_bound(sizes: dict[str, Any], cut: bool, refine: bool) -> None:
    """It was passed fourfold where answers are cut and asked again, and by merges of answers that are all long."""

    async def go() -> tuple[Plan, headway.MapReduced]:
        reader = Talkative(takes_s=lambda _: 0.1, cut_below=10**6 if cut else 0)
        async with engine(reader) as one:
            asked = headway.mapreduce(numbered(60, 400), model="gpt-5.4-mini", engine=one, refine=refine, **sizes)
            return await plan_of(asked, one, reduce_model="gpt-5.4-mini", refine=refine), await asked

    plan, result = virtual_run(go)
    assert plan.dollars is not None
    assert result.dollars is not None
    assert plan.dollars_max is not None
    assert plan.dollars < result.dollars <= plan.dollars_max


def test_a_price_that_is_unknown_makes_the_sum_unknown() -> None:
    """Half a bill is none."""
    whole = Plan(dollars=1.0, dollars_max=2.0)
    whole.add(Plan(dollars=None, dollars_max=None, chunks=3, guessed=1))
    assert (whole.dollars, whole.dollars_max, whole.chunks, whole.guessed) == (None, None, 3, 1)
