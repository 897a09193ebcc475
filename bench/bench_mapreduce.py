"""Map-reduce of a whole book against a loop, and against a collapse that waits for each level; and what is claimed.

    python bench/bench_mapreduce.py [--table]

In virtual time against the simulator; the text is William Morris, "News from Nowhere" (423 kB, public domain). Chunks
of 2,000 tokens, merges of 3,000 (LangChain's own `token_max`), all else as it is by default.

*Level by level* is what LangChain's collapse does (`split_list_of_docs`, then a merge of each group, until all fit):
neighbours are packed greedily by the size of their summaries, and no level begins before the one below has ended. Here
its merges of a level are made side by side, as many as the tree may make; LangChain's own makes them one after the
other, which is shown beside it. Both have the same chunks, prompts, bounds, engine and simulator.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import headway
from common import emit, own_state, shared
from headway import Engine, Tags
from headway.pipeline.mapreduce.asking import Answered, Caller
from headway.pipeline.mapreduce.sizes import LABEL_TOKENS
from headway.sim import SimSettings, Simulator, run_virtual

SEEDS = 20
BOOK: dict[str, Any] = {"words": 400, "chunk_tokens_max": 2_000, "merge_tokens_max": 3_000}
SHORT_CHARS = 40_000


def measured(seed: int, ask: Callable[[Engine], Awaitable[tuple[float, int]]]) -> tuple[float, int, float]:
    """Seconds, calls and dollars of the provider's own account."""
    simulator = Simulator(SimSettings(seed=seed))

    async def go() -> tuple[float, int]:
        async with Engine(handler=simulator.handler, api_key="sk-sim", log="off", log_level="off") as engine:
            return await ask(engine)

    took_s, calls = run_virtual(go)
    return took_s, calls, simulator.ledger.totals.dollars


def tree(text: str, model: str, concurrency: int, **how: Any) -> Callable[[Engine], Awaitable[tuple[float, int]]]:
    """Headway's."""

    async def ask(engine: Engine) -> tuple[float, int]:
        result = await headway.mapreduce(text, model=model, engine=engine, concurrency=concurrency, **how)
        return result.elapsed_s, result.calls

    return ask


def levels(
    text: str, model: str, concurrency: int, *, one_by_one: bool = False, **how: Any
) -> Callable[[Engine], Awaitable[tuple[float, int]]]:
    """LangChain's collapse; `one_by_one`: with the merges of a level in sequence, as it makes them."""

    async def ask(engine: Engine) -> tuple[float, int]:
        plan = headway.mapreduce(text, model=model, engine=engine, **how).plan
        sizes, parts = plan.sizes, len(plan.spans)
        caller = Caller(engine, plan, tags=Tags(), priority=0)
        slots = asyncio.Semaphore(concurrency)
        began_s = asyncio.get_running_loop().time()

        async def one(kind: str, row: dict[str, Any], bound: int) -> Answered:
            async with slots:
                return await caller.ask(kind, row, bound)

        def merged(answers: list[Answered], words: int, bound: int) -> Awaitable[Answered]:
            shown = "\n\n".join(f"[part {n}]\n{answer.text}" for n, answer in enumerate(answers, 1))
            return one("reduce", plan.asks.row(summaries=shown, words=words, parts=parts), bound)

        told = await asyncio.gather(*(one("map", plan.row(part), sizes.part_tokens_max) for part in range(parts)))
        while sum(answer.tokens + LABEL_TOKENS for answer in told) > sizes.merge_room:
            work = [merged(group, sizes.part_words, sizes.part_tokens_max) for group in packed(told, sizes.merge_room)]
            told = [await job for job in work] if one_by_one else await asyncio.gather(*work)
        await merged(told, sizes.words, sizes.answer_tokens_max)
        return asyncio.get_running_loop().time() - began_s, caller.tally.calls

    return ask


def packed(answers: list[Answered], room: int) -> list[list[Answered]]:
    """Neighbours, greedily."""
    groups: list[list[Answered]] = [[]]
    held = 0
    for answer in answers:
        size = answer.tokens + LABEL_TOKENS
        if groups[-1] and held + size > room:
            groups.append([])
            held = 0
        groups[-1].append(answer)
        held += size
    return groups


