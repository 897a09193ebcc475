"""One answer being fetched: an engine-owned task that its callers read from, each with a cursor of its own.

    start -> tries under the flight policy -> commit -> chunks into the log -> done
                                          `-> failed: a final error reply, or an exception for every reader

The flight owns the upstream: a reader that leaves is detached, and only when the last one leaves is the try ended (or,
when its terminal event was seen, drained). One reader is served with back-pressure; from the second on the stream is
pumped at the provider's pace, up to `flight_bytes_max`. Past that joiners are refused, the fastest reader sets the
pace, and one that falls as far behind again is told so and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from msgspec.structs import replace

from headway.attempt.attempt import Attempt
from headway.errors import Closed
from headway.flight.cursor import Cursor
from headway.flight.deadlines import Deadlines
from headway.flight.endings import closing, final, underneath
from headway.flight.log import ChunkLog
from headway.flight.race import Race
from headway.flight.readers import Readers
from headway.flight.settings import FlightSettings
from headway.flight.tasks import start
from headway.policy.flight import Decision, FlightPolicy, Try
from headway.types import Call, Headers, Outcome, Timeouts, Trace

__all__ = ["Flight"]


class Flight:
    """See the module. Made by `caller.join`, driven by its own task.

    Args:
        call: The leader's call.
        attempt: Makes one try: ``attempt(call, index, on_commit)``.
        policy: Decides about tries.
        settings: Bounds.
        rng: Dice for back-off.
        landed: Called once at the end, whatever the end was.
        deadlines: Has `expire` called in time.
    """

    def __init__(
        self,
        call: Call,
        *,
        attempt: Callable[[Call, int, Callable[[Attempt], None] | None], Attempt],
        policy: FlightPolicy,
        settings: FlightSettings,
        rng: Random,
        landed: Callable[[Flight], None],
        deadlines: Deadlines,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.call = call
        self.id = call.trace.id
        self.headers: Headers = ()
        self.error: Exception | None = None
        self.committed = self.done = self.streaming = False
        self.complete = False
        """The whole answer is in the log, and may be kept."""
        self.usage_event = b""
        self.place: tuple[bytes, bool, bool, Timeouts | None, int | None] | None = None
        """Where `caller.join` finds it."""
        self.traces: list[Trace] = []
        self.status, self.backed_off_s = 0, 0.0
        self.log = ChunkLog(self.loop.time if settings.timed else None)
        self._deadline_at_s = call.deadline_at_s
        self._attempt, self._policy = attempt, policy
        self._settings, self._rng = settings, rng
        self._landed = landed
        self._deadlines = deadlines
        self.readers = Readers()
        """Those who read it now."""
        self._hold: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempts: list[Attempt] = []
        self._race: Race | None = None

    @property
    def finished(self) -> bool:
        """A terminal event has come, although the connection may not have ended yet."""
        return any(attempt.finished for attempt in self._attempts)

    def start(self, begun: Sequence[Attempt] = ()) -> Cursor:
        """Take off; the leader's cursor. `begun` are tries of the same policy, the last of which is a stream's."""
        for attempt in begun:
            attempt.on_commit = self._publish
            self._count(attempt)
        cursor = Cursor(self, self.call, leader=True)
        self.readers.append(cursor)
        self._deadlines.note(self.call.deadline_at_s)
        self._task = start(self.loop, self._run())
        return cursor

    def join(self, call: Call) -> Cursor | None:
        """A cursor for one more reader, from the first byte; None when it is too late, too large or too weak for it."""
        if self.done or self.log.first or not self._keeps_log() or not self.readers:
            return None
        if call.attempts_max > self.call.attempts_max or self.readers.wait_for_money_of_others(call, self.call):
            return None
        cursor = Cursor(self, call, leader=False)
        self.readers.append(cursor)
        self._deadline_at_s = max(self._deadline_at_s, call.deadline_at_s)
        # It ends with the last reader's deadline, but waits in the queue by the first one's.
        priority, sooner_s = max(self.call.priority, call.priority), min(self.call.deadline_at_s, call.deadline_at_s)
        if priority > self.call.priority or sooner_s < self.call.deadline_at_s:
            self.call = replace(self.call, deadline_at_s=sooner_s, priority=priority)
            for attempt in self._attempts:
                attempt.hurry(self.call)
        self._deadlines.note(call.deadline_at_s)
        self._release()
        return cursor

    def detach(self, cursor: Cursor, outcome: Outcome = "abandoned") -> None:
        """A reader leaves; the cost passes to the next one. The last one ends the flight."""
        if cursor not in self.readers:
            return
        self.readers.remove(cursor)
        if self.readers:
            if cursor.leader and not self.done:
                cursor.leader, self.readers[0].leader = False, True
                self.call = replace(self.call, allowance=self.readers[0].call.allowance)  # who pays for further tries
            self._release()
        elif not self.done and self._task is not None:
            for attempt in self._attempts:
                attempt.end(outcome)  # booked here, so that the reader that leaves can be told what it cost
            if self.finished:
                self._linger = self.loop.call_later(self._settings.linger_s, self._task.cancel)
                self._release()
            else:
                # Done from here: a task that is cancelled before its first step never gets to say so itself.
                self._finish(Closed("every caller of this answer left"))
                self._task.cancel()

    def cancel(self) -> asyncio.Task[None] | None:
        """End at once: the engine is closing. The task, for the engine to wait for."""
        if self._task is not None and not self.done:
            for attempt in self._attempts:
                attempt.end("closed")
            self._finish(closing())
            self._task.cancel()
            if self.committed:
                self.readers.close(self.error, self.loop.time())
        return self._task

    def consumed(self) -> None:
        """A reader went on: drop what nobody needs any more, and let the provider go on."""
        if not self._keeps_log():
            self.log.trim(self.readers.slowest(self.log.first))
        if self._hold is not None:
            self._release()

    async def _run(self) -> None:
        try:
            attempt = await self._until_commit()
            if attempt is not None:
                await self._pump(attempt)
        except BaseException as failure:
            self._finish(self._reason(failure))  # every reader is told; a cancelled task also stays cancelled
            if not isinstance(failure, Exception):
                raise
        else:
            self._finish(None)
        finally:
            if self._race is not None:
                await self._race.aclose()

    def _reason(self, failure: BaseException) -> Exception | None:
        if isinstance(failure, Exception):
            return failure
        for attempt in self._attempts:
            if attempt.finished:
                self._whole(attempt)
                return None
        return underneath()

    async def _until_commit(self) -> Attempt | None:
        """Try until there is an answer to hand on. Its attempt if there is more of it to come."""
        if self._policy.hedges:
            self._race = Race(
                self._policy, self._try, self._publish, deadline_at_s=lambda: self._deadline_at_s, rng=self._rng
            )
            decision, attempt = await self._race.run()
            self.backed_off_s = self._race.backed_off_s
            return self._commit(decision, attempt)
        tries: list[Try] = [attempt.state for attempt in self._attempts]
        if self._attempts:
            await self._attempts[-1].listen()
        while True:
            decision = self._policy.decide(tries, self._deadline_at_s, self.loop.time(), self._rng)
            if decision.do == "start":
                attempt = self._try(self._publish)
                tries.append(attempt.state)
                await attempt.fly()
            elif decision.do == "wait":
                start_s = self.loop.time()
                await asyncio.sleep(decision.at_s - start_s)
                self.backed_off_s += self.loop.time() - start_s
            else:
                return self._commit(decision, self._attempts[decision.index])

    def _try(self, on_commit: Callable[[Attempt], None]) -> Attempt:
        attempt = self._attempt(self.call, len(self._attempts), on_commit)
        self._count(attempt)
        return attempt

    def _count(self, attempt: Attempt) -> None:
        attempt.trace.flight_id = self.id
        if self.call.allowance is not None:
            attempt.trace.unpaid = partial(self.readers.wait_for_money, attempt.trace, self.traces, self.call.allowance)
        self.traces.append(attempt.trace)
        self._attempts.append(attempt)

    def _commit(self, decision: Decision, attempt: Attempt) -> Attempt | None:
        if decision.do == "fail" and attempt.error is not None:
            raise attempt.error
        if attempt.trace is not self.traces[-1]:
            self.traces.remove(attempt.trace)
            self.traces.append(attempt.trace)  # the last one is the one whose answer it is
        self._publish(attempt, whole=attempt.whole)
        if attempt.error is not None:
            raise attempt.error
        if attempt.whole:
            self._whole(attempt)
            return None
        return attempt

    async def _pump(self, attempt: Attempt) -> None:
        try:
            while (chunk := await attempt.next_chunk()) is not None:
                if chunk:
                    self.log.append(chunk)
                    self.readers.wake()
                    if len(self.readers) > 1 and not self._keeps_log():
                        self.readers.drop_laggards(self.log, self._settings.flight_bytes_max)
                    while self._must_hold():
                        self._hold = self.loop.create_future()
                        await self._hold
        finally:
            await attempt.aclose()
        self._whole(attempt)
        if attempt.error is not None:
            raise attempt.error

    def _publish(self, attempt: Attempt, *, whole: bool = False) -> None:
        """Hand on what the attempt has so far; a whole answer is handed on when the flight is done."""
        if not self.committed:
            self.status, self.headers, self.streaming = attempt.status, attempt.headers, attempt.streaming
            if self.status >= 400:
                self.headers = final(self.headers)
        for chunk in attempt.chunks:
            self.log.append(chunk)
        attempt.chunks.clear()
        if not whole:
            self.committed = True
            self.readers.wake()

    def _whole(self, attempt: Attempt) -> None:
        self.complete = attempt.admissible and not self.log.first
        self.usage_event = attempt.usage_event

    def _finish(self, error: Exception | None) -> None:
        if self.done:
            return
        self.done = True
        self.error = error
        if self._linger is not None:
            self._linger.cancel()
        if error is None:
            self.committed = True
        self.readers.wake()
        self._attempts = []  # they know us: the circle would be left to the garbage collector
        self._landed(self)

    def _keeps_log(self) -> bool:
        """A log that joiners or the cache may still want is kept whole, up to the bound."""
        return self.call.key is not None and self.log.bytes_logged <= self._settings.flight_bytes_max

    def _must_hold(self) -> bool:
        if not self.readers or (len(self.readers) > 1 and self._keeps_log()):
            return False
        return self.readers.least_lag_bytes(self.log) > self._settings.lag_bytes_max(self.call.allowance)

    def _release(self) -> None:
        if self._hold is not None and not self._hold.done() and not self._must_hold():
            self._hold.set_result(None)

    def expire(self, now_s: float) -> float:
        """Tell those whose deadline has passed; the next deadline."""
        self.readers.drop_late(now_s, sent=any(trace.sent_at_s is not None for trace in self.traces))
        return self.readers.first_deadline_s()
