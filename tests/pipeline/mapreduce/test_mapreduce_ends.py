"""It ends for every text, whatever the model makes of it: against the simulator, and against models that misbehave."""

from __future__ import annotations

import asyncio
import threading
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.pipeline.mapreduce.reader import Reader, engine

import headway
from headway.errors import InputError, ProviderError
from headway.pipeline.mapreduce.aside import aside
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
WORDS = ["word", "A sentence.", "\n\n", "漢字かな", FAMILY, "{braces}", "```\ncode\n```\n", "x" * 200, "\t", "«é»"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=400).map(" ".join) | st.text(max_size=600)


def asked(text: str, handler: Any, **more: Any) -> headway.MapReduced | None:
    """The result; None for a text that is refused as empty or no Unicode."""

    async def go() -> headway.MapReduced:
        async with engine(handler) as one:
            return await headway.mapreduce(text, model="gpt-5.4-mini", engine=one, **more)

    try:
        return virtual_run(go)
    except InputError:
        return None


def check(text: str, result: headway.MapReduced) -> None:
    """Every character is in one chunk; the last merge covers all; each merge merges neighbours, two at least."""
    assert "".join(text[chunk.start : chunk.end] for chunk in result.chunks) == text
    assert result.text.strip()
    if len(result.chunks) > 1:
        assert (result.merges[-1].first, result.merges[-1].last) == (1, len(result.chunks))
    for merge in result.merges:
        assert merge.inputs[0][0] == merge.first
        assert merge.inputs[-1][1] == merge.last
        assert all(a[1] < b[0] for a, b in zip(merge.inputs, merge.inputs[1:], strict=False))
    for source in result.sources:
        assert text[source.start : source.end] == source.text


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.integers(40, 400), st.integers(100, 400))
@example("word", 40, 100)
@example("", 40, 100)
@example("\ud800", 40, 100)
def test_it_ends_for_every_text(text: str, chunk: int, merge: int) -> None:
    handler = Simulator(SimSettings(seed=1)).handler
    result = asked(text, handler, chunk_tokens_max=chunk, merge_tokens_max=merge, part_words=20, words=30)
    assert (result is None) == (not text.strip() or "\ud800" in text)
    if result is not None:
        check(text, result)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.sampled_from(["mark", "drop", "fail"]), st.integers(1, 70))
def test_it_ends_whatever_the_model_answers(seed: int, parts: int, policy: str, concurrency: int) -> None:
    """Answers of any length, empty ones, refusals and server errors, by dice of the prompt."""

    def says(prompt: str) -> str | int:
        dice = Random(f"{seed}{prompt}")
        if dice.random() < 0.1:
            return dice.choice([400, 500])
        return " ".join(["said"] * int(2 ** (dice.random() * 11) - 1))

    text = "\n\n".join(f"Paragraph {n} is here. " * 9 for n in range(parts))
    handler = Reader(says, takes_s=lambda prompt: Random(f"{seed}{prompt[:20]}").expovariate(1.0))
    try:
        result = asked(
            text, handler, chunk_tokens_max=60, merge_tokens_max=200, part_words=20, on_chunk_error=policy,
            concurrency=concurrency,
        )  # fmt: skip
    except ProviderError:
        return
    assert result is not None
    check(text, result)
    lost = {part for gap in result.gaps for part in range(gap.first, gap.last + 1)}
    assert {chunk.id for chunk in result.chunks if chunk.error} <= lost
    assert ("[Missing: " in result.text) == (policy == "mark" and bool(lost))
    assert policy != "fail" or not lost
    assert handler.under_way == 0


@pytest.mark.parametrize(
    "text",
    ["a" * 5_000_000, "word " * 1_000_000, "漢字かな" * 300_000, FAMILY * 280_000, "Line.\n\n" * 500_000],
    ids=["no spaces", "words", "CJK", "emoji", "lines"],
)
def test_five_megabytes_end(text: str) -> None:
    """In some hundred calls, with few of them under way."""
    reader = Reader(lambda _: "It is a long text. It says little.")
    result = asked(text, reader, window_tokens=32_000, concurrency=16)
    assert result is not None
    assert len(result.chunks) > 50
    assert reader.most == 16
    assert (result.chunks[0].start, result.chunks[-1].end) == (0, len(text))


def test_long_texts_are_split_beside_the_loop_and_short_ones_on_it() -> None:
    """So that a program's other calls go on; under virtual time everything stays on the loop."""

    async def go() -> list[bool]:
        return [await aside(threading.get_ident, chars) == threading.get_ident() for chars in (1_000, 1_000_000)]

    assert asyncio.run(go()) == [True, False]
    assert virtual_run(go) == [True, True]
