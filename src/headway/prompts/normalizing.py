"""What may be done to a column's text for the cache key, so that near-identical rows share an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from headway.errors import ConfigError

__all__ = ["NORMALIZERS", "normalizers"]

NORMALIZERS: Final[Mapping[str, Callable[[str], str]]] = {
    "trim": str.strip,
    "casefold": str.casefold,
    "collapse_space": lambda text: " ".join(text.split()),
}
"""What may be done to a column for the cache key; the request itself keeps the row's text."""


def normalizers(
    steps_of: Mapping[str, Sequence[str]], columns: tuple[str, ...], where: str
) -> dict[str, Callable[[str], str]]:
    """One function per column, out of its steps in order."""
    found = {}
    for column, steps in steps_of.items():
        if column not in columns:
            raise ConfigError(f"{where}: normalize.{column} is not a column of the prompt; it has {', '.join(columns)}")
        for step in steps:
            if step not in NORMALIZERS:
                raise ConfigError(f"{where}: normalize.{column} has {step!r}; the steps are {', '.join(NORMALIZERS)}")
        found[column] = _in_turn([NORMALIZERS[step] for step in steps])
    return found


def _in_turn(steps: Sequence[Callable[[str], str]]) -> Callable[[str], str]:
    def change(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return change
