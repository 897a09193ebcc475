"""A step that was fetched before anybody asked for it, and the figures of all that were."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

import msgspec

from headway.pipeline.spec import Spec
from headway.types import Trace

__all__ = ["Figures", "Key", "Known", "Prefetch", "State"]

Key: TypeAlias = tuple[Spec, bytes]
"""A step and its arguments. Steps are told apart by what they are, not by name: two may be called the same."""

State: TypeAlias = Literal["refused", "under way", "ready", "used", "wasted", "failed", "cancelled"]


class Prefetch:
    """What became of one `headway.prefetch`. True where it was started; nothing of it ever raises.

    Args:
        key: What a real call of the step is recognised by.
        likelihood: That somebody asks for it, 0 to 1, as experience has it.
        stated: As it was given.
        why: Why it was not started, a sentence; "" where it was.
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
        "found",
        "key",
        "likelihood",
        "reserved_usd",
        "state",
        "stated",
        "task",
        "tried_usd",
        "trying_usd",
        "unwanted",
        "wait_s",
        "why",
    )

    def __init__(
        self,
        key: Key,
        likelihood: float,
        *,
        stated: float = 0.0,
        why: str = "",
        expected_usd: float = 0.0,
        began_s: float = 0.0,
    ) -> None:
        self.key = key
        self.likelihood = likelihood
        self.stated = stated
        self.why = why
        """Of one that failed, with what."""
        self.state: State = "refused" if why else "under way"
        """"ready": nobody has asked for it so far; "wasted": nobody did for so long that it is booked so."""
        self.asked = 0
        """Real calls under way that may find it."""
        self.found = False
        """One of them did."""
        self.unwanted = False
        """To be cancelled when none of them is left."""
        self.expected_usd = self.reserved_usd = expected_usd
        self.trying_usd = self.tried_usd = 0.0
        """What its requests under way may cost at most, and what those that ended did."""
        self.dollars = 0.0
        """What it has cost so far; what it was expected to where a price is unknown."""
        self.wait_s = 0.0
        self.calls = self.attempts = 0
        self.began_s = began_s
        self.ended_s: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._unknown = False

    @property
    def step(self) -> str:
        """The step's name."""
        return self.key[0].name

    def __bool__(self) -> bool:
        return self.state != "refused"

    def __repr__(self) -> str:
        return f"<prefetch of {self.step}: {self.state}{': ' if self.why else ''}{self.why}>"

    def cancel(self) -> None:
        """End it, unless somebody has asked for it by now; then, if they leave before they have it."""
        self.unwanted = True
        if self.task is not None and not self.asked and not self.found:
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
        return max(0.0, self.lasted_s(now_s) - self.wait_s)

    def lasted_s(self, now_s: float) -> float:
        """Likewise, with its waits."""
        return (now_s if self.ended_s is None else self.ended_s) - self.began_s

    def end(self, state: State, now_s: float) -> None:
        """It is over."""
        self.state, self.ended_s, self.task = state, now_s, None
        if self._unknown:
            self.dollars = max(self.dollars, self.expected_usd)


_MOST_RATIO = 4.0
"""What one that ran has cost says of the most that one may: steps differ by their arguments, and a dear one that was
refused must not hold up cheap ones for ever."""


class Known:
    """What a step takes, from those that ran: a mean in which the last ones weigh most."""

    __slots__ = ("_first", "most_usd", "seconds", "usd")

    def __init__(self, seconds: float, usd: float) -> None:
        self.seconds = seconds
        self.usd = usd
        self.most_usd = 0.0
        """What the last prefetch might have cost at most, allowed to or not: no use to begin another with less left."""
        self._first = True

    def learn(self, seconds: float, usd: float) -> None:
        """One more ran."""
        weight = 1.0 if self._first else 0.2
        self._first = False
        self.most_usd = min(self.most_usd, _MOST_RATIO * usd)
        self.seconds += weight * (seconds - self.seconds)
        self.usd += weight * (usd - self.usd)


class Figures(msgspec.Struct):
    """Of one step, or of all; counts of prefetches that were started, seconds and US dollars."""

    launched: int = 0
    hits: int = 0
    """Asked for, and found there."""
    joined: int = 0
    """Found while they were under way."""
    ready: int = 0
    """There, and not asked for so far."""
    wasted: int = 0
    """Not asked for in time, or of no use to who asked: the real call had to ask models for all of it again."""
    cancelled: int = 0
    failed: int = 0
    under_way: int = 0
    saved_s: float = 0.0
    """What the real calls would have waited beyond what they did."""
    used_usd: float = 0.0
    """Of those that were asked for: a real call would have cost the same."""
    ready_usd: float = 0.0
    wasted_usd: float = 0.0
    """Of wasted, cancelled and failed ones, and the part of others that was paid for again."""

    @property
    def hit_rate(self) -> float | None:
        """Found, of those whose fate is known; None without any."""
        known = self.hits + self.joined + self.wasted + self.cancelled
        return (self.hits + self.joined) / known if known else None

    def unready(self, usd: float) -> None:
        """One is not just there any more."""
        self.ready -= 1
        self.ready_usd = max(0.0, self.ready_usd - usd) if self.ready else 0.0  # sums of floats keep a residue

    def add(self, other: Figures) -> None:
        """Sum up."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, `hit_rate` included."""
        return {**msgspec.structs.asdict(self), "hit_rate": self.hit_rate}
