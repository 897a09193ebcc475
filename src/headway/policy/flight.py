"""What a flight does next: start a try, wait, commit to an answer, or fail.

Retries today; hedges and fallbacks are further reasons to start, under the same budget, so that they can never
multiply one another.

The flight (``headway.flight``) reports what happened to each `Try`; `FlightPolicy.decide` looks at them all and returns
one `Decision`. Source of the defaults and of what is retryable: FACTS section 4.
"""

from __future__ import annotations

from math import inf
from random import Random
from typing import Literal

import msgspec

from headway.policy.backoff import Backoff
from headway.policy.budget import RetryBudget
from headway.types import Outcome

__all__ = ["Decision", "FlightPolicy", "RetrySettings", "Try"]


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how fast to try again.

    `attempts_max` counts the tries of one flight that were admitted or failed, >= 1. Refusals for pace (429) cost
    nothing, are answered by waiting, and have a bound of their own, `throttled_max`. `ratio`, `per_s` and `reserve`
    are the upstream's retry budget.
    """

    attempts_max: int = 3
    throttled_max: int = 8
    backoff: Backoff = Backoff()
    ratio: float = 0.1
    per_s: float = 1.0
    reserve: float = 10.0


class Try:
    """One attempt as the policy sees it."""

    __slots__ = ("ended_at_s", "outcome", "retry_after_s", "retryable")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        """None while it runs."""
        self.retryable = False
        self.retry_after_s: float | None = None
        self.ended_at_s = inf

    def end(
        self, outcome: Outcome, now_s: float, *, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        """Say how it went."""
        self.outcome = outcome
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.ended_at_s = now_s


class Decision(msgspec.Struct, frozen=True):
    """What to do now.

    start: begin a try (`why` says which kind). wait: until a running try ends, or until `at_s`, then ask again.
    commit: the try at `index` is the answer. fail: the failure of the try at `index` is the answer.
    """

    do: Literal["start", "wait", "commit", "fail"]
    why: Literal["", "first", "retry", "hedge", "fallback"] = ""
    at_s: float = inf
    index: int = -1


_FIRST = Decision("start", "first")
_WAIT = Decision("wait")


class FlightPolicy:
    """The one owner of retries for a flight.

    Args:
        settings: Bounds and back-off.
        budget: Shared by all flights to one upstream.
        attempts_max: The call's own bound; the smaller one holds.
    """

    __slots__ = ("_attempts_max", "_budget", "_retry_at_s", "_settings")

    def __init__(self, settings: RetrySettings, budget: RetryBudget, attempts_max: int) -> None:
        self._settings = settings
        self._budget = budget
        self._attempts_max = min(attempts_max, settings.attempts_max)
        self._retry_at_s: float | None = None

    def decide(self, tries: list[Try], deadline_at_s: float, now_s: float, rng: Random) -> Decision:
        """The next step, given every try so far."""
        if not tries:
            return _FIRST
        last = tries[-1]
        index = len(tries) - 1
        if last.outcome is None:
            return _WAIT
        if last.outcome == "ok":
            self._budget.succeeded()
            return Decision("commit", index=index)
        if not last.retryable or self._used_up(tries):
            return Decision("fail", index=index)
        if self._retry_at_s is None:
            delay_s = self._settings.backoff.delay_s(len(tries), rng, retry_after_s=last.retry_after_s)
            at_s = last.ended_at_s + delay_s
            # A throttle is the provider's pace, not its failure: pacing spends it, the retry budget need not.
            if at_s >= deadline_at_s or (last.outcome != "throttled" and not self._budget.take(now_s)):
                return Decision("fail", index=index)
            self._retry_at_s = at_s
        if now_s < self._retry_at_s:
            return Decision("wait", at_s=self._retry_at_s)
        self._retry_at_s = None
        return Decision("start", "retry")

    def _used_up(self, tries: list[Try]) -> bool:
        throttled = sum(t.outcome == "throttled" for t in tries)
        tried = len(tries) - throttled
        if self._attempts_max == 1:
            return True
        return tried >= self._attempts_max or throttled > self._settings.throttled_max
