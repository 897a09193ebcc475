"""How long an answer may become: a bound that follows what the answers to a task really take.

A provider charges max(max_tokens, its estimate of the prompt) against the tokens a minute before it knows the answer,
so a bound that is far above the answers is a rate that is not used. The bound moves to the 99th percentile of the
output tokens of the last answers, times 1.25; the few answers that it cuts are asked for again, at twice the bound
and then at the task's own, so none of them fails by it.

Source: FACTS section 2 (the pre-charge, and max_tokens near the observed p99 with re-runs of what ends in "length").
"""

from __future__ import annotations

from collections import deque
from math import ceil

__all__ = ["BOUND_MIN", "ROWS_FIRST", "OutputBound"]

BOUND_MIN = 16
"""Tokens. The Responses API refuses fewer. Source: OpenAI API reference, "Create a response"."""

SAMPLES_MIN = 50
SAMPLES_MAX = 512
ROWS_FIRST = 2 * SAMPLES_MIN
"""Rows that are asked before the bound is known: a thousand that wait with the task's own are a thousand too dear."""
QUANTILE = 0.99
MARGIN = 1.25
STEP = 8
"""Bounds are multiples of it: few different ones, so that requests of a task stay alike."""
KEPT_SHARE = 0.9
"""A bound that would fall by less than a tenth stays: that is not worth a change."""
CUTS_MAX = 0.05
"""Share of answers cut by the bound from which it costs more than it brings."""
CUTS_MEMORY = 100
MISLED_MIN, MISLED_MAX = 3, 0.05
"""Stop texts are given up when they spoilt that many answers, and that share of them."""


class OutputBound:
    """The bound of one task's requests, and whether they carry the stop texts that follow from its constraint.

    Args:
        tokens_max: The task's own bound, which is never exceeded; None where it has none.
        stop: Whether there are stop texts to send.
    """

    __slots__ = ("_asked", "_cut_share", "_misled", "_open", "_samples", "_since", "cuts", "stop", "tokens_max")

    def __init__(self, tokens_max: int | None, *, stop: bool = False) -> None:
        self.tokens_max = tokens_max
        self.stop = stop
        """Whether requests carry the stop texts."""
        self.cuts = 0
        """Answers that ended at our bound."""
        self._samples: deque[int] = deque(maxlen=SAMPLES_MAX)
        self._since = 0
        self._asked: int | None = None
        self._cut_share = 0.0
        self._misled = 0
        self._open = True

    @property
    def tokens(self) -> int | None:
        """The bound for the next request, in tokens from 16; None: the task's own."""
        return self._asked

    @property
    def learning(self) -> bool:
        """Whether it is worth waiting for the first answers before many rows are asked."""
        wide = self.tokens_max is None or self.tokens_max >= 4 * BOUND_MIN
        return wide and self._open and len(self._samples) < SAMPLES_MIN

    def answered(self, tokens: int) -> None:
        """An answer came whole (or cut at the task's own bound): `tokens` of output, thinking included."""
        samples = self._samples
        samples.append(max(0, tokens))
        self._cut_share -= self._cut_share / CUTS_MEMORY
        self._since += 1
        longer = self._asked is not None and tokens > self._asked
        if self._open and len(samples) >= SAMPLES_MIN and (longer or self._since >= SAMPLES_MIN // 2):
            self._move()

    def cut(self) -> None:
        """An answer ended at our bound. Too many of them, and it is learned anew, at the task's own bound."""
        self.cuts += 1
        self._cut_share += (1.0 - self._cut_share) / CUTS_MEMORY
        if self._cut_share > CUTS_MAX:
            self._samples.clear()
            self._asked, self._cut_share, self._since = None, 0.0, 0

    def twice(self, tokens: int) -> int | None:
        """What to ask with after a cut at `tokens`; None: with the task's own bound."""
        double = 2 * tokens
        return double if self.tokens_max is None or double < self.tokens_max else None

    def misled(self) -> None:
        """A stop text spoilt an answer: what was asked for stood behind it."""
        self._misled += 1
        if self._misled >= MISLED_MIN and self._misled > MISLED_MAX * len(self._samples):
            self.stop = False

    def refused(self, *, stop: bool) -> None:
        """The provider refuses the stop texts, or else the bound: it is not sent any more."""
        if stop:
            self.stop = False
        else:
            self._open, self._asked = False, None

    def _move(self) -> None:
        self._since = 0
        ordered = sorted(self._samples)
        wanted = MARGIN * ordered[ceil(QUANTILE * len(ordered)) - 1]
        bound = max(BOUND_MIN, STEP * ceil(wanted / STEP))
        if self.tokens_max is not None and bound >= KEPT_SHARE * self.tokens_max:
            self._asked = None
        elif self._asked is None or not KEPT_SHARE * self._asked < bound <= self._asked:
            self._asked = bound
