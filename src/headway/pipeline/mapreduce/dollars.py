"""Sums of money of which a part may be unknown."""

from __future__ import annotations

__all__ = ["plus"]


def plus(one: float | None, other: float | None) -> float | None:
    """The sum of two amounts, in dollars; None, unknown, where one of them is."""
    return None if one is None or other is None else one + other
