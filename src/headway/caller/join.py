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
        self._joinable: dict[_Place, Flight] = {}

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
            flight = self._joinable.get(_place(call, call.key))
            cursor = flight.join(call) if flight is not None else None
            if cursor is not None:
                call.trace.cache = "joined"
                return cursor
        flight = self._new_flight(call, self._over)
        self._flights.add(flight)
        if call.key is not None:
            self._joinable[_place(call, call.key)] = flight
        return flight.start()

    def _over(self, flight: Flight) -> None:
        self._flights.discard(flight)
        key = flight.call.key
        if key is not None and self._joinable.get(_place(flight.call, key)) is flight:
            del self._joinable[_place(flight.call, key)]
        if self._landed is not None:
            self._landed(flight)


_Place = tuple[bytes, bool, bool]


def _place(call: Call, key: bytes) -> _Place:
    """Who may share bytes: the same key, both streamed or both not, and the same wish for the usage event."""
    return key, call.view.stream, call.view.wants_usage


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
    trace.sent_at_s = _since(started_s, last.sent_at_s)
    trace.first_byte_at_s = _since(started_s, last.first_byte_at_s)
    trace.first_content_at_s = _since(started_s, last.first_content_at_s)
    trace.provider_queue_s = last.provider_queue_s
    trace.provider_processing_s = last.provider_processing_s
    trace.provider_estimated = last.provider_estimated
    trace.request_id = last.request_id
    trace.finish = last.finish
    trace.usage = last.usage
    trace.maybe_billed = last.maybe_billed
    waited_s = flight.backed_off_s + sum(attempt.wait_s for attempt in flight.traces)
    sent_s = trace.sent_at_s
    trace.wait_s = waited_s if sent_s is None else min(waited_s, sent_s - started_s)
    if last.outcome not in (None, "ok"):
        trace.settled = last.outcome
        trace.error_code = trace.error_code or last.error_code
    elif last.outcome == "ok" and cursor.index >= flight.log.end:
        trace.settled = trace.settled or "ok"  # it had everything: many clients close at the terminal event
    if not cursor.leader:
        trace.dollars, trace.saved_dollars = 0.0, last.dollars
        return
    costs = [attempt.dollars for attempt in flight.traces]
    trace.dollars = None if None in costs else sum(cost for cost in costs if cost is not None)


def _since(started_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else max(started_s, at_s)
