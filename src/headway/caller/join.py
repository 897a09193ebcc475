"""Identical requests under way share one flight; everything else starts one of its own."""

from __future__ import annotations

from collections.abc import Callable

from headway.flight import Cursor, Flight
from headway.types import Call, Reply

__all__ = ["Join"]


class Join:
    """The innermost caller layer: makes flights and finds those that can be joined.

    Args:
        new_flight: Makes a flight for a call, given what to do when it has landed.
        landed: Told about every flight that is over, e.g. to keep its answer.
    """

    __slots__ = ("_flights", "_joinable", "_landed", "_new_flight")

    def __init__(
        self,
        new_flight: Callable[[Call, Callable[[Flight], None]], Flight],
        landed: Callable[[Flight], None] | None,
    ) -> None:
        self._new_flight = new_flight
        self._landed = landed
        self._flights: set[Flight] = set()
        self._joinable: dict[tuple[bytes, bool], Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def flights(self) -> frozenset[Flight]:
        """Those under way."""
        return frozenset(self._flights)

    async def __call__(self, call: Call) -> Reply:
        cursor = self._cursor(call)
        call.trace.flight_id = cursor.flight.id
        cursor.on_leave = fill
        return await cursor.reply()

    def _cursor(self, call: Call) -> Cursor:
        if call.key is not None:
            flight = self._joinable.get((call.key, call.view.stream))
            cursor = flight.join(call) if flight is not None else None
            if cursor is not None:
                call.trace.cache = "joined"
                return cursor
        flight = self._new_flight(call, self._over)
        self._flights.add(flight)
        if call.key is not None:
            self._joinable[call.key, call.view.stream] = flight
        return flight.start()

    def _over(self, flight: Flight) -> None:
        self._flights.discard(flight)
        key = flight.call.key
        if key is not None and self._joinable.get((key, flight.call.view.stream)) is flight:
            del self._joinable[key, flight.call.view.stream]
        if self._landed is not None:
            self._landed(flight)


def fill(cursor: Cursor) -> None:
    """Tell a caller's trace what its flight knows. The leader carries the flight's dollars; who joined saved them."""
    flight, trace = cursor.flight, cursor.call.trace
    trace.attempts = len(flight.traces) if cursor.leader else 0
    if not flight.traces:
        return
    last = flight.traces[-1]
    trace.upstream = last.upstream
    trace.connect_s = last.connect_s
    trace.sent_at_s = last.sent_at_s
    trace.first_byte_at_s = last.first_byte_at_s
    trace.first_content_at_s = last.first_content_at_s
    trace.provider_queue_s = last.provider_queue_s
    trace.provider_processing_s = last.provider_processing_s
    trace.provider_estimated = last.provider_estimated
    trace.request_id = last.request_id
    trace.finish = last.finish
    trace.usage = last.usage
    trace.wait_s = sum(t.wait_s for t in flight.traces)
    if last.outcome not in (None, "ok"):
        trace.settled = last.outcome
        trace.error_code = trace.error_code or last.error_code
    dollars = 0.0
    for attempt in flight.traces:
        if attempt.dollars is None:
            trace.dollars = None
            return
        dollars += attempt.dollars
    if cursor.leader:
        trace.dollars = dollars
    else:
        trace.dollars, trace.saved_dollars = 0.0, last.dollars
