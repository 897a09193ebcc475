"""Identical requests under way share one flight; everything else starts one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headway.attempt.allowance import Unpaid
from headway.errors import BudgetExceeded
from headway.flight import Cursor, Deadlines, Flight
from headway.types import Call, Reply, Timeouts

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
        new_flight: Callable[[Call, Callable[[Flight], None], Deadlines], Flight],
        landed: Callable[[Flight], None] | None,
    ) -> None:
        self._new_flight = new_flight
        self._landed = landed
        self._flights: dict[
            Flight, None
        ] = {}  # in order: what is done to all of them is done in the same order each time
        self._joinable: dict[_Place, Flight] = {}
        self._deadlines = Deadlines(self._flights)

    def __len__(self) -> int:
        return len(self._flights)

    def __call__(self, call: Call) -> Awaitable[Reply]:
        cursor = self._cursor(call)
        call.trace.flight_id = cursor.flight.id
        cursor.on_leave = fill
        return cursor.reply() if cursor.leader else self._beside(call, cursor)

    def readers(self, call: Call) -> int:
        """How many read the flight that this call would join."""
        if call.key is None:
            return 0
        known = self._joinable.get(_place(call, call.key))
        return len(known.readers) if known is not None else 0

    def close(self) -> list[asyncio.Task[None]]:
        """End every flight; their tasks, to be waited for."""
        self._deadlines.cancel()
        return [task for flight in tuple(self._flights) if (task := flight.cancel()) is not None]

    def _cursor(self, call: Call) -> Cursor:
        if call.key is None:
            flight = self._new_flight(call, self._over, self._deadlines)
        else:
            place = _place(call, call.key)
            known = self._joinable.get(place)
            cursor = known.join(call) if known is not None else None
            if cursor is not None:
                call.trace.cache = "joined"
                return cursor
            flight = self._joinable[place] = self._new_flight(call, self._over, self._deadlines)
            flight.place = place
        self._flights[flight] = None
        return flight.start()

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

    def _over(self, flight: Flight) -> None:
        self._flights.pop(flight, None)
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


def fill(cursor: Cursor) -> None:
    """Tell a caller's trace what its flight knows. The leader carries the flight's dollars; who joined saved them."""
    flight, trace = cursor.flight, cursor.call.trace
    trace.attempts = len(flight.traces) if cursor.leader else 0
    if not flight.traces:
        return
    last = flight.traces[-1]
    started_s = trace.started_at_s
    trace.upstream = last.upstream
    trace.connect_s = last.connect_s
    # Whoever joined late was not there for all of it: no time of its row lies before its own start.
    late = not cursor.leader
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
    if last.outcome == "ok" or (last.outcome is None and flight.finished):
        if cursor.index >= flight.log.end:
            trace.settled = trace.settled or "ok"  # it had everything: many clients close at the terminal event
    elif last.outcome is not None:
        trace.settled = trace.settled or last.outcome  # a reader may have come to an end of its own before
        trace.error_code = trace.error_code or last.error_code
    if late:
        trace.dollars, trace.saved_dollars = 0.0, last.dollars
    else:
        trace.dollars = dollars


def _since(started_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else max(started_s, at_s)
