"""What summarizing would come to, without a call: chunks, levels, calls, dollars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from headway.engine import Engine
from headway.jobs.purse import BATCH_RATIO
from headway.pipeline.mapreduce import MapReduction
from headway.pipeline.mapreduce.dollars import plus
from headway.pipeline.mapreduce.plan import Plan as Asked
from headway.pipeline.mapreduce.sizes import LABEL_TOKENS, TOKENS_A_WORD
from headway.policy.tree import Node, merge_tree
from headway.wire.prices import Prices, Rates
from headway.wire.tokens import estimate_tokens

__all__ = ["Plan", "plan_of"]

_SOURCES: Final = 2
"""Sentences of the text that are shown for one of the answer, at the most."""


class Plan(msgspec.Struct, kw_only=True):
    """One document's, or the sum of several."""

    documents: int = 0
    unreadable: int = 0
    done: int = 0
    """Documents that an earlier run finished; nothing else here counts them."""
    chunks: int = 0
    levels: int = 0
    """Merges between a chunk and the summary, of the document with the most."""
    calls: int = 0
    kept: int = 0
    """Of those, first calls whose answers are in the cache."""
    input_tokens: int = 0
    """Likely, of what is to be sent."""
    output_tokens: int = 0
    dollars: float | None = 0.0
    """Likely: answers about as long as they are asked for. None: a model's price is unknown."""
    dollars_max: float | None = 0.0
    """With every answer cut at its bound and asked for once more with twice the room, and so long that merges take two
    at a time; prompts being as long as they were counted."""
    guessed: int = 0
    """Documents that are no UTF-8, so that their encoding is a guess."""

    def add(self, other: Plan) -> None:
        """Add another document."""
        for name in ("documents", "unreadable", "done", "chunks", "calls", "kept", "guessed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.levels = max(self.levels, other.levels)
        self.dollars = plus(self.dollars, other.dollars)
        self.dollars_max = plus(self.dollars_max, other.dollars_max)

    def expect(self, rates: Rates | None, input_tokens: int, output_tokens: int, ratio: float = 1.0) -> None:
        """Add a call that is likely: its tokens, and what they cost at `ratio` of the listed price."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        if rates is None:
            self.dollars = None
        else:
            cost = rates.request + input_tokens * rates.base.input + output_tokens * rates.base.output
            self.dollars = plus(self.dollars, ratio * cost)

    def bound(self, rates: Rates | None, input_tokens: int, most: int, *, again: bool, ratio: float = 1.0) -> None:
        """Add what a call may cost; and with `again` what it may once more, at once, where its answer was cut."""
        if rates is None:
            self.dollars_max = None
        else:
            once = ratio * rates.worst_case(input_tokens, most)
            self.dollars_max = plus(self.dollars_max, once + again * rates.worst_case(input_tokens, 2 * most))


async def plan_of(
    reduction: MapReduction, engine: Engine, *, reduce_model: str, refine: bool = False, batch: bool = False
) -> Plan:
    """The plan of one document. Answers that the cache holds cost nothing.

    Merges are counted as if none were kept; for what is likely, as if all summaries were as long as asked for.

    Args:
        reduction: The document's map-reduce; it is not run.
        engine: Whose cache and provider.
        reduce_model: Who merges.
        refine: Whether the answer is written once more.
        batch: The first calls go by batches, at half the price.
    """
    task, rows = reduction.first()
    asked, sizes, prices, origin = reduction.plan, reduction.sizes, Prices(), engine.settings.base_url
    rates, merging = prices.rates(task.model, origin), prices.rates(reduce_model, origin)
    kind, words = ("whole", sizes.words) if asked.whole else ("map", sizes.part_words)
    most = task.max_output_tokens or sizes.part_tokens_max
    ratio = BATCH_RATIO if batch else 1.0
    plan = Plan(documents=1, chunks=len(rows))
    for row in rows:
        body = task.body(row)
        if engine.settings.cache != "off" and await engine.cached(task.path, body) is not None:
            plan.calls, plan.kept = plan.calls + 1, plan.kept + 1
            continue
        tokens, counted = estimate_tokens(len(body)), asked.prompt_tokens(kind, row)
        plan.expect(rates, tokens, min(most, int(words * TOKENS_A_WORD)), ratio)
        plan.bound(rates, max(tokens, counted), most, again=counted + 2 * most <= asked.window_tokens, ratio=ratio)
    if not asked.whole:
        _merging(plan, merging, asked, len(rows))
    if refine:
        answer, fixed = sizes.answer_tokens_max, asked.prompt_tokens("refine", {})
        likely = min(answer, int(sizes.words * TOKENS_A_WORD))
        plan.expect(merging, fixed + min(sizes.merge_room, likely * (1 + _SOURCES)), likely)
        plan.bound(merging, fixed + max(sizes.merge_room, 2 * answer), answer, again=True)
    return plan


def _merging(plan: Plan, rates: Rates | None, asked: Asked, parts: int) -> None:
    """Add the merges.

    At the most there are as many as parts, less one, of two each: every merge makes one of two or more, and what is
    merged in larger groups is asked about less often.
    """
    sizes, fixed, tree = asked.sizes, asked.prompt_tokens("reduce", {}), merge_tree(parts, asked.sizes.fan_in)
    plan.levels = _levels(tree)
    summary = int(sizes.part_words * TOKENS_A_WORD) + LABEL_TOKENS
    for members, last in _merges(tree):
        words, bound = (sizes.words, sizes.answer_tokens_max) if last else (sizes.part_words, sizes.part_tokens_max)
        held = min(sizes.merge_room, members * summary)
        plan.expect(rates, fixed + held, min(bound, int(words * TOKENS_A_WORD)))
    longest = min(sizes.summary_room, 2 * sizes.part_tokens_max) + LABEL_TOKENS
    for number in range(max(1, parts - 1)):
        bound = sizes.part_tokens_max if number else sizes.answer_tokens_max
        plan.bound(rates, fixed + 2 * longest, bound, again=fixed + 2 * bound <= asked.window_tokens)


def _merges(tree: Node) -> Iterator[tuple[int, bool]]:
    """How many members each merge has, and whether it is the last one."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if not isinstance(node, int):
            yield len(node.children), node is tree
            stack += node.children


def _levels(node: Node) -> int:
    """Merges between the lowest part and the root."""
    return 0 if isinstance(node, int) else 1 + max(_levels(child) for child in node.children)
