"""How a step's task is cancelled: asked, asked again, and left behind if it does not end."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from headway.pipeline.failures import timed_out, unended

if TYPE_CHECKING:
    from headway.pipeline.node import Cause, Node

__all__ = ["cancel_task"]

PATIENCE_S: Final = 5.0
"""How long a run waits for a step that it has cancelled, before it asks again; a fifth of that later it gives up."""


def cancel_task(node: Node, cause: Cause) -> None:
    """Cancel it, and again if it has swallowed that: it may be amid a call of a model by then."""
    node.cause = cause
    if node.task is not None:
        node.task.cancel()
    node.disarm()
    node.timer = node.run.loop.call_later(PATIENCE_S, _insist, node)


def _insist(node: Node) -> None:
    if node.task is not None:
        node.task.cancel()
    node.timer = node.run.loop.call_later(PATIENCE_S / 5, _give_up, node)


def _give_up(node: Node) -> None:
    """Go on without it."""
    if node.cause == "timeout":
        node.give_in(timed_out(node))
    elif node.cause == "child" and isinstance(node.failure, Exception):
        node.give_in(node.failure)
    elif node.cause == "child" and node.failure is not None:
        node.end("failed", node.failure)
    else:
        node.end_cancelled()
    warnings.warn(unended(node, 1.2 * PATIENCE_S), RuntimeWarning, stacklevel=2)
