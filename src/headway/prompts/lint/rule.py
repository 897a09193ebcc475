"""What a rule is, and what one hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headway.prompts.lint.findings import Change, Edit, Tier
from headway.prompts.lint.source import Source

__all__ = ["Hit", "Rule"]


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as its rule sees it: the place in a text or a setting, and what is known of the saving."""

    message: str
    key: str = ""
    """A text's key, or a setting's."""
    start: int = 0
    end: int = 0
    fix: Edit | None = None
    change: Change | None = None
    tier: Tier | None = None
    """Where it is another one than the rule's."""
    input_tokens: float | None = None
    """Input tokens saved per call; None: what the fix takes away, or unknown without one."""
    output_tokens: float = 0.0
    """Output tokens saved per call."""
    cached_tokens: float = 0.0
    """Input tokens per call that would be read from the provider's cache, instead of paid in full."""
    ms: float | None = None
    """Milliseconds saved per call, where it is not what the tokens take."""
    dollars: float | None = None
    """Dollars saved per call, where it is not what the tokens cost."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault."""

    id: str
    name: str
    tier: Tier
    title: str
    """What it finds, in a few words."""
    reason: str
    """Why it matters, and where that is known from."""
    find: Callable[[Source], Iterator[Hit]]
    needs: str = ""
    """What it looks at besides the text: "a task", "a log", "rows"."""
