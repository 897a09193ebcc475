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
from collections.abc import Callable
from math import inf
from random import Random

import msgspec
from msgspec.structs import replace

from headway.attempt.attempt import Attempt
from headway.errors import Closed
from headway.flight.cursor import Cursor
from headway.flight.log import ChunkLog
from headway.flight.readers import Readers
from headway.policy.flight import FlightPolicy, Try
from headway.types import Call, Headers, Outcome, Trace

__all__ = ["Flight", "FlightSettings"]


class FlightSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one flight.

    `window_bytes`: how far the fastest reader may lag behind before the provider is held back. `linger_s`: how long a
    stream whose readers left after its terminal event may take to close, so that its connection and answer are kept.
    """

    flight_bytes_max: int = 8 * 1024 * 1024
    window_bytes: int = 256 * 1024
    linger_s: float = 1.0


class Flight:
    """See the module. Made by `caller.join`, driven by its own task.

    Args:
        call: The leader's call.
        attempt: Makes one try: ``attempt(call, index, on_commit)``.
        policy: Decides about tries.
        settings: Bounds.
        rng: Dice for back-off.
        landed: Called once at the end, whatever the end was.
    """

    def __init__(
        self,
        call: Call,
        *,
        attempt: Callable[[Call, int, Callable[[Attempt], None]], Attempt],
        policy: FlightPolicy,
        settings: FlightSettings,
        rng: Random,
        landed: Callable[[Flight], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.call = call
        self.id = f"{rng.getrandbits(64):016x}"
        self.status = 0
        self.headers: Headers = ()
        self.error: Exception | None = None
        self.committed = False
        self.done = False
        self.streaming = False
        self.complete = False
        """The whole answer is in the log, and may be kept."""
        self.usage_event = b""
        self.traces: list[Trace] = []
        self.backed_off_s = 0.0
        self.log = ChunkLog()
        self._deadline_at_s = call.deadline_at_s
        self._attempt = attempt
        self._policy = policy
        self._settings = settings
        self._rng = rng
        self._landed = landed
        self._readers = Readers()
        self._hold: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._current: Attempt | None = None

    def start(self) -> Cursor:
        """Take off; the leader's cursor."""
        cursor = Cursor(self, self.call, leader=True)
        self._readers.append(cursor)
        self._arm()
        self._task = self.loop.create_task(self._run())
        return cursor

    def join(self, call: Call) -> Cursor | None:
        """A cursor for one more reader, from the first byte; None when it is too late, too large or too weak for it."""
        if self.done or self.log.first or not self._keeps_log() or not self._readers:
            return None
        if call.attempts_max > self.call.attempts_max:
            return None
        cursor = Cursor(self, call, leader=False)
        self._readers.append(cursor)
        self._deadline_at_s = max(self._deadline_at_s, call.deadline_at_s)
        # It ends with the last reader's deadline, but waits in the queue by the first one's.
        priority, sooner_s = max(self.call.priority, call.priority), min(self.call.deadline_at_s, call.deadline_at_s)
        if priority > self.call.priority or sooner_s < self.call.deadline_at_s:
            self.call = replace(self.call, deadline_at_s=sooner_s, priority=priority)
            if self._current is not None:
                self._current.hurry(self.call)
        self._arm()
        self._release()
        return cursor

    def detach(self, cursor: Cursor, outcome: Outcome = "abandoned") -> None:
        """A reader leaves; the cost passes to the next one. The last one ends the flight."""
        if cursor not in self._readers:
            return
        self._readers.remove(cursor)
        if self._readers:
            if cursor.leader and not self.done:
                cursor.leader, self._readers[0].leader = False, True
            self._release()
        elif not self.done and self._task is not None:
            current = self._current
            if current is not None:
                current.end(outcome)  # booked here, so that the reader that leaves can be told what it cost
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if current is not None and current.finished:
                self._timer = self.loop.call_later(self._settings.linger_s, self._task.cancel)
                self._release()
            else:
                # Done from here: a task that is cancelled before its first step never gets to say so itself.
                self._finish(Closed("every caller of this answer left"))
                self._task.cancel()

    def cancel(self) -> asyncio.Task[None] | None:
        """End at once: the engine is closing. The task, for the engine to wait for."""
        if self._task is not None and not self.done:
            if self._current is not None:
                self._current.end("closed")
            self._finish(Closed("the engine was closed while this call was under way; open a new engine"))
            self._task.cancel()
            if self.committed:
                self._readers.close(self.error, self.loop.time())
        return self._task

    def consumed(self) -> None:
        """A reader went on: drop what nobody needs any more, and let the provider go on."""
        if not self._keeps_log():
            slowest = self._readers.slowest(self.log.first)
            if slowest - self.log.first >= 32:
                self.log.trim(slowest)
        self._release()

    # -- the task --------------------------------------------------------------------------------------------------

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

    def _reason(self, failure: BaseException) -> Exception | None:
        if isinstance(failure, Exception):
            return failure
        if self._current is not None and self._current.finished:
            self._whole(self._current)
            return None
        return Closed("the call was cancelled underneath its callers; a handler must not cancel its own task")

    async def _until_commit(self) -> Attempt | None:
        """Try until there is an answer to hand on. Its attempt if there is more of it to come."""
        tries: list[Try] = []
        attempts: list[Attempt] = []
        while True:
            decision = self._policy.decide(tries, self._deadline_at_s, self.loop.time(), self._rng)
            if decision.do == "start":
                attempt = self._current = self._attempt(self.call, len(tries), self._publish)
                attempt.trace.flight_id = self.id
                self.traces.append(attempt.trace)
                attempts.append(attempt)
                tries.append(attempt.state)
                await attempt.fly()
            elif decision.do == "wait":
                start_s = self.loop.time()
                await asyncio.sleep(decision.at_s - start_s)
                self.backed_off_s += self.loop.time() - start_s
            else:
                break
        attempt = attempts[decision.index]
        if decision.do == "fail" and attempt.error is not None:
            raise attempt.error
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
                    self._readers.wake()
                    self._drop_laggards()
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
                # The official SDKs obey it: this failure is final, it has been tried as often as makes sense.
                self.headers = (*self.headers, ("x-should-retry", "false"))
        for chunk in attempt.chunks:
            self.log.append(chunk)
        attempt.chunks.clear()
        if not whole:
            self.committed = True
            self._readers.wake()

    def _whole(self, attempt: Attempt) -> None:
        self.complete = attempt.admissible and not self.log.first
        self.usage_event = attempt.usage_event

    def _finish(self, error: Exception | None) -> None:
        if self.done:
            return
        self.done = True
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        if error is None:
            self.committed = True
        self._readers.wake()
        self._current = None  # it knows us: the circle would be left to the garbage collector
        self._landed(self)

    # -- pace and deadlines of the readers -------------------------------------------------------------------------

    def _keeps_log(self) -> bool:
        """A log that joiners or the cache may still want is kept whole, up to the bound."""
        return self.call.key is not None and self.log.bytes_logged <= self._settings.flight_bytes_max

    def _must_hold(self) -> bool:
        if not self._readers or (len(self._readers) > 1 and self._keeps_log()):
            return False
        return self._readers.least_lag_bytes(self.log) > self._settings.window_bytes

    def _drop_laggards(self) -> None:
        if len(self._readers) > 1 and not self._keeps_log():
            for cursor in self._readers.laggards(self.log, self._settings.flight_bytes_max):
                cursor.wake()
                self.detach(cursor)

    def _release(self) -> None:
        if self._hold is not None and not self._hold.done() and not self._must_hold():
            self._hold.set_result(None)

    def _arm(self) -> None:
        """One timer for all readers: the earliest of their deadlines."""
        earliest_s = self._readers.first_deadline_s()
        if self._timer is not None:
            if self._timer.when() <= earliest_s:
                return  # it rings no later than it must
            self._timer.cancel()
        self._timer = None if earliest_s == inf else self.loop.call_at(earliest_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        sent = any(trace.sent_at_s is not None for trace in self.traces)
        for cursor in self._readers.late(self.loop.time(), sent=sent):
            cursor.wake()
            self.detach(cursor, "deadline")
        if self._readers:
            self._arm()
