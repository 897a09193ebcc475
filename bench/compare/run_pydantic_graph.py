"""pydantic-graph's builder: a step each; what comes together is joined."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from graphs import STEPS, UNEVEN, measure
from pydantic_graph import GraphBuilder, StepContext, reduce_list_append


def step(builder: Any, name: str, seconds: float) -> Any:
    """One of them."""

    async def call(_: StepContext[None, None, Any]) -> str:
        if seconds:
            await asyncio.sleep(seconds)
        return name

    return builder.step(call, node_id=name)


def built(builder: Any) -> Any:
    """Ready to run."""
    graph = builder.build()
    return lambda: graph.run(inputs=1)


def chain() -> Any:
    """One after the other."""
    builder = GraphBuilder(input_type=int, output_type=str)
    steps = [step(builder, f"n{n}", 0.0) for n in range(STEPS)]
    builder.add(builder.edge_from(builder.start_node).to(steps[0]))
    for before, after in pairwise(steps):
        builder.add(builder.edge_from(before).to(after))
    builder.add(builder.edge_from(steps[-1]).to(builder.end_node))
    return built(builder)


def fan() -> Any:
    """Side by side, joined."""
    builder = GraphBuilder(input_type=int, output_type=list)
    steps = [step(builder, f"n{n}", 0.0) for n in range(STEPS)]
    join = builder.join(reduce_list_append, initial_factory=list)
    builder.add(
        builder.edge_from(builder.start_node).to(*steps),
        builder.edge_from(*steps).to(join),
        builder.edge_from(join).to(builder.end_node),
    )
    return built(builder)


def uneven() -> Any:
    """Two branches of unequal depth."""
    builder = GraphBuilder(input_type=int, output_type=list)
    a, b, slow = (step(builder, name, UNEVEN[name][0]) for name in ("a", "b", "slow"))
    join = builder.join(reduce_list_append, initial_factory=list)
    builder.add(
        builder.edge_from(builder.start_node).to(a, slow),
        builder.edge_from(a).to(b),
        builder.edge_from(b, slow).to(join),
        builder.edge_from(join).to(builder.end_node),
    )
    return built(builder)


if __name__ == "__main__":
    measure(chain(), fan(), uneven())
