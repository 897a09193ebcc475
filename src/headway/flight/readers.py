"""A flight's readers, taken together."""

from __future__ import annotations

from math import inf

from headway.attempt.allowance import Unpaid
from headway.errors import Overloaded
from headway.flight.cursor import Cursor
from headway.flight.endings import exceeded
from headway.flight.log import ChunkLog
from headway.types import Call, Trace
from headway.types.call import Allowance

__all__ = ["Readers"]


class Readers(list[Cursor]):
    """Those who read now, the leader first as long as it stays."""

    __slots__ = ("unpaid",)

    def __init__(self) -> None:
        super().__init__()
        self.unpaid: Trace | None = None
        """The try that waits, or waited, for its run's money; it waits while it has an `unpaid` itself."""

    def wake(self) -> None:
        """Tell all that something changed."""
        for cursor in self:
            cursor.wake()

    def close(self, error: Exception | None, now_s: float) -> None:
        """End their calls: a stream may be read, or closed, long after the engine and its log are."""
        for cursor in tuple(self):
            cursor.error = error
            cursor.leave()
            cursor.call.trace.end("closed", now_s)

    def slowest(self, default: int) -> int:
        """The place of the one that is furthest behind."""
        if len(self) == 1:
            return self[0].index
        return min((cursor.index for cursor in self), default=default)

    def least_lag_bytes(self, log: ChunkLog) -> int:
        """How far the fastest one is behind."""
        return log.lag_bytes(self[0].index if len(self) == 1 else max(cursor.index for cursor in self))

    def first_deadline_s(self) -> float:
        """The earliest of their deadlines."""
        return min((cursor.call.deadline_at_s for cursor in self), default=inf)

    def drop_late(self, now_s: float, *, sent: bool) -> None:
        """Send away those whose deadline has passed."""
        late = [cursor for cursor in self if cursor.call.deadline_at_s <= now_s]
        for cursor in late:
            cursor.error = exceeded(cursor.call, sent=sent)
            cursor.wake()
            cursor.flight.detach(cursor, "deadline")

    def wait_for_money(self, trace: Trace, tries: list[Trace], allowance: Allowance) -> None:
        """A try, the only one under way, is about to wait for its run's money: send away those that it is not paid for.

        They ask by themselves then (`caller.join`), and so do those that come meanwhile.
        """
        if any(other is not trace and other.outcome is None for other in tries):
            return
        self.unpaid = trace
        for cursor in [cursor for cursor in self if cursor.call.allowance is not allowance]:
            cursor.error = Unpaid("the run that asked first has to wait for its money; ask anew")
            cursor.wake()
            cursor.flight.detach(cursor)

    def wait_for_money_of_others(self, call: Call, first: Call) -> bool:
        """Whether the flight of the call that was `first` waits for money, and not that of this call's run."""
        return self.unpaid is not None and self.unpaid.unpaid is not None and call.allowance is not first.allowance

    def drop_laggards(self, log: ChunkLog, far_bytes: int) -> None:
        """Send away those so far behind the fastest that keeping bytes for them would cost the others."""
        least = self.least_lag_bytes(log)
        far = [cursor for cursor in self if log.lag_bytes(cursor.index) - least > far_bytes]
        for cursor in far:
            cursor.error = Overloaded(
                f"this reader fell {far_bytes} bytes behind others of the same answer; "
                "read faster, or call with cache off"
            )
            cursor.wake()
            cursor.flight.detach(cursor)
