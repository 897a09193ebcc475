"""Map-reduce from end to end: the tree in time, streams, the cache, and what the result says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from tests.pipeline.mapreduce.reader import Reader, engine, numbered, plain

import headway
from headway.errors import BudgetExceeded, ConfigError, ProviderError
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run
from headway.types import Result, Tags
from headway.types.scope import SCOPE, Scope

PROMPTS: dict[str, Any] = {
    "map": "map {part}: {text}", "reduce": "reduce: {summaries}", "whole": "whole: {text}",
}  # fmt: skip
SMALL: dict[str, Any] = {
    "model": "gpt-5.4-mini", "chunk_tokens_max": 64, "merge_tokens_max": 150, "part_words": 20, **PROMPTS,
}  # fmt: skip
"""Chunks of one paragraph of `numbered`, merged by threes."""


def run(text: Any, reader: Reader, settings: dict[str, Any] | None = None, **more: Any) -> headway.MapReduced:
    async def go() -> headway.MapReduced:
        async with engine(reader, **settings or {}) as one:
            return await headway.mapreduce(text, engine=one, **{**SMALL, **more})

    return virtual_run(go)


def test_a_text_that_fits_is_one_call() -> None:
    reader = Reader()
    result = run("Here is part0.", reader)
    assert [prompt.partition(":")[0] for prompt in reader.asked] == ["whole"]
    assert result.text == plain("part0")
    assert (result.calls, result.levels, len(result.chunks), result.merges) == (1, 0, 1, ())


def test_a_long_text_is_read_in_chunks_and_merged_in_order() -> None:
    reader = Reader()
    result = run(numbered(9), reader)
    assert len(reader.of("map")) == len(result.chunks) == 9
    assert result.text.startswith("Read part0 part1 part2")
    assert result.levels == 2
    last = reader.asked[-1]
    assert re.findall(r"\[(parts? [\d-]+)\]", last) == ["parts 1-3", "parts 4-6", "parts 7-9"]
    assert result.calls == result.attempts == len(reader.asked) == 9 + len(result.merges) == 13
    assert result.dollars is not None
    assert result.dollars > 0
    assert result.output_tokens > 0


def test_a_group_is_merged_as_soon_as_its_own_members_are_there() -> None:
    """One slow chunk holds up its own group and the last merge, nothing else."""
    reader = Reader(takes_s=lambda prompt: 50.0 if prompt.startswith("map 5") else 1.0)
    result = run(numbered(9), reader)
    began = {re.search(r"\[part (\d)\]", prompt)[1]: reader.began[prompt] for prompt in reader.of("reduce")[:-1]}  # type: ignore[index]
    assert (began["1"], began["7"]) == (1.0, 1.0)
    assert began["4"] == 50.0
    assert result.elapsed_s == 52.0
    assert result.map_s == 50.0


def test_the_longest_way_goes_first_and_no_more_than_allowed_is_under_way() -> None:
    """With one call at a time: chunks that tell how long answers are, those at the bottom, their merges, the others."""
    reader = Reader()
    result = run(numbered(20), reader, concurrency=1)
    assert reader.most == 1
    order = [prompt.split(":")[0] for prompt in reader.asked]
    assert order[:8] == [f"map {part}" for part in (1, 4, 6, 9, 12, 15, 17, 20)]
    assert order[18:26] == ["reduce"] * 6 + ["map 7", "map 14"]
    assert [(7, 7) in merge.inputs for merge in result.merges if merge.level == 2] == [False, True, False]
    reader = Reader()
    run(numbered(20), reader, concurrency=3)
    assert reader.most == 3


def test_the_tree_is_the_same_whatever_comes_first() -> None:
    """So that a run that is resumed finds its merges in the cache."""
    asked = []
    for slow in (lambda _: 1.0, lambda prompt: 0.1 + (hash(prompt[:7]) % 17), lambda prompt: 9.0 - len(prompt) % 8):
        reader = Reader(takes_s=slow)
        run(numbered(23), reader, concurrency=5)
        asked.append(sorted(reader.asked))
    assert asked[0] == asked[1] == asked[2]


def test_a_second_run_is_answered_by_the_cache() -> None:
    reader = Reader()

    async def go() -> tuple[headway.MapReduced, headway.MapReduced]:
        async with engine(reader, cache=True) as one:
            first = await headway.mapreduce(numbered(12), engine=one, **SMALL)
            return first, await headway.mapreduce(numbered(12), engine=one, **SMALL)

    first, second = virtual_run(go)
    assert second.text == first.text
    assert (second.attempts, second.hits) == (0, second.calls)
    assert second.dollars == 0
    assert len(reader.asked) == first.calls


def test_answers_longer_than_asked_for_are_merged_in_more_steps_and_asked_for_less() -> None:
    """A model that heeds no bound: the tree is deeper, every prompt still fits, and it comes to an end."""
    reader = Reader(says=lambda prompt: "It goes on and on. " * 200)
    result = run(numbered(20), reader, words=20)
    for prompt in reader.of("reduce"):
        assert len(prompt) // 4 <= 150 + 12
    assert result.levels > 3
    assert all(merge.cut for merge in result.merges[:-1])


def test_an_answer_cut_at_its_bound_is_asked_for_again_with_twice_the_room() -> None:
    reader = Reader(cut_below=2_000)
    result = run(numbered(4), reader, part_words=20)
    assert len(reader.of("map")) == 8
    assert set(reader.bounds) == {1_080, 2_160, 1_864, 3_728}
    assert not any(chunk.cut for chunk in result.chunks)


def test_an_answer_that_is_cut_twice_is_kept_and_marked() -> None:
    result = run(numbered(4), Reader(cut_below=1_000_000), window_tokens=8_000)
    assert all(chunk.cut and chunk.summary for chunk in result.chunks)
    assert result.cut


def test_braces_in_documents_mean_nothing() -> None:
    reader = Reader(says=lambda _: "said {text} and {words}")
    text = "\n\n".join(f"Here is {{text}} and {{{{ {n}. " + "Filler is here. " * 12 for n in range(5))
    result = run(text, reader, values={"question": "{why}"}, map="map {question}: {text}")
    assert any(prompt.startswith("map {why}: Here is {text} and {{ 0.") for prompt in reader.of("map"))
    assert "said {text} and {words}" in reader.asked[-1]
    assert result.text == "said {text} and {words}"


def test_pieces_may_be_given_and_spans_are_those_of_their_sum() -> None:
    pieces = numbered(6).split("\n\n")
    result = run(pieces, Reader())
    text = "\n\n".join(pieces)
    assert [text[chunk.start : chunk.end].strip() for chunk in result.chunks] == [piece.strip() for piece in pieces]


def test_two_models_share_the_work() -> None:
    reader = Reader()
    run(numbered(4), reader, reduce_model="gpt-5.4")
    models = [json.loads(call.body)["model"] for call in reader.calls]
    assert models == ["gpt-5.4-mini"] * 4 + ["gpt-5.4"] * 2


# -- the answer's sources ------------------------------------------------------------------------------------------


def test_sentences_of_the_answer_lead_to_sentences_of_the_text() -> None:
    """Through two merges, with where they stand."""

    def says(prompt: str) -> str:
        found = re.findall(r"Number \d+ was a \w+\.", prompt)
        return " ".join(found[:2])

    trades = ["baker", "weaver", "carver", "sailor", "miller", "tailor", "potter", "joiner", "glazier"]
    text = "\n\n".join(f"Number {n} was a {trade}. " + "Nothing else is known. " * 9 for n, trade in enumerate(trades))
    result = run(text, Reader(says))
    assert result.levels == 2
    assert [source.sentence for source in result.sources] == ["Number 0 was a baker.", "Number 1 was a weaver."]
    for source, (n, trade) in zip(result.sources, enumerate(trades), strict=False):
        assert source.text == text[source.start : source.end] == f"Number {n} was a {trade}."
        assert source.chunk == n + 1
        assert source.score == 1.0


def test_refine_asks_once_more_beside_the_sources_and_keeps_the_draft() -> None:
    def says(prompt: str) -> str:
        if prompt.startswith("better"):
            return "Better: Here is part0."
        return " ".join(re.findall(r"Here is part[03]\.", prompt)) or "Nothing."

    reader = Reader(says)
    result = run(numbered(5), reader, refine="better {summary} | {sources} | {words}")
    assert reader.asked[-1] == "better Here is part0. Here is part3. | - Here is part0.\n- Here is part3. | 300"
    assert (result.text, result.draft) == ("Better: Here is part0.", "Here is part0. Here is part3.")


def test_a_refinement_that_fails_leaves_the_draft() -> None:
    result = run(numbered(5), Reader(lambda prompt: 400 if prompt.startswith("better") else plain(prompt)),
                 refine="better {summary} {sources}")  # fmt: skip
    assert result.text == result.draft != ""


# -- streams -------------------------------------------------------------------------------------------------------


def streamed(text: str, reader: Reader, stop: int = 10_000, **more: Any) -> tuple[list[tuple[float, str]], Any]:
    async def go() -> tuple[list[tuple[float, str]], Any]:
        async with engine(reader) as one:
            reduction = headway.mapreduce(text, engine=one, **{**SMALL, **more})
            pieces, loop = reduction.pieces(), asyncio.get_running_loop()
            found = []
            async for piece in pieces:
                found.append((loop.time(), piece))
                if len(found) == stop:
                    await pieces.aclose()
                    return found, None
            return found, reduction.result

    return virtual_run(go)


@pytest.mark.parametrize("refine", [False, "refine {summary} {sources}"])
@pytest.mark.parametrize("parts", [1, 9])
def test_the_last_answer_streams(parts: int, refine: bool | str) -> None:
    pieces, result = streamed(numbered(parts), Reader(), refine=refine)
    assert len(pieces) >= 3
    assert pieces[-1][0] > pieces[0][0]
    assert "".join(piece for _, piece in pieces) == result.text
    assert result.calls == 1 + (9 + 3 if parts == 9 else 0) + bool(refine)
    assert (result.dollars or 0) > 0
    assert bool(result.merges) == (parts == 9)


def test_a_stream_that_is_left_ends_the_call() -> None:
    reader = Reader()
    found, _ = streamed(numbered(9), reader, stop=1)
    assert len(found) == 1
    assert reader.aborted == 1


def test_cancelling_ends_every_call() -> None:
    reader = Reader(takes_s=lambda _: 100.0)

    async def go() -> None:
        async with engine(reader) as one:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await headway.mapreduce(numbered(9), engine=one, **SMALL)
            await asyncio.sleep(0.1)
            assert reader.aborted == 9
            assert len(asyncio.all_tasks()) == 1

    virtual_run(go)


def test_it_runs_once_and_has_no_result_before() -> None:
    async def go() -> None:
        async with engine(Reader()) as one:
            reduction = headway.mapreduce("A text.", engine=one, **SMALL)
            with pytest.raises(ConfigError, match="not through"):
                _ = reduction.result
            await reduction
            assert reduction.result.text
            with pytest.raises(ConfigError, match="has run"):
                await reduction

    virtual_run(go)


# -- its surroundings ----------------------------------------------------------------------------------------------


def test_calls_say_what_they_are_for_and_merges_go_first() -> None:
    reader = Reader()
    run(numbered(4), reader, tags=Tags(run="r1"))
    assert [call.tags.step for call in reader.calls] == ["map"] * 4 + ["reduce"] * 2
    assert {call.tags.run for call in reader.calls} == {"r1"}
    assert [call.priority for call in reader.calls] == [0] * 4 + [1] * 2


def test_inside_of_a_step_calls_belong_to_the_step_and_the_current_engine_sends_them() -> None:
    reader, ended = Reader(), []

    async def go() -> None:
        async with engine(reader) as one:
            with headway.using(one):
                token = SCOPE.set(Scope(Tags(run="r", step="digest#2", parent="article"), ended=ended.append))
                await headway.mapreduce(numbered(4), **SMALL)
                SCOPE.reset(token)

    virtual_run(go)
    assert {(call.tags.run, call.tags.step) for call in reader.calls} == {("r", "digest#2")}
    assert len(ended) == 6


def test_a_step_may_be_a_map_reduce_that_streams() -> None:
    """Its pieces are the step's chunks, its calls the step's calls."""
    reader = Reader()

    @headway.step
    async def digest(text: str) -> AsyncIterator[str]:
        async for piece in headway.mapreduce(text, **SMALL):
            yield piece

    @headway.pipeline
    async def report(text: str) -> Any:
        return digest(text)

    async def go() -> tuple[list[str], Any]:
        async with engine(reader) as one, report.run(numbered(9), engine=one) as run:
            return [chunk async for chunk in run.stream()], run.rows()

    chunks, rows = virtual_run(go)
    assert len(chunks) > 3
    assert "".join(chunks) == plain(" ".join(f"part{n}" for n in range(9)))
    row = next(row for row in rows if row.step == "digest")
    assert row.calls == len(reader.calls) == 13
    assert {call.tags.step for call in reader.calls} == {"digest#0"}


def test_chunks_may_be_read_by_a_batch_at_half_the_price() -> None:
    """The mapper of docs/map-reduce.md."""
    simulator = Simulator(SimSettings(seed=1))

    async def by_batch(task: headway.Task, rows: list[dict[str, Any]]) -> AsyncGenerator[Result, None]:
        for result in await headway.run_async(
            rows, task, lane="batch", cache=False, api_key="sk-test", handler=simulator.handler
        ):
            yield result

    async def go() -> list[headway.MapReduced]:
        how = {"model": "gpt-5.4-mini", "chunk_tokens_max": 64, "part_words": 20}
        async with engine(simulator.handler) as one:
            return [await headway.mapreduce(numbered(9), engine=one, mapper=who, **how) for who in (None, by_batch)]

    online, batch = virtual_run(go)
    assert [chunk.summary for chunk in batch.chunks] == [chunk.summary for chunk in online.chunks]
    assert (batch.text, batch.gaps) == (online.text, ())
    assert batch.dollars is not None
    assert online.dollars is not None
    assert batch.dollars < 0.75 * online.dollars


def test_it_is_no_text_yet() -> None:
    with pytest.raises(TypeError, match="await it"):
        str(headway.mapreduce("A text.", model="gpt-5.4-mini"))


def test_progress_counts_up_to_the_end() -> None:
    seen: list[Any] = []
    run(numbered(9), Reader(), progress=seen.append)
    assert [one.mapped for one in seen if one.phase == "map"] == list(range(1, 10))
    assert (seen[-1].phase, seen[-1].merged, seen[-1].merges, seen[-1].failed) == ("done", 4, 4, 0)


def test_chunks_may_be_read_elsewhere() -> None:
    """In any order; what is missing is a gap, and a row that is given twice counts once."""
    reader = Reader()

    async def mapper(task: Any, rows: Any) -> Any:
        for index in reversed(range(len(rows))):
            if index != 2:
                text = f"Elsewhere {index}: {json.loads(task.body(rows[index]))['input'][:6]}"
                yield Result(index=index, row=rows[index], text=text, attempts=1, dollars=0.001)
        yield Result(index=0, row=rows[0], text="twice", attempts=1)

    result = run(numbered(5), reader, mapper=mapper)
    assert not reader.of("map")
    assert "Elsewhere 0: map 1:" in result.chunks[0].summary
    assert [(gap.first, gap.reason) for gap in result.gaps] == [(3, "the mapper gave nothing for it")]


def test_a_budget_that_is_spent_ends_it_with_its_own_error() -> None:
    with pytest.raises(BudgetExceeded):
        run(numbered(9), Reader(), settings={"budget_usd": 0.0001})


def test_a_wrong_key_is_not_tried_chunk_after_chunk() -> None:
    reader = Reader(lambda _: 401)
    with pytest.raises(ProviderError, match="answered 401"):
        run(numbered(30), reader, concurrency=2)
    assert len(reader.asked) <= 4


def test_the_result_can_be_written_as_json() -> None:
    data = run(numbered(9), Reader()).data()
    assert data["levels"] == 2
    assert json.loads(json.dumps(data))["chunks"][0]["id"] == 1


def test_a_priority_may_be_a_word_as_the_engines() -> None:
    """It was a TypeError when the first merge was to have one more."""
    reader = Reader()
    run(numbered(9), reader, priority="high")
    assert {call.priority for call in reader.calls} == {1, 2}


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (Result(index=5, row={}, outcome="ok", text="x"), "the mapper gave the index 5 for 5 rows; give a headway.Res"),
        (Result(index=-1, row={}, outcome="ok", text="x"), "the mapper gave the index -1 for 5 rows"),
        ("x", "the mapper gave a str for 5 rows; give a headway.Result for each"),
    ],
)
def test_a_mapper_that_gives_something_else_is_told(gives: Any, says: str) -> None:
    """It was an IndexError out of the middle of the tree."""

    async def mapper(task: Any, rows: Any) -> Any:
        yield gives

    with pytest.raises(ConfigError, match=says):
        run(numbered(5), Reader(), mapper=mapper)
