"""What happened to one caller or one attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from headway.types.views import Outcome, Tags, Usage

__all__ = ["Trace"]


class Trace:
    """What happened to one caller or one attempt; its row in the call log is written from it.

    Mutable, owned by one task at a time. `kind` is "call" or "attempt"; the two share what they have in common.
    Our own wait (`wait_s`) and the provider's (`provider_queue_s`, `provider_processing_s`) are never one number.
    """

    __slots__ = (
        "_ends",
        "attempt_index",
        "attempts",
        "block_hashes",
        "body_bytes",
        "cache",
        "connect_s",
        "dollars",
        "ended_at_s",
        "error_code",
        "finish",
        "first_byte_at_s",
        "first_content_at_s",
        "flight_id",
        "format",
        "hurry",
        "id",
        "kind",
        "maybe_billed",
        "model",
        "outcome",
        "output_tokens_max",
        "path",
        "provider_estimated",
        "provider_processing_s",
        "provider_queue_s",
        "reply_bytes",
        "request_id",
        "retry_after_s",
        "saved_dollars",
        "sent_at_s",
        "settled",
        "start_wall_s",
        "started_at_s",
        "status",
        "stream",
        "tags",
        "tenant",
        "upstream",
        "usage",
        "wait_s",
    )  # fmt: skip

    def __init__(self, kind: Literal["call", "attempt"], id_: str, started_at_s: float, start_wall_s: float) -> None:
        self.kind = kind
        self.id = id_
        self.flight_id = ""
        self.started_at_s = started_at_s
        self.start_wall_s = start_wall_s
        self.ended_at_s: float | None = None
        self.wait_s = 0.0  # ours: queue and pacing
        self.connect_s: float | None = None  # None: a kept connection was used
        self.sent_at_s: float | None = None
        self.first_byte_at_s: float | None = None
        self.first_content_at_s: float | None = None
        self.provider_queue_s: float | None = None
        self.provider_processing_s: float | None = None
        self.provider_estimated = True
        self.path = ""
        self.format = ""
        self.model = ""
        self.upstream = ""
        self.stream = False
        self.output_tokens_max: int | None = None
        self.retry_after_s: float | None = None  # the wait that the provider's headers asked for
        self.usage: Usage | None = None
        self.dollars: float | None = None  # None: unknown, never zero
        self.saved_dollars: float | None = None
        self.maybe_billed = False
        self.outcome: Outcome | None = None
        self.status: int | None = None
        self.finish = ""
        self.error_code = ""
        self.request_id = ""
        self.cache = ""  # "", "off", "miss", "memory", "sqlite", "joined", "stale", "refresh"
        self.attempt_index = 0
        self.attempts = 0
        self.tags = Tags()
        self.tenant = ""
        self.block_hashes: tuple[str, ...] = ()
        self.body_bytes = 0
        self.reply_bytes = 0
        self.settled: Outcome | None = None
        """How a call has gone although its reply is still open; what it ends with."""
        self.hurry: Callable[[float, float], None] | None = None
        """While it waits in a queue: moves it to another priority and deadline."""
        self._ends: list[Callable[[Trace], None]] = []

    def on_end(self, give_back: Callable[[Trace], None]) -> None:
        """Have `give_back` called when this ends; whoever holds something for it registers how it is returned."""
        self._ends.append(give_back)

    def end(self, outcome: Outcome, now_s: float) -> None:
        """End it: everything held is given back, last taken first. Synchronous and idempotent: the first end counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended_at_s = now_s
            while self._ends:
                self._ends.pop()(self)
