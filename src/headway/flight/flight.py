"""One answer being fetched: an engine-owned task that its callers read from, each with a cursor of its own.

    start -> tries under the flight policy -> commit -> chunks into the log -> done
                                          `-> failed: a final error reply, or an exception for every reader

The flight owns the upstream: a reader that leaves is detached, and only when the last one leaves is the try ended. It
outlives nobody. One reader is served with back-pressure; from the second on the stream is pumped at the provider's
pace, up to `flight_bytes_max`, after which joiners are refused and the slowest reader sets the pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from random import Random

import msgspec
from msgspec.structs import replace

from headway.attempt.attempt import Attempt
from headway.errors import Closed, DeadlineExceeded, HeadwayError
from headway.flight.cursor import Cursor
from headway.policy.flight import FlightPolicy, Try
from headway.types import Call, Headers, Trace

__all__ = ["Flight", "FlightSettings"]


class FlightSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one flight.

    `window_bytes`: how far a lone reader may lag behind before the provider is held back.
    """

    flight_bytes_max: int = 8 * 1024 * 1024
    window_bytes: int = 256 * 1024


class Flight:
    """See the module. Made by `caller.join`, driven by its own task.

    Args:
        call: The leader's call.
        attempt: Makes one try: ``attempt(call, index)``.
        policy: Decides about tries.
        settings: Bounds.
        rng: Dice for back-off.
        landed: Called once at the end, whatever the end was.
    """

    def __init__(
        self,
        call: Call,
        *,
        attempt: Callable[[Call, int], Attempt],
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
        self.error: HeadwayError | None = None
        self.committed = False
        self.done = False
        self.streaming = False
        self.complete = False
        """The whole answer is in the log, and may be kept."""
        self.usage_event = b""
        self.traces: list[Trace] = []
        self.bytes_logged = 0
        self.deadline_at_s = call.deadline_at_s
        self._attempt = attempt
        self._policy = policy
        self._settings = settings
        self._rng = rng
        self._landed = landed
        self._cursors: list[Cursor] = []
        self._log: list[bytes] = []
        self._log_from = 0  # index of the first chunk still held
        self._bytes_dropped = 0
        self._hold: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._current: Attempt | None = None

    def start(self) -> Cursor:
        """Take off; the leader's cursor."""
        cursor = Cursor(self, self.call, leader=True)
        self._cursors.append(cursor)
        self._arm()
        self._task = self.loop.create_task(self._run())
        return cursor

    def join(self, call: Call) -> Cursor | None:
        """A cursor for one more reader, from the first byte; None when it is too late or too large for that."""
        if self.done or self._log_from or self.bytes_logged > self._settings.flight_bytes_max or not self._cursors:
            return None
        cursor = Cursor(self, call, leader=False)
        self._cursors.append(cursor)
        if call.deadline_at_s > self.deadline_at_s or call.priority > self.call.priority:
            self.deadline_at_s = max(self.deadline_at_s, call.deadline_at_s)
            priority = max(self.call.priority, call.priority)
            self.call = replace(self.call, deadline_at_s=self.deadline_at_s, priority=priority)
            if self._current is not None:
                self._current.hurry(self.call)
        self._arm()
        self._release()
        return cursor

    def detach(self, cursor: Cursor) -> None:
        """A reader leaves. The last one ends the flight."""
        if cursor not in self._cursors:
            return
        self._cursors.remove(cursor)
        if not self._cursors and not self.done and self._task is not None:
            self._task.cancel()
        elif self._cursors:
            self._release()

    def cancel(self) -> asyncio.Task[None] | None:
        """End at once: the engine is closing. The task, for the engine to wait for."""
        if self._task is not None and not self.done:
            self._finish(Closed("the engine was closed while this call was under way; open a new engine"))
            self._task.cancel()
        return self._task

    def chunk_at(self, index: int) -> bytes | None:
        """The chunk at that place; None while there is none yet."""
        place = index - self._log_from
        return self._log[place] if place < len(self._log) else None

    def body(self) -> bytes:
        """All that was logged, in one piece."""
        if len(self._log) > 1:
            self._log = [b"".join(self._log)]
        return self._log[0] if self._log else b""

    def consumed(self) -> None:
        """A reader went on: drop what nobody needs any more, and let the provider go on."""
        if self._log_from or not self._keeps_log():
            slowest = min((cursor.index for cursor in self._cursors), default=self._log_from)
            if slowest - self._log_from >= 32:
                drop = self._log[: slowest - self._log_from]
                self._bytes_dropped += sum(map(len, drop))
                del self._log[: len(drop)]
                self._log_from = slowest
        self._release()

    async def _run(self) -> None:
        error: HeadwayError | None = None
        try:
            attempt = await self._until_commit()
            if attempt is not None:
                await self._pump(attempt)
        except HeadwayError as failure:
            error = failure
        except asyncio.CancelledError:
            # Nobody reads any more, or the engine closes: there is no one to tell, and the try has given all back.
            error = self.error or Closed("every caller of this answer left")
        finally:
            self._finish(error)

    async def _until_commit(self) -> Attempt | None:
        """Try until there is an answer to hand on. Its attempt if there is more of it to come."""
        tries: list[Try] = []
        attempts: list[Attempt] = []
        while True:
            decision = self._policy.decide(tries, self.deadline_at_s, self.loop.time(), self._rng)
            if decision.do == "start":
                attempt = self._current = self._attempt(self.call, len(tries))
                attempt.trace.flight_id = self.id
                self.traces.append(attempt.trace)
                attempts.append(attempt)
                tries.append(attempt.state)
                await attempt.fly()
            elif decision.do == "wait":
                await asyncio.sleep(decision.at_s - self.loop.time())
            else:
                break
        attempt = attempts[decision.index]
        if attempt.error is not None:
            raise attempt.error
        self.status, self.headers, self.streaming = attempt.status, attempt.headers, attempt.streaming
        for chunk in attempt.chunks:
            self._append(chunk)
        if attempt.whole:
            self._whole(attempt)
            return None
        self._commit()
        return attempt

    async def _pump(self, attempt: Attempt) -> None:
        while (chunk := await attempt.next_chunk()) is not None:
            if chunk:
                self._append(chunk)
                for cursor in self._cursors:
                    cursor.wake()
                while self._must_hold():
                    self._hold = self.loop.create_future()
                    await self._hold
        self._whole(attempt)
        if attempt.error is not None:
            raise attempt.error

    def _whole(self, attempt: Attempt) -> None:
        self.complete = attempt.admissible and not self._log_from
        self.usage_event = attempt.usage_event

    def _append(self, chunk: bytes) -> None:
        self._log.append(chunk)
        self.bytes_logged += len(chunk)

    def _commit(self) -> None:
        self.committed = True
        for cursor in self._cursors:
            cursor.wake()

    def _finish(self, error: HeadwayError | None) -> None:
        if self.done:
            return
        self.done = True
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        self._landed(self)
        if error is None:
            self.committed = True
        for cursor in self._cursors:
            if error is not None and not self.committed:
                cursor.error = error
            cursor.wake()

    def _keeps_log(self) -> bool:
        """A log that joiners or the cache may still want is kept whole, up to the bound."""
        return self.call.key is not None and self.bytes_logged <= self._settings.flight_bytes_max

    def _must_hold(self) -> bool:
        if not self._cursors or (len(self._cursors) > 1 and self._keeps_log()):
            return False
        slowest = min(cursor.index for cursor in self._cursors) - self._log_from
        lag = 0
        for chunk in reversed(self._log[slowest:] if slowest > 0 else self._log):
            lag += len(chunk)
            if lag > self._settings.window_bytes:
                return True
        return False

    def _release(self) -> None:
        if self._hold is not None and not self._hold.done() and not self._must_hold():
            self._hold.set_result(None)

    def _arm(self) -> None:
        """One timer for all readers: the earliest of their deadlines."""
        earliest = min((cursor.call.deadline_at_s for cursor in self._cursors), default=inf)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if earliest == inf else self.loop.call_at(earliest, self._expire)

    def _expire(self) -> None:
        now_s = self.loop.time()
        sent = any(trace.sent_at_s is not None for trace in self.traces)
        for cursor in [c for c in self._cursors if c.call.deadline_at_s <= now_s]:
            limit_s = cursor.call.deadline_at_s - cursor.call.trace.started_at_s
            cursor.error = DeadlineExceeded(
                f"no whole answer within {limit_s:g} s; raise the deadline (timeout_s) if that is too short",
                maybe_billed=sent,
            )
            cursor.wake()
            if self._current is not None and len(self._cursors) == 1:
                self._current.expire()
            self.detach(cursor)
        if self._cursors:
            self._arm()
