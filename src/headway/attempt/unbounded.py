"""How many tokens an answer without a bound is taken for, where a run of a pipeline sets money aside for it.

Such a request has no worst case. To take it for very much would have the calls of a small budget wait for each other
for nothing; to take it for little is to find out afterwards. So: twice the longest of the last answers that the same
step got from the same model. As long as none is known, little for a few, so that a handful of calls goes at once, and
much for the others, so that a large fan-out does not overdraw before the first answers are there.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from headway.attempt.line import OUTPUT_TOKENS_ASSUMED
from headway.types import Call, Trace

__all__ = ["Unbounded"]

LEARNT_MAX: Final = 64
"""Answers that are remembered, of each step and model: the longest of them is about their 98th percentile."""
MARGIN: Final = 2.0
TOKENS_MIN: Final = 256
FIRST_TOKENS: Final = 1024
"""What each of the first ones is taken for."""
FIRST_MAX: Final = 8
"""How many of them may be under way at that."""
KEYS_MAX: Final = 1024


class _Known:
    __slots__ = ("took", "under_way")

    def __init__(self) -> None:
        self.took: deque[int] = deque(maxlen=LEARNT_MAX)
        self.under_way = 0


class Unbounded:
    """See the module. One per engine."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    def begin(self, call: Call) -> int:
        """A try without a bound begins; the tokens to set aside for each of its answers. Its end is heard of."""
        key = call.view.model, call.trace.tags.step.partition("#")[0]
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KEYS_MAX:
                self._known.clear()  # start over rather than grow
            known = self._known[key] = _Known()
        known.under_way += 1
        call.trace.on_end(partial(_ended, known, call.view.answers))
        if known.took:
            return max(TOKENS_MIN, int(MARGIN * max(known.took)))
        return FIRST_TOKENS if known.under_way <= FIRST_MAX else OUTPUT_TOKENS_ASSUMED


def _ended(known: _Known, answers: int, trace: Trace) -> None:
    known.under_way -= 1
    usage = trace.usage
    if trace.outcome == "ok" and usage is not None and not usage.estimated:
        known.took.append(usage.output_tokens // max(1, answers))
