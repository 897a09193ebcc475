"""A step that was fetched before anybody asked for it, and the figures of all that were."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

import msgspec

from headway.types import Trace

__all__ = ["Figures", "Known", "Prefetch", "State"]

State: TypeAlias = Literal["refused", "under way", "ready", "used", "wasted", "failed", "cancelled"]


class Prefetch:
    """What became of one `headway.prefetch`. True where it was started; nothing of it ever raises.

    Args:
        step: The step's name.
        likelihood: That somebody asks for it, 0 to 1, as experience has it.
        stated: As it was given.
        why: Why it was not started, a sentence; "" where it was.
        key: What a real call of the step is recognised by.
        expected_usd: What it may cost.
        began_s: When, on the loop's clock.
    """

    __slots__ = (
        "_unknown",
        "asked",
        "attempts",
        "began_s",
        "calls",
        "dollars",
        "ended_s",
        "expected_usd",
        "key",
        "likelihood",
        "state",
        "stated",
        "step",
        "task",
        "wait_s",
        "why",
    )

    def __init__(
        self,
        step: str,
        likelihood: float,
        *,
        stated: float = 0.0,
        why: str = "",
        key: bytes = b"",
        expected_usd: float = 0.0,
        began_s: float = 0.0,
    ) -> None:
        self.step = step
        self.likelihood = likelihood
        self.stated = stated
        self.why = why
        self.key = key
        self.state: State = "refused" if why else "under way"
        """"ready": nobody has asked for it so far; "wasted": nobody did for so long that it is booked so."""
        self.asked = False
        """A real call came, while it was under way or afterwards."""
        self.expected_usd = expected_usd
        self.dollars = 0.0
        """What it has cost so far; what it was expected to where a price is unknown."""
        self.wait_s = 0.0
        self.calls = self.attempts = 0
        self.began_s = began_s
        self.ended_s: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._unknown = False

    def __bool__(self) -> bool:
        return not self.why

    def __repr__(self) -> str:
        return f"<prefetch of {self.step}: {self.state}{': ' if self.why else ''}{self.why}>"

    def cancel(self) -> None:
        """End it, unless somebody has asked for it by now."""
        if self.task is not None and not self.asked:
            self.task.cancel()

    async def wait(self) -> None:
        """Until it has ended, however it did."""
        if self.task is not None:
            await asyncio.wait((self.task,))

    def told(self, trace: Trace) -> None:
        """One of its calls has ended."""
        self.calls += 1
        self.attempts += trace.attempts
        self.wait_s += trace.wait_s
        if trace.dollars is None or trace.maybe_billed:
            self._unknown = True
        self.dollars += trace.dollars or 0.0

    def seconds(self, now_s: float) -> float:
        """How long it took, or has taken so far, without its waits for the provider's limits."""
        return max(0.0, (self.ended_s or now_s) - self.began_s - self.wait_s)

    def end(self, state: State, now_s: float) -> None:
        """It is over."""
        self.state, self.ended_s, self.task = state, now_s, None
        if self._unknown:
            self.dollars = max(self.dollars, self.expected_usd)


class Known:
    """What a step takes, from those that ran: a mean in which the last ones weigh most."""

    __slots__ = ("_first", "seconds", "usd")

    def __init__(self, seconds: float, usd: float) -> None:
        self.seconds = seconds
        self.usd = usd
        self._first = True

    def learn(self, seconds: float, usd: float) -> None:
        """One more ran."""
        weight = 1.0 if self._first else 0.2
        self._first = False
        self.seconds += weight * (seconds - self.seconds)
        self.usd += weight * (usd - self.usd)


class Figures(msgspec.Struct):
    """Of one step, or of all; counts of prefetches that were started, seconds and US dollars."""

    launched: int = 0
    hits: int = 0
    """Asked for when they were there."""
    joined: int = 0
    """Asked for while they were under way."""
    ready: int = 0
    """There, and not asked for so far."""
    wasted: int = 0
    cancelled: int = 0
    failed: int = 0
    under_way: int = 0
    saved_s: float = 0.0
    """What the real calls would have waited beyond what they did."""
    used_usd: float = 0.0
    """Of those that were asked for: a real call would have cost the same."""
    ready_usd: float = 0.0
    wasted_usd: float = 0.0
    """Of wasted, cancelled and failed ones."""

    @property
    def hit_rate(self) -> float | None:
        """Asked for, of those whose fate is known; None without any."""
        known = self.hits + self.joined + self.wasted + self.cancelled
        return (self.hits + self.joined) / known if known else None

    def add(self, other: Figures) -> None:
        """Sum up."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, `hit_rate` included."""
        return {**msgspec.structs.asdict(self), "hit_rate": self.hit_rate}
