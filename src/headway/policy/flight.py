"""What a flight does next: start a try, wait, commit to an answer, or fail.

Retries, hedges and fallbacks are reasons to start one more try; one policy decides about all of them and counts them
together, so that they can never multiply one another. Where the next try goes is the route's business: to another
upstream, if there is one that is well.

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
from headway.policy.hedge import Hedge
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

    __slots__ = ("ended_at_s", "outcome", "retry_after_s", "retryable", "sent_at_s")

    def __init__(self) -> None:
        self.sent_at_s: float | None = None
        """Filled in where there is hedging; None while it waits for its turn."""
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
_HEDGE = Decision("start", "hedge")
_WAIT = Decision("wait")
_COMMIT = Decision("commit", index=0)


class FlightPolicy:
    """The one owner of retries for a flight.

    Args:
        settings: Bounds and back-off.
        budget: Shared by all flights to one upstream.
        attempts_max: The call's own bound; the smaller one holds.
        hedge: When a try is late; None where there are no backups.
        hedge_dollars: What a backup costs at the least, and at the most if there is a bound.
        elsewhere: How many other upstreams there are: that many retries need not wait for the first one to recover.
    """

    __slots__ = (
        "_attempts_max",
        "_broke",
        "_budget",
        "_elsewhere",
        "_hedge",
        "_hedge_dollars",
        "_reserved",
        "_retry_at_s",
        "_settings",
    )

    def __init__(
        self,
        settings: RetrySettings,
        budget: RetryBudget,
        attempts_max: int,
        hedge: Hedge | None = None,
        hedge_dollars: tuple[float, float | None] = (0.0, None),
        elsewhere: int = 0,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._attempts_max = min(attempts_max, settings.attempts_max)
        self._retry_at_s: float | None = None
        self._hedge = hedge
        self._hedge_dollars = hedge_dollars
        self._broke = False
        self._reserved: float | None = None
        self._elsewhere = elsewhere

    @property
    def hedges(self) -> bool:
        """Whether tries may have to run side by side."""
        return self._hedge is not None

    def decide(self, tries: list[Try], deadline_at_s: float, now_s: float, rng: Random) -> Decision:
        """The next step, given every try so far."""
        if not tries:
            return _FIRST
        running = None
        for index, each in enumerate(tries):
            if each.outcome == "ok":
                self._budget.succeeded()
                return _COMMIT if index == 0 else Decision("commit", index=index)
            if each.outcome is None:
                running = each
        if running is not None:
            return _WAIT if self._hedge is None else self._late(self._hedge, tries, running, now_s)
        index = max(range(len(tries)), key=lambda place: tries[place].ended_at_s) if len(tries) > 1 else 0
        last = tries[index]
        if not last.retryable or self._used_up(tries):
            return Decision("fail", index=index)
        fallback = len(tries) <= self._elsewhere
        if self._retry_at_s is None:
            delay_s = (
                0.0 if fallback else self._settings.backoff.delay_s(len(tries), rng, retry_after_s=last.retry_after_s)
            )
            at_s = last.ended_at_s + delay_s
            # A throttle is the provider's pace, not its failure: pacing spends it, the retry budget need not.
            if at_s >= deadline_at_s or (last.outcome != "throttled" and not self._budget.take(now_s)):
                return Decision("fail", index=index)
            self._retry_at_s = at_s
        if now_s < self._retry_at_s:
            return Decision("wait", at_s=self._retry_at_s)
        self._retry_at_s = None
        return Decision("start", "fallback" if fallback else "retry")

    def _late(self, hedge: Hedge, tries: list[Try], running: Try, now_s: float) -> Decision:
        """Wait for a running try until it is late; then for its backup as well. A flight has one backup at most."""
        if self._broke or len(tries) > 1 or self._used_up(tries):
            return _WAIT
        # A try that still waits for its turn is not late: it cannot be before this.
        at_s = hedge.hedge_at_s(now_s if running.sent_at_s is None else running.sent_at_s)
        if at_s is None:
            return _WAIT
        if at_s > now_s:
            return Decision("wait", at_s=at_s)
        self._reserved = hedge.reserve(*self._hedge_dollars)
        if self._reserved is not None:
            return _HEDGE
        self._broke = True  # there is no money for it now, and later is too late
        return _WAIT

    def learn(self, why: str, waited_s: float | None, dollars: float | None) -> None:
        """A try has ended, where tries may run side by side.

        Args:
            why: What it was started for.
            waited_s: From when it was sent to its first content, or to its end if there was none; None: never sent.
            dollars: What it cost; None if nobody knows.
        """
        hedge = self._hedge
        if hedge is None:
            return
        if waited_s is not None:
            hedge.answered(waited_s)
        if why == "hedge" and self._reserved is not None:
            hedge.settle(self._reserved, dollars)
        else:
            hedge.sent(dollars)

    def _used_up(self, tries: list[Try]) -> bool:
        throttled = sum(t.outcome == "throttled" for t in tries)
        tried = len(tries) - throttled
        if self._attempts_max == 1:
            return True
        return tried >= self._attempts_max or throttled > self._settings.throttled_max
