"""What happened to one caller or one attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from headway.types.views import Outcome, Tags, Usage

__all__ = ["Trace"]


class Trace:
    """What happened to one caller or one attempt; its row in the call log is written from it.

    Mutable, owned by one task at a time. `kind` is "call" or "attempt"; the two share what they have in common.
    Our own wait (`wait_s`) and the provider's (`provider_queue_s`, `provider_processing_s`) are never one number.
    """

    flight_id = ""
    ended_at_s: float | None = None
    wait_s = 0.0
    """Ours: queue, pacing and budgets."""
    budget_wait_s = 0.0
    """The part of it that was for money: for others' reservations under the same budget to end."""
    connect_s: float | None = None
    """None: a kept connection was used."""
    sent_at_s: float | None = None
    first_byte_at_s: float | None = None
    first_content_at_s: float | None = None
    provider_queue_s: float | None = None
    provider_processing_s: float | None = None
    provider_estimated = True
    path = ""
    format = ""
    model = ""
    upstream = ""
    stream = False
    output_tokens_max: int | None = None
    retry_after_s: float | None = None
    """The wait that the provider's headers asked for."""
    usage: Usage | None = None
    dollars: float | None = None
    """None: unknown, never zero."""
    saved_dollars: float | None = None
    maybe_billed = False
    outcome: Outcome | None = None
    status: int | None = None
    finish = ""
    error_code = ""
    request_id = ""
    cache = ""
    """"", "off", "miss", "memory", "sqlite", "joined", "stale" or "refresh"."""
    attempt_index = 0
    attempts = 0
    tags = Tags()
    tenant = ""
    block_hashes: Iterable[str] = ()
    prompt: bytes | None = None
    """The request's body, like `answer`: only where the user asked for texts in the log."""
    answer: bytes | None = None
    body_bytes = 0
    reply_bytes = 0
    settled: Outcome | None = None
    """How a call has gone although its reply is still open; what it ends with."""
    hurry: Callable[[float, float], None] | None = None
    """While it waits in a queue: moves it to another priority and deadline."""
    unpaid: Callable[[], None] | None = None
    """Of a try: to be called when it is about to wait for its run's money, which is no business of other runs."""

    parent: object | None = None
    """What this call hangs below in somebody's traces: set where it begins, by whoever writes them. See `trace_id`."""
    trace_id = ""
    """The id of that trace, in hexadecimal digits, for the logs."""

    def __init__(self, kind: Literal["call", "attempt"], id_: str, started_at_s: float, start_wall_s: float) -> None:
        # Only what differs is set: the rest are the class's defaults, for a trace is made twice a call.
        self.kind = kind
        self.id = id_
        self.started_at_s = started_at_s
        self.start_wall_s = start_wall_s
        self._ends: list[Callable[[Trace], None]] = []

    def on_end(self, give_back: Callable[[Trace], None]) -> None:
        """Have `give_back` called when this ends; whoever holds something for it registers how it is returned."""
        if self.outcome is None:
            self._ends.append(give_back)
        else:
            give_back(self)  # too late to hold anything

    def end(self, outcome: Outcome, now_s: float) -> None:
        """End it: everything held is given back, last taken first. Synchronous and idempotent: the first end counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended_at_s = now_s
            while self._ends:
                self._ends.pop()(self)
