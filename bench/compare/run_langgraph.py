"""LangGraph: a node each; state is one list that all of them add to."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from graphs import STEPS, UNEVEN, measure
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """What nodes write."""

    done: Annotated[list[str], operator.add]


def graph(nodes: dict[str, tuple[float, tuple[str, ...]]]) -> Any:
    """Compiled; a node waits for all that it needs."""
    builder = StateGraph(State)
    for name, (seconds, _) in nodes.items():

        async def node(_: State, name: str = name, seconds: float = seconds) -> dict[str, list[str]]:
            if seconds:
                await asyncio.sleep(seconds)
            return {"done": [name]}

        builder.add_node(name, node)
    for name, (_, needs) in nodes.items():
        if needs:
            builder.add_edge(list(needs) if len(needs) > 1 else needs[0], name)
        else:
            builder.add_edge(START, name)
    used = {need for _, needs in nodes.values() for need in needs}
    for name in nodes:
        if name not in used:
            builder.add_edge(name, END)
    compiled = builder.compile()
    return lambda: compiled.ainvoke({"done": []}, {"recursion_limit": 10 * STEPS})


if __name__ == "__main__":
    chain = {f"n{n}": (0.0, (f"n{n - 1}",) if n else ()) for n in range(STEPS)}
    measure(graph(chain), graph({f"n{n}": (0.0, ()) for n in range(STEPS)}), graph(UNEVEN))