def against_levels(book: str, lines: list[tuple[str, str, str]]) -> None:
    """The tree and the collapse, pairwise by seed; the first setting is the figure, the others are for comparison."""
    cases = (("gpt-5.4-mini", 64, SEEDS), ("gpt-5.4-mini", 16, 5), ("gpt-4.1-mini", 64, 5), ("gpt-4.1-mini", 16, 5))
    for number, (model, concurrency, seeds) in enumerate(cases):
        ours = [measured(seed, tree(book, model, concurrency, **BOOK)) for seed in range(seeds)]
        theirs = [measured(seed, levels(book, model, concurrency, **BOOK)) for seed in range(seeds)]
        alone = measured(0, levels(book, model, concurrency, one_by_one=True, **BOOK))
        ratio = median(other[0] / own[0] for own, other in zip(ours, theirs, strict=True))
        emit(
            f"map-reduce: {model}, {concurrency} at once: faster than a collapse level by level",
            ">= 1.1x, median of 20 seeds" if number == 0 else "for comparison",
            round(ratio, 3),
            reached=ratio >= 1.1 if number == 0 else None,
            seeds=seeds,
            tree_s=round(median(one[0] for one in ours), 2),
            levels_s=round(median(one[0] for one in theirs), 2),
            levels_one_by_one_s=round(alone[0], 2),
            calls=[ours[0][1], theirs[0][1]],
            dollars=[round(ours[0][2], 4), round(theirs[0][2], 4)],
        )
        if number == 0:
            lines.append(("faster than level by level, 2k chunks", ">= 1.1x", f"{ratio:.2f}x"))


def against_a_loop(book: str, lines: list[tuple[str, str, str]]) -> None:
    """One call after the other; the book, and its beginning as a report of twenty pages."""
    for name, text, asked in (("the book", book, ">= 10x"), ("20 pages", book[:SHORT_CHARS], "1.58x; 2.5x aimed at")):
        loop = measured(0, tree(text, "gpt-5.4-mini", 1, **BOOK))
        ours = measured(0, tree(text, "gpt-5.4-mini", 64, **BOOK))
        ratio = loop[0] / ours[0]
        emit(
            f"map-reduce: {name} in 2,000-token chunks: faster than one call after the other",
            asked,
            round(ratio, 2),
            reached=ratio >= (10 if text is book else 2.5),
            loop_s=round(loop[0], 2),
            tree_s=round(ours[0], 2),
            calls=ours[1],
        )
        lines.append((f"{name}: faster than in sequence", asked, f"{ratio:.2f}x ({loop[0]:.1f} -> {ours[0]:.1f} s)"))


def under_five_seconds(book: str, lines: list[tuple[str, str, str]]) -> None:
    """The whole book, merged as widely as by default; and in one call, where its window takes it."""
    wide = {**BOOK, "merge_tokens_max": None}
    for number, model in enumerate(("gpt-4.1-mini", "gpt-5.4-mini")):
        runs = [measured(seed, tree(book, model, 64, **wide)) for seed in range(5)]
        whole = measured(0, tree(book, model, 64, words=400))
        took_s = median(one[0] for one in runs)
        emit(
            f"map-reduce: the book (106k tokens) by {model}, 64 at once",
            "< 5 s" if number == 0 else "for comparison",
            round(took_s, 2),
            reached=took_s < 5 if number == 0 else None,
            one_call_s=round(whole[0], 2),
            dollars=[round(runs[0][2], 4), round(whole[2], 4)],
        )
        lines.append((f"the book, {model}", "< 5 s", f"{took_s:.2f} s (in one call {whole[0]:.2f} s)"))


def main() -> None:
    """All figures, and with --table what is claimed beside what was measured."""
    own_state()
    book = shared("news_from_nowhere.txt").read_text("utf-8")
    lines: list[tuple[str, str, str]] = []
    against_a_loop(book, lines)
    against_levels(book, lines)
    under_five_seconds(book, lines)
    if "--table" in sys.argv:
        print(f"\n{'':46} {'claimed':>22}   measured")
        for name, claimed, found in lines:
            print(f"{name:46} {claimed:>22}   {found}")


if __name__ == "__main__":
    main()
