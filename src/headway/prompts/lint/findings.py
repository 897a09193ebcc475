"""What a rule found: where, why it matters, what it would save, and how far a change to it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

__all__ = ["TIERS", "Change", "Edit", "Finding", "Place", "Tier"]

Tier: TypeAlias = Literal["auto", "suggest", "never"]

TIERS: Final[Mapping[Tier, str]] = MappingProxyType(
    {
        "auto": "safe without asking: `--fix` does it",
        "suggest": "usually right: change it, then verify with rows",
        "never": "told only: the words are the owner's, or the change is one of meaning",
    }
)
"""Source: FACTS section 7 (what is safe automatically, what is to be verified, what is never touched)."""


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of one text become `replacement`."""

    key: str
    """Which text: "system" or "prompt" of a task, "text" of a plain file, "messages.0.content" of a request."""
    start: int
    end: int
    replacement: str = ""
    kept: str = ""
    """Text that stays elsewhere and says the same: the guard lets a duplicate go for its sake."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the task and the value that is proposed for it: for whoever verifies, never for `--fix`."""

    key: str
    """As in the task file: "max_output_tokens", "stop", "output.instruct", ..."""
    value: Any


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where: lines and columns of the file from 1, characters of the text of `key` from 0."""

    file: str
    key: str = ""
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1
    start: int = 0
    end: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault at one place. Estimates are for one call, dollars for a thousand; None where nothing is known."""

    rule: str
    """E.g. "HW101"; stable."""
    name: str
    """E.g. "pretty-json"; stable."""
    message: str
    """One sentence about this place."""
    reason: str
    """Why such a thing matters, with where that is known from."""
    tier: Tier
    where: Place
    quote: str = ""
    """The beginning of the text in question; always "" for a call log, whose prompts are not ours to show."""
    tokens_saved: int | None = None
    """Input and output tokens of one call."""
    output_tokens_saved: int = 0
    """Those of `tokens_saved` that are output."""
    dollars_per_1000: float | None = None
    ms_saved: float | None = None
    fix: Edit | None = None
    """What would mend it, in the text; None where that takes a person."""
    change: Change | None = None
    """What would mend it, among the task's settings."""
