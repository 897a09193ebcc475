"""Which of several upstreams: the better of two drawn from the best, by the time they are expected to take.

    expected = TTFT + output tokens * time per token              learned from answers
    score    = expected * max(1, overdue) * (1 + pending / 32)    overdue: how late the calls under way are

Sources: power of two choices (Mitzenmacher, "The power of two choices in randomized load balancing", 2001); peak-EWMA
with `ewma * (pending + 1)` and a cost that decays while an upstream is idle (Finagle's `PeakEwma`). Ours:

- the two parts of a language model's latency;
- 32 calls under way, not one, weigh as much as being twice as slow: a provider serves thousands at once;
- a peak that one answer may at most double: one in thirty being ten times late is ordinary here;
- `overdue`: a call takes seconds, and an upstream that turned slow must be seen before its first slow answer is whole;
- the draw is among those within 1.25 times of the best score, so that a region that is clearly slower gets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from random import Random

import msgspec

__all__ = ["AFFINITY_MAX", "Load", "Ticket", "pick"]

TAU_S = 10.0
"""How fast old answers are forgotten. Source: Finagle's default decay time."""
AFFINITY_MAX = 1.5
"""How much more than the best an upstream may cost that has the prompt's prefix cached. Source: FACTS section 4."""
PENDING_DOUBLES = 32
NEAR = 1.25
TOKENS_ASSUMED = 128.0
_TOKEN_S_ASSUMED = 0.01
_COST_S_MIN, _COST_S_MAX = 1e-4, 600.0


class Ticket(msgspec.Struct, frozen=True):
    """One call under way: when it was given out, and how long it was expected to take."""

    started_at_s: float
    expected_s: float


class Load:
    """What is known of one upstream's speed for one model, and what is under way there."""

    __slots__ = ("_expected_s", "_failing", "_seen_at_s", "_started_s", "_tokens", "pending", "token_s", "ttft_s")

    def __init__(self) -> None:
        self.ttft_s: float | None = None
        """None until the first answer."""
        self.token_s = 0.0
        self.pending = 0
        self._tokens = TOKENS_ASSUMED
        self._failing = 0.0
        self._seen_at_s = 0.0
        # Sums over the calls under way, so that their mean lateness costs no loop.
        self._started_s = 0.0
        self._expected_s = 0.0

    def expected_s(self, tokens_max: int | None, now_s: float) -> float | None:
        """Seconds that an answer of at most `tokens_max` tokens should take; None while nobody knows.

        Idle upstreams look better as time passes: that is how a slow one is tried again.
        """
        if self.ttft_s is None:
            return None
        cost_s = (self.ttft_s + self.tokens(tokens_max) * self.token_s) / (1.0 - self._failing)
        if not self.pending:
            cost_s *= exp(-max(0.0, now_s - self._seen_at_s - TAU_S) / TAU_S)
        return cost_s

    def tokens(self, tokens_max: int | None) -> float:
        """Output tokens that are to be expected of an answer that may have `tokens_max`."""
        return self._tokens if tokens_max is None else min(self._tokens, tokens_max)

    def score(self, expected_s: float, now_s: float, waiting: int = 0) -> float:
        """What another call here would cost, in seconds weighted by what is under way.

        Args:
            expected_s: From `expected_s`, or what stands in for it where nothing is known; > 0.
            now_s: The loop's clock.
            waiting: How many of the calls under way only wait for their turn within the limits.
        """
        pending = self.pending - waiting if self.pending > waiting else 0
        if not pending:
            return expected_s
        overdue = (self.pending * now_s - self._started_s) / self._expected_s if self._expected_s > 0.0 else 1.0
        return expected_s * max(1.0, overdue) * (1.0 + pending / PENDING_DOUBLES)

    def begin(self, expected_s: float, now_s: float) -> Ticket:
        """A call is given to it."""
        self.pending += 1
        self._started_s += now_s
        self._expected_s += expected_s
        return Ticket(now_s, expected_s)

    def end(self, ticket: Ticket) -> None:
        """That call is over, whatever came of it."""
        self.pending -= 1
        if self.pending:
            self._started_s -= ticket.started_at_s
            self._expected_s -= ticket.expected_s
        else:
            self._started_s = self._expected_s = 0.0  # no rounding errors are kept

    def streamed(self, ttft_s: float, rest_s: float, tokens: int, now_s: float) -> None:
        """Learn from a stream: time to its first content, the time from there to its end, and its output tokens."""
        token_s = rest_s / (tokens - 1) if tokens > 1 else None
        self._learn(ttft_s, token_s, now_s)
        self._tokens += 0.1 * (tokens - self._tokens)

    def whole(self, total_s: float, tokens: int, now_s: float) -> None:
        """Learn from an answer that came in one piece.

        What part of it was the first token cannot be seen: what is known is scaled, and at first a token is taken
        for 10 ms, at most half of it all.
        """
        self._tokens += 0.1 * (tokens - self._tokens)
        if self.ttft_s is None:
            token_s = min(_TOKEN_S_ASSUMED, total_s / (2 * max(tokens, 1)))
            self._learn(total_s - tokens * token_s, token_s, now_s)
            return
        known_s = self.ttft_s + tokens * self.token_s
        factor = total_s / known_s
        self._learn(self.ttft_s * factor, self.token_s * factor, now_s)

    def at_least(self, elapsed_s: float, now_s: float) -> None:
        """Learn from a call that was given up after `elapsed_s` without its first content: it would have taken more."""
        if self.ttft_s is not None and elapsed_s > self.ttft_s:
            self._learn(elapsed_s, None, now_s)

    def failed(self, now_s: float) -> None:
        """A failure may come fast, but is no answer: where a share f of them fail, one takes 1 / (1 - f) tries."""
        self._failing += 0.2 * (1.0 - self._failing)
        self._seen_at_s = now_s

    def _learn(self, ttft_s: float, token_s: float | None, now_s: float) -> None:
        if self.ttft_s is None:
            self.ttft_s, self.token_s = max(ttft_s, _COST_S_MIN), token_s or 0.0
        else:
            keep = exp(-max(0.0, now_s - self._seen_at_s) / TAU_S)
            keep = min(keep, 0.9)  # many answers at once are many answers
            self.ttft_s = min(max(_peak(self.ttft_s, ttft_s, keep), _COST_S_MIN), _COST_S_MAX)
            if token_s is not None:
                self.token_s = _peak(self.token_s, token_s, keep) if self.token_s else token_s
        self._seen_at_s = now_s
        self._failing *= 0.9


def pick(scores: Sequence[float], rng: Random, *, affine: int | None = None) -> int:
    """The index of the upstream to take.

    Args:
        scores: Of each, from `Load.score`; at least one.
        rng: Dice; drawn from only where two or more are near the best.
        affine: The one that has the prompt's prefix cached, if any: kept up to `AFFINITY_MAX` times the best score.
    """
    best = min(scores)
    if affine is not None and scores[affine] <= AFFINITY_MAX * best:
        return affine
    near = [index for index, score in enumerate(scores) if score <= NEAR * best]
    if len(near) == 1:
        return near[0]
    first, second = rng.sample(near, 2)
    return first if scores[first] <= scores[second] else second


def _peak(known_s: float, sample_s: float, keep: float) -> float:
    """Up at once, but at most to the double; down by and by."""
    if sample_s > known_s:
        return min(sample_s, 2.0 * known_s)
    return keep * known_s + (1.0 - keep) * sample_s
