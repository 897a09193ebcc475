"""Identical requests under way share one flight; everything else starts one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headway.attempt.allowance import Unpaid
from headway.attempt.attempt import Attempt
from headway.errors import BudgetExceeded
from headway.flight import Cursor, Deadlines, Flight, Lone
from headway.types import Call, Reply, Timeouts, Trace

__all__ = ["Join"]


class Join:
    """The innermost caller layer: makes flights and finds those that can be joined.

    Args:
        new_flight: Makes a flight for a call, given what to do when it has landed.
        landed: Told about every flight that is over, e.g. to keep its answer.
    """

    __slots__ = ("_deadlines", "_flights", "_joinable", "_landed", "_new_flight")

    def __init__(
        self,
        new_flight: Callable[[Call, Callable[[Flight | Lone], None], Deadlines], Flight | Lone],
        landed: Callable[[Flight], None] | None,
    ) -> None:
        self._new_flight = new_flight
        self._landed = landed
        # In order: what is done to all of them is done in the same order each time.
        self._flights: dict[Flight | Lone, None] = {}
        self._joinable: dict[_Place, Flight] = {}
        self._deadlines = Deadlines(self._flights)

    def __len__(self) -> int:
        return len(self._flights)

    def __call__(self, call: Call) -> Awaitable[Reply]:
        place, known = None, None
        if call.key is not None:
            place = _place(call, call.key)
            known = self._joinable.get(place)
        cursor = known.join(call) if known is not None else None
        if cursor is not None:
            call.trace.cache = "joined"
            call.trace.flight_id = cursor.flight.id
            cursor.on_leave = _left
            return self._beside(call, cursor)
        flight = self._new_flight(call, self._over, self._deadlines)
        if isinstance(flight, Lone):
            self._flights[flight] = None
            call.trace.flight_id = flight.id
            return flight.reply(self._begin)
        if place is not None:
            flight.place = place
            self._joinable[place] = flight
        return self._begin(flight).reply()

    def readers(self, call: Call) -> int:
        """How many read the flight that this call would join."""
        if call.key is None:
            return 0
        known = self._joinable.get(_place(call, call.key))
        return len(known.readers) if known is not None else 0

    def close(self) -> list[asyncio.Future[None]]:
        """End every flight; what to wait for until they have ended."""
        self._deadlines.cancel()
        return [ended for flight in tuple(self._flights) if (ended := flight.cancel()) is not None]

    def _begin(self, flight: Flight, begun: Sequence[Attempt] = ()) -> Cursor:
        """Have a flight take off, perhaps with tries that were begun; the leader's cursor."""
        self._flights[flight] = None
        flight.call.trace.flight_id = flight.id
        cursor = flight.start(begun)
        cursor.on_leave = _left
        return cursor

    async def _beside(self, call: Call, cursor: Cursor) -> Reply:
        """Read along. Where another's run pays, and has to wait for money or has none left, ask by ourselves."""
        try:
            return await cursor.reply()
        except (BudgetExceeded, Unpaid):
            if cursor.flight.call.allowance is call.allowance:
                raise
            trace = call.trace
            trace.cache, trace.settled, trace.error_code, trace.saved_dollars = "miss", None, "", None
            return await self(call)

    def _over(self, flight: Flight | Lone) -> None:
        self._flights.pop(flight, None)
        if isinstance(flight, Lone):
            _fill(flight.call.trace, flight, leads=True, whole=False)
            return
        place = flight.place
        if place is not None and self._joinable.get(place) is flight:
            del self._joinable[place]
        if self._landed is not None:
            self._landed(flight)


_Place = tuple[bytes, bool, bool, Timeouts | None, int | None]


def _place(call: Call, key: bytes) -> _Place:
    """Who may share bytes: the same key, both streamed or both not, the same wish for the usage event.

    And the same patience, for it is the flight that waits: nobody's call ends by another one's timeout. And the same
    bound: one that was lowered for a row (its key is the plain request's) must not cut another's answer.
    """
    return key, call.view.stream, call.view.wants_usage, call.timeouts, call.view.output_tokens_max


def _left(cursor: Cursor) -> None:
    """A reader has left its flight."""
    flight = cursor.flight
    ended = flight.finished or (bool(flight.traces) and flight.traces[-1].outcome == "ok")
    # Many clients close at the terminal event: they had everything.
    _fill(cursor.call.trace, flight, leads=cursor.leader, whole=ended and cursor.index >= flight.log.end)


def _fill(trace: Trace, flight: Flight | Lone, *, leads: bool, whole: bool) -> None:
    """Tell a caller's trace what its flight knows. The leader carries the flight's dollars; who joined saved them."""
    trace.attempts = len(flight.traces) if leads else 0
    if not flight.traces:
        return
    last = flight.traces[-1]
    started_s = trace.started_at_s
    trace.upstream = last.upstream
    trace.connect_s = last.connect_s
    # Whoever joined late was not there for all of it: no time of its row lies before its own start.
    late = not leads
    sent_s = last.sent_at_s
    trace.sent_at_s = sent_s = _since(started_s, sent_s) if late else sent_s
    trace.first_byte_at_s = _since(started_s, last.first_byte_at_s) if late else last.first_byte_at_s
    trace.first_content_at_s = _since(started_s, last.first_content_at_s) if late else last.first_content_at_s
    trace.provider_queue_s = last.provider_queue_s
    trace.provider_processing_s = last.provider_processing_s
    trace.provider_estimated = last.provider_estimated
    trace.request_id = last.request_id
    trace.finish = last.finish
    trace.usage = last.usage
    trace.maybe_billed = last.maybe_billed
    waited_s, for_money_s, dollars = flight.backed_off_s, 0.0, last.dollars
    for attempt in flight.traces:
        waited_s += attempt.wait_s
        for_money_s += attempt.budget_wait_s
        if attempt is not last:
            dollars = None if dollars is None or attempt.dollars is None else dollars + attempt.dollars
    trace.wait_s = waited_s = waited_s if sent_s is None else min(waited_s, sent_s - started_s)
    trace.budget_wait_s = min(for_money_s, waited_s)
    if whole:
        trace.settled = trace.settled or "ok"
    elif last.outcome not in (None, "ok"):
        trace.settled = trace.settled or last.outcome  # a reader may have come to an end of its own before
        trace.error_code = trace.error_code or last.error_code
    if late:
        trace.dollars, trace.saved_dollars = 0.0, last.dollars
    else:
        trace.dollars = dollars


def _since(started_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else max(started_s, at_s)
