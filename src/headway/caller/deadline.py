"""By when a call must be answered. Waiting for it is the flight's: one timer serves all of them."""

from __future__ import annotations

from msgspec.structs import replace

from headway.errors import DeadlineExceeded
from headway.types import Call

__all__ = ["bounded"]


def bounded(call: Call, now_s: float, timeout_s: float) -> Call:
    """The call with a deadline of at most `timeout_s` from now.

    Raises:
        DeadlineExceeded: Its deadline has passed already.
    """
    at_s = min(call.deadline_at_s, now_s + timeout_s)
    if at_s <= now_s:
        raise DeadlineExceeded("the deadline had passed before the call was made; nothing was sent")
    return call if at_s == call.deadline_at_s else replace(call, deadline_at_s=at_s)
