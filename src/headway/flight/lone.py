"""An answer that comes whole, and that nobody can join: fetched in its caller's own task.

Without other readers there is nothing to log, to wake or to keep going, so a call costs one task instead of two. The
promises are a flight's: the same policy decides about tries, a caller that leaves ends the one under way, a deadline
or the engine's end books it and then tells the caller. Where the provider streams although nobody asked it to, a
`Flight` takes over at the head of the answer, before any of it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from random import Random

from headway.attempt.attempt import Attempt
from headway.errors import HeadwayError
from headway.flight.cursor import Cursor
from headway.flight.deadlines import Deadlines
from headway.flight.endings import closing, exceeded, final, underneath
from headway.flight.flight import Flight
from headway.flight.settings import FlightSettings
from headway.policy.flight import FlightPolicy, Try
from headway.types import Call, Outcome, Reply, Trace

__all__ = ["Lone"]


class Lone:
    """See the module. Made by `caller.join`.

    Args:
        call: The caller's.
        attempt, policy, settings, rng, deadlines: As for `Flight`.
        landed: Called once at the end, whatever the end was.
    """

    __slots__ = (
        "_attempt", "_attempts", "_deadlines", "_ended", "_error", "_landed", "_policy", "_rng", "_settings", "_task",
        "_tries", "backed_off_s", "call", "id", "traces",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        *,
        attempt: Callable[[Call, int, Callable[[Attempt], None] | None], Attempt],
        policy: FlightPolicy,
        settings: FlightSettings,
        rng: Random,
        landed: Callable[[Lone | Flight], None],
        deadlines: Deadlines,
    ) -> None:
        self.call = call
        self.id = call.trace.id
        self.traces: list[Trace] = []
        """Of its tries; the last one's is the answer."""
        self.backed_off_s = 0.0
        self._attempts: list[Attempt] = []
        self._tries: list[Try] = []  # what the policy sees of them
        self._attempt = attempt
        self._policy = policy
        self._settings = settings
        self._rng = rng
        self._landed = landed
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._error: HeadwayError | None = None  # why it was ended from outside
        self._ended: asyncio.Future[None] | None = None

    async def reply(self, begin: Callable[[Flight, Sequence[Attempt]], Cursor]) -> Reply:
        """The answer. `begin` lets a flight take off with tries that were begun here."""
        task = self._task = asyncio.current_task(self._deadlines.loop)  # told which, it need not ask the system
        assert task is not None
        cancels = task.cancelling()
        self._deadlines.note(self.call.deadline_at_s)
        try:
            attempt = await self._land()
            if self._error is not None:
                raise asyncio.CancelledError  # a handler kept it from getting here
        except asyncio.CancelledError:
            error = self._error
            if error is None:
                if task.cancelling():
                    raise  # its caller left, perhaps before it came here
                raise underneath() from None
            if task.uncancel() > cancels:
                raise  # its caller left, too
            raise error from None
        finally:
            self._landed(self)
            if self._ended is not None and not self._ended.done():  # who waited for it may have been cancelled
                self._ended.set_result(None)
        if attempt.streaming:
            try:
                return await begin(self._flight(), self._attempts).reply()
            except BaseException:
                await attempt.aclose()  # a flight's task that was ended before its first step closes nothing
                raise
        headers = attempt.headers if attempt.status < 400 else final(attempt.headers)
        return Reply(attempt.status, headers, attempt.chunks[0], trace=self.call.trace)

    def expire(self, now_s: float) -> float:
        """End it if its deadline has passed; the deadline else."""
        if now_s < self.call.deadline_at_s:
            return self.call.deadline_at_s
        self._stop(exceeded(self.call, sent=any(trace.sent_at_s is not None for trace in self.traces)), "deadline")
        return inf

    def cancel(self) -> asyncio.Future[None] | None:
        """End at once: the engine is closing. What to wait for."""
        if self._task is None or self._ended is not None:
            return self._ended
        self._stop(closing(), "closed")
        self._ended = self._deadlines.loop.create_future()
        return self._ended

    def _stop(self, error: HeadwayError, outcome: Outcome) -> None:
        if self._error is None and self._task is not None:
            self._error = error
            for attempt in self._attempts:
                attempt.end(outcome)
            self._task.cancel()

    async def _land(self) -> Attempt:
        """Try until there is an answer to hand on; its attempt."""
        call, loop = self.call, self._deadlines.loop
        attempts, tries = self._attempts, self._tries
        while True:
            decision = self._policy.decide(tries, call.deadline_at_s, loop.time(), self._rng)
            if decision.do == "start":
                attempt = self._attempt(call, len(attempts), None)
                attempt.trace.flight_id = self.id
                attempts.append(attempt)
                tries.append(attempt.state)
                self.traces.append(attempt.trace)
                await attempt.ask()
                if attempt.streaming:
                    return attempt
            elif decision.do == "wait":
                start_s = loop.time()
                await asyncio.sleep(decision.at_s - start_s)
                self.backed_off_s += loop.time() - start_s
            else:
                attempt = attempts[decision.index]
                if attempt.error is not None:
                    raise attempt.error
                if attempt is not attempts[-1]:
                    self.traces.remove(attempt.trace)
                    self.traces.append(attempt.trace)
                return attempt

    def _flight(self) -> Flight:
        flight = Flight(
            self.call,
            attempt=self._attempt,
            policy=self._policy,
            settings=self._settings,
            rng=self._rng,
            landed=self._landed,
            deadlines=self._deadlines,
        )
        flight.backed_off_s = self.backed_off_s
        return flight
