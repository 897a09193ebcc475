"""What is said of a step that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.errors import DeadlineExceeded, HeadwayError

if TYPE_CHECKING:
    from headway.pipeline.node import Node

__all__ = ["holds", "locate", "note", "stray", "timed_out", "unended"]

NOTES_MAX = 5
"""What an error is told of at most: one that is raised again and again, or that a thousand others came with, stays
readable."""


def locate(node: Node, error: BaseException) -> None:
    """Say in the error itself where it happened, by its innermost place."""
    here = f"(run {node.run.id})"
    if not any(said.endswith(here) for said in getattr(error, "__notes__", ())):
        note(error, f"in {node.told()}", newest=True)


def note(error: BaseException, text: str, *, newest: bool = False) -> None:
    """Add a note to it if there is room; `newest` makes room."""
    notes: list[str] = getattr(error, "__notes__", [])
    if len(notes) >= NOTES_MAX and newest:
        del notes[0]
    if len(notes) < NOTES_MAX:
        error.add_note(text)


def holds(group: BaseExceptionGroup[BaseException], error: BaseException) -> bool:
    """Whether that error is among those of the group."""
    return group.subgroup(lambda one: one is error) is not None


def timed_out(node: Node) -> DeadlineExceeded:
    """A step took longer than it may."""
    return DeadlineExceeded(
        f"{node.told()} took longer than its timeout of {node.spec.options.timeout_s:g} s; raise timeout_s=, or give "
        "it a default="
    )


def stray(node: Node) -> HeadwayError:
    """A step was cancelled by nobody that we know of."""
    return HeadwayError(
        f"{node.told()} ended as cancelled, but nobody had cancelled it: its function raised CancelledError or "
        "cancelled its own task; raise another error there"
    )


def unended(node: Node, patience_s: float) -> str:
    """A step does not end."""
    return (
        f"{node.told()} was cancelled twice and did not end within {patience_s:g} s, so the run goes on without it; "
        "let CancelledError out of its function"
    )
