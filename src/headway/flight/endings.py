"""What callers are told at the end of a flight."""

from __future__ import annotations

from headway.errors import Closed, DeadlineExceeded
from headway.types import Call, Headers

__all__ = ["closing", "exceeded", "final", "underneath"]


def final(headers: Headers) -> Headers:
    """With a word that the official SDKs obey: this failure is final, it has been tried as often as makes sense."""
    return (*headers, ("x-should-retry", "false"))


def exceeded(call: Call, *, sent: bool) -> DeadlineExceeded:
    """The caller's deadline has passed."""
    limit_s = call.deadline_at_s - call.trace.started_at_s
    return DeadlineExceeded(
        f"no whole answer within {limit_s:g} s; raise the deadline (timeout_s) if that is too short",
        maybe_billed=sent,
    )


def closing() -> Closed:
    """The engine ends, and with it all that is under way."""
    return Closed("the engine was closed while this call was under way; open a new engine")


def underneath() -> Closed:
    """Somebody has cancelled the task, and it was none of those who may."""
    return Closed("the call was cancelled underneath its callers; a handler must not cancel its own task")
