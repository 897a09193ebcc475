"""Whether a step, by waiting, would wait for itself: through handles, or for a place that its own callers hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.pipeline.current import Frame
    from headway.pipeline.limit import Limit
    from headway.pipeline.node import Node
    from headway.pipeline.source import Source

__all__ = ["check_cycle", "check_line", "waiting_for_any"]


def check_cycle(source: Source, node: Node) -> None:
    """Look whether what `node` is about to wait for waits, directly or through others, for `node`.

    Raises:
        ConfigError: It does; the sentence names the steps in their order.
    """
    if not (node.limits or node.spec.kept or node.is_waited_for):
        return  # nobody waits for it: a thousand steps, each of which awaits the one before, are no thousand searches
    path = _firm(source, node)
    if path is not None:
        raise _refusal(node, [node, *path])


@contextmanager
def waiting_for_any(sources: Collection[Source], frame: Frame | None) -> Iterator[None]:
    """Around a wait for whichever of them is the first.

    Raises:
        ConfigError: All of them wait for the step that waits.
    """
    node = frame.node if frame is not None else None
    if node is None or node.index < 0:
        yield
        return
    node.any_of.append(sources)
    try:
        path: list[Source] | None = None
        for source in sources:
            path = _firm(source, node)
            if path is None:
                break
        if path is not None:
            raise _refusal(node, [node, *path])
        yield
    finally:
        node.any_of.remove(sources)


def check_line(limit: Limit, node: Node) -> None:
    """Look whether all who hold the places that `node` stands in line for wait for it to end.

    Raises:
        ConfigError: They do.
    """
    path: list[Source] | None = None
    for holder in limit.holders:
        if not (holder.awaits or holder.any_of):
            return
        path = _firm(holder, node)
        if path is None:
            return
    if path is not None:
        raise _refusal(node, [node, *path])


def _firm(start: Source, goal: Source) -> list[Source] | None:
    """A path from the one to the other on which nothing else can make anyone go on; None: there is none."""
    path = _path(start, goal)
    for at in path or ():
        others = at.held_up_by()
        if others and any(_path(other, goal) is None for other in others):
            return None
    return path


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
