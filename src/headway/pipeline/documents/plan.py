"""What summarizing would come to, without a call: chunks, levels, calls, dollars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from headway.engine import Engine
from headway.pipeline.mapreduce import MapReduction
from headway.policy.tree import Node, merge_tree
from headway.wire.prices import Prices, Rates
from headway.wire.tokens import estimate_tokens

__all__ = ["Plan", "plan_of"]

_PROMPT_TOKENS: Final = 250
"""Of a merge's prompt without what is merged. An estimate: ours has some 180."""
_TOKENS_A_WORD: Final = 1.4
_BATCH_RATIO: Final = 0.5


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
    """With every answer at its bound."""

    def add(self, other: Plan) -> None:
        """Add another document."""
        for name in ("documents", "unreadable", "done", "chunks", "calls", "kept", "input_tokens", "output_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.levels = max(self.levels, other.levels)
        self.dollars = None if self.dollars is None or other.dollars is None else self.dollars + other.dollars
        known = self.dollars_max is not None and other.dollars_max is not None
        self.dollars_max = (self.dollars_max or 0.0) + (other.dollars_max or 0.0) if known else None

    def spend(self, rates: Rates | None, input_tokens: int, likely: int, most: int, ratio: float = 1.0) -> None:
        """Add a call: its tokens, and what they cost at `ratio` of the listed price."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += min(likely, most)
        if rates is None:
            self.dollars = self.dollars_max = None
        elif self.dollars is not None and self.dollars_max is not None:
            self.dollars += ratio * (
                rates.request + input_tokens * rates.base.input + min(likely, most) * rates.base.output
            )
            self.dollars_max += ratio * rates.worst_case(input_tokens, most)


async def plan_of(
    reduction: MapReduction, engine: Engine, *, reduce_model: str, refine: bool = False, batch: bool = False
) -> Plan:
    """The plan of one document. Answers that the cache holds cost nothing.

    Merges are counted as if none were kept, and as if all summaries were as long as they are asked for.

    Args:
        reduction: The document's map-reduce; it is not run.
        engine: Whose cache and provider.
        reduce_model: Who merges.
        refine: Whether the answer is written once more.
        batch: The first calls go by batches, at half the price.
    """
    task, rows = reduction.first()
    sizes, prices, origin = reduction.sizes, Prices(), engine.settings.base_url
    first, merging = prices.rates(task.model, origin), prices.rates(reduce_model, origin)
    most = task.max_output_tokens or sizes.part_tokens_max
    words = sizes.words if len(rows) == 1 else sizes.part_words
    plan = Plan(documents=1, chunks=len(rows))
    for row in rows:
        body = task.body(row)
        if engine.settings.cache != "off" and await engine.cached(task.path, body) is not None:
            plan.calls, plan.kept = plan.calls + 1, plan.kept + 1
            continue
        likely = int(words * _TOKENS_A_WORD)
        plan.spend(first, estimate_tokens(len(body)), likely, most, _BATCH_RATIO if batch else 1.0)
    if len(rows) > 1:
        tree = merge_tree(len(rows), sizes.fan_in)
        plan.levels = _levels(tree)
        for members, last in _merges(tree):
            likely = int((sizes.words if last else sizes.part_words) * _TOKENS_A_WORD)
            bound = sizes.answer_tokens_max if last else sizes.part_tokens_max
            held = min(sizes.merge_room, int(members * sizes.part_words * _TOKENS_A_WORD))
            plan.spend(merging, _PROMPT_TOKENS + held, likely, bound)
    if refine:
        likely = int(sizes.words * _TOKENS_A_WORD)
        plan.spend(merging, _PROMPT_TOKENS + sizes.merge_room, likely, sizes.answer_tokens_max)
    return plan


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
