"""Whether a step, by waiting, would wait for itself: through handles, or for a place that its own callers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.pipeline.limit import Limit
    from headway.pipeline.node import Node
    from headway.pipeline.source import Source

__all__ = ["check_cycle", "check_line"]


def check_cycle(source: Source, node: Node) -> None:
    """Look whether what `node` is about to wait for waits, directly or through others, for `node`.

    Raises:
        ConfigError: It does; the sentence names the steps in their order.
    """
    path = _path(source, node)
    if path is None:
        return
    for at in path:
        holders = at.held_up_by()
        if holders and any(_path(holder, node) is None for holder in holders):
            return  # another one's end will give it its place
    raise _refusal(node, [node, *path])


def check_line(limit: Limit, node: Node) -> None:
    """Look whether all who hold the places that `node` stands in line for wait for it to end.

    Raises:
        ConfigError: They do.
    """
    path: list[Source] | None = None
    for holder in limit.holders:
        if not holder.awaits:
            return
        path = _path(holder, node)
        if path is None:
            return
    if path is not None:
        raise _refusal(node, [node, *path])


def _path(start: Source, goal: Source) -> list[Source] | None:
    """From the one to the other along what each waits for; None: it does not lead there."""
    came_from: dict[int, Source | None] = {id(start): None}
    stack = [start]
    while stack:
        at = stack.pop()
        if at is goal:
            path = [at]
            while (before := came_from[id(path[-1])]) is not None:
                path.append(before)
            return path[::-1]
        if not at.done:
            for other in (*at.waits_for(), *at.held_up_by()):
                if id(other) not in came_from:
                    came_from[id(other)] = at
                    stack.append(other)
    return None


def _refusal(node: Node, path: list[Source]) -> ConfigError:
    names = " -> ".join(one.name for one in path)
    return ConfigError(
        f"{node.told()} waits for itself: {names}; a step cannot await what needs it, or stand in line behind itself "
        "(concurrency=)"
    )
