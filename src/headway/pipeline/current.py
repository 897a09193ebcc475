"""Which run, and which of its steps, the code that runs now belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.pipeline.crew import Crew
    from headway.pipeline.node import Node
    from headway.pipeline.run import Run
    from headway.pipeline.source import Source

__all__ = ["AHEAD", "FRAME", "Frame", "current_run"]


class Frame:
    """One function of a run while it runs: the pipeline's own, or a step's.

    Tasks that it starts share it, so that what they call and await counts as its own.
    """

    __slots__ = ("__weakref__", "node", "run", "seen", "seen_at_s")

    def __init__(self, run: Crew, node: Node) -> None:
        self.run = run
        self.node: Node | None = node
        """None when the run is over."""
        self.seen: Source | None = None
        """What it awaited last: calls it makes from here on were made because that was there."""
        self.seen_at_s = 0.0

    def saw(self, source: Source, at_s: float) -> None:
        """It has got something of that source, which was there at that time of the loop's clock."""
        self.seen = source
        self.seen_at_s = at_s


FRAME: ContextVar[Frame | None] = ContextVar("headway_frame", default=None)

AHEAD: ContextVar[str] = ContextVar("headway_ahead", default="")
"""The step that runs here because it is fetched ahead, by name; "" elsewhere. No run begins there."""


def current_run() -> Run[Any] | None:
    """The run that the running code belongs to; None outside of pipelines, and when that run is over."""
    frame = FRAME.get()
    return None if frame is None else frame.run.public
