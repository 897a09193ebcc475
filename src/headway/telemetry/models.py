"""Models' names as labels: few, and those that work before those that somebody made up."""

from __future__ import annotations

from typing import Final

from headway.telemetry.families import LABELS_MAX, OTHER, UNPROVEN_MAX

__all__ = ["Models", "fits"]

NONE: Final = "none"
"""Of a call that names no model."""
CHARS_MAX: Final = 128


def fits(name: str) -> bool:
    """Whether a text that a client wrote may be a label's value."""
    return len(name) <= CHARS_MAX and name.isprintable()


class Models:
    """Decides which names are used."""

    __slots__ = ("_proven", "_unproven")

    def __init__(self) -> None:
        self._proven: set[str] = set()
        self._unproven: set[str] = set()

    def label(self, name: str, *, proven: bool) -> str:
        """The label for a name.

        Args:
            name: As the request has it.
            proven: It was answered: the provider knows that model.
        """
        name = name or NONE
        if not fits(name):
            return OTHER
        if name in self._proven:
            return name
        if proven and len(self._proven) < LABELS_MAX:
            self._proven.add(name)
            self._unproven.discard(name)
            return name
        if name in self._unproven:
            return name
        if not proven and len(self._unproven) < UNPROVEN_MAX:
            self._unproven.add(name)
            return name
        return OTHER
