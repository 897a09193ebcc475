"""What a check says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Finding", "Level", "failure", "ok", "skipped", "warning", "worst"]

Level: TypeAlias = Literal["ok", "skipped", "warning", "failure"]
_RANKS: tuple[Level, ...] = ("ok", "skipped", "warning", "failure")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the examination. No part of it ever holds a key."""

    check: str
    """What was looked at: "key", "connection"."""
    level: Level
    """"skipped": it could not be looked at, or was not to be."""
    text: str
    remedy: str = ""
    """What to do about it; "" where nothing is to be done."""
    figures: dict[str, float | int | str] = {}
    """For programs: times in seconds (`_s`), sizes in bytes (`_bytes`)."""


def ok(check: str, text: str, **figures: float | str) -> Finding:
    """All is well."""
    return Finding(check=check, level="ok", text=text, figures=figures)


def warning(check: str, text: str, remedy: str, **figures: float | str) -> Finding:
    """It works, but."""
    return Finding(check=check, level="warning", text=text, remedy=remedy, figures=figures)


def failure(check: str, text: str, remedy: str, **figures: float | str) -> Finding:
    """It does not work."""
    return Finding(check=check, level="failure", text=text, remedy=remedy, figures=figures)


def skipped(check: str, text: str, remedy: str = "") -> Finding:
    """Nobody knows."""
    return Finding(check=check, level="skipped", text=text, remedy=remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst of them; "ok" where there are none."""
    return max((finding.level for finding in findings), key=_RANKS.index, default="ok")
